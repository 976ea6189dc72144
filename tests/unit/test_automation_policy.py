"""A policy that makes no sense is refused, with everything that is wrong with it."""

import math
from dataclasses import replace

import pytest

from rampd_server.domain.errors import InvalidRequestError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Automation, Check, OnRegression, Step, violations
from rampd_server.domain.rollout.model import Policy
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, rolling_out

HOUR_MS = 3_600_000
PLAN = Automation(steps=(Step(500, HOUR_MS, 20), Step(2500, HOUR_MS, 50), Step(9500)))
CHECK = Check("errors", 'rate(errors{tag="{{tag}}"}[5m])', maximum=1.0)


def wrong(**changes: object) -> list[str]:
    return [field.removeprefix("policy.") for field, _ in violations(replace(PLAN, **changes))]


def test_the_defaults_are_safe_and_right():
    default = Policy().automation

    assert violations(default) == []
    assert default.steps == ()
    assert (default.auto_start, default.auto_finalize) == (False, False)
    assert (default.alpha, default.tolerance, default.max_failure_rate) == (0.01, 1.0, 0.0)
    assert (default.on_regression, default.on_max_failure_rate) == (OnRegression.ROLLBACK, OnRegression.PAUSE)


def test_a_plan_is_right():
    assert violations(PLAN) == []
    assert wrong(checks=(CHECK,), stuck_after_ms=2 * HOUR_MS, confirm_within_ms=60_000, max_failure_rate=0.1) == []


@pytest.mark.parametrize(
    ("percents", "found"),
    [
        ((5, 25, 20), ["steps[2].percent"]),
        ((5, 5), ["steps[1].percent"]),
        ((25, 5, 10, 30), ["steps[1].percent", "steps[2].percent"]),
        ((0, 5), ["steps[0].percent"]),
        ((-1,), ["steps[0].percent"]),
        ((5, 96), ["steps[1].percent"]),
        ((100,), ["steps[0].percent"]),
    ],
)
def test_steps_go_up_from_over_zero_to_max_percent(percents: tuple[int, ...], found: list[str]):
    assert wrong(steps=tuple(Step(percent * 100) for percent in percents)) == found


def test_who_wants_a_plan_to_end_at_a_hundred_is_told_how():
    """A refusal names the way that works: also where the step is only over the policy's own max_percent."""
    for changes in ({"steps": (Step(10_000),)}, {"steps": (Step(9600),)}, {"steps": (), "max_basis_points": 10_000}):
        (_, text), *_ = violations(replace(PLAN, **changes))
        assert "Set auto_finalize to make next current after the last step" in text


def test_fifty_steps_are_the_most():
    assert wrong(steps=tuple(Step(place) for place in range(1, 51))) == []
    assert wrong(steps=tuple(Step(place) for place in range(1, 52))) == ["steps"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"alpha": 0.0}, ["alpha"]),
        ({"alpha": 1.0}, ["alpha"]),
        ({"alpha": -0.01}, ["alpha"]),
        ({"alpha": math.nan}, ["alpha"]),
        ({"alpha": 1e-300}, ["alpha"]),
        ({"tolerance": 0.9}, ["tolerance"]),
        ({"tolerance": 30.0}, ["tolerance"]),
        ({"tolerance": math.nan}, ["tolerance"]),
        ({"tolerance": math.inf}, ["tolerance"]),
        ({"max_failure_rate": 0.9}, ["max_failure_rate"]),
        ({"max_failure_rate": -0.1}, ["max_failure_rate"]),
        ({"max_failure_rate": math.nan}, ["max_failure_rate"]),
        ({"max_failure_rate": 1e-9}, ["max_failure_rate"]),
        ({"max_basis_points": 10_000}, ["max_percent"]),
        ({"max_basis_points": 0}, ["steps[0].percent", "steps[1].percent", "steps[2].percent", "max_percent"]),
        ({"maturation_ms": -1}, ["maturation"]),
        ({"maturation_ms": 25 * HOUR_MS}, ["maturation"]),
        ({"confirm_within_ms": 0}, ["confirm_within"]),
        ({"stuck_after_ms": 0}, ["stuck_after"]),
        ({"stuck_after_ms": HOUR_MS}, ["stuck_after"]),
        ({"steps": (Step(500, -1, 0),)}, ["steps[0].hold"]),
        ({"steps": (Step(500, 0, -1),)}, ["steps[0].min_jobs"]),
        ({"checks": (CHECK, CHECK)}, ["checks[0].name", "checks[1].name"]),
        ({"checks": (replace(CHECK, name="No name"),)}, ["checks[0].name"]),
        ({"checks": (replace(CHECK, query=" "),)}, ["checks[0].query"]),
        ({"checks": (replace(CHECK, query='up{a="{{ repo }}",b="{{tag}}"}'),)}, ["checks[0].query"]),
        ({"checks": (replace(CHECK, maximum=None),)}, ["checks[0]"]),
        ({"checks": (replace(CHECK, maximum=math.nan),)}, ["checks[0]"]),
        ({"checks": (replace(CHECK, minimum=2.0),)}, ["checks[0].min"]),
        ({"checks": (replace(CHECK, interval_ms=0),)}, ["checks[0].interval"]),
        ({"checks": (replace(CHECK, failures_allowed=-1, errors_allowed=-1),)},
         ["checks[0].failures_allowed", "checks[0].errors_allowed"]),
        ({"checks": tuple(replace(CHECK, name=f"c{place}") for place in range(21))}, ["checks"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_named(changes: dict, found: list[str]):
    assert wrong(**changes) == found


def test_all_that_is_wrong_is_told_at_once():
    assert wrong(alpha=0.0, tolerance=0.0, steps=(Step(0),)) == ["steps[0].percent", "alpha", "tolerance"]


def test_set_policy_takes_a_good_one_and_refuses_a_bad_one_whole():
    rollout = after(rolling_out(), commands.SetPolicy({"automation": PLAN}))
    assert rollout.policy.automation == PLAN

    with pytest.raises(InvalidRequestError) as refusal:
        transition(rollout, commands.SetPolicy({"automation": replace(PLAN, alpha=1.0)}), Context(NOW))
    assert [field for field, _ in refusal.value.violations] == ["policy.alpha"]
