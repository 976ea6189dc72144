"""A policy whose settings contradict each other is refused, with all contradictions in the error."""

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._contract import validation
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


def test_the_defaults_are_safe_and_valid():
    default = Policy().automation

    assert violations(default) == []
    assert default.steps == ()
    assert (default.auto_start, default.auto_finalize) == (False, False)
    assert (default.alpha, default.tolerance, default.max_failure_rate) == (0.01, 1.0, 0.0)
    assert (default.on_regression, default.on_max_failure_rate) == (OnRegression.ROLLBACK, OnRegression.PAUSE)


def test_a_typical_plan_is_valid():
    assert violations(PLAN) == []
    assert wrong(checks=(CHECK,), stuck_after_ms=2 * HOUR_MS, confirm_within_ms=60_000, max_failure_rate=0.1) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"steps": (Step(500), Step(9600))}, ["steps[1].percent"]),
        ({"max_basis_points": 2500}, ["steps[2].percent"]),
        ({"stuck_after_ms": HOUR_MS + 1}, []),
        ({"stuck_after_ms": HOUR_MS}, ["stuck_after"]),
        ({"steps": (), "stuck_after_ms": 60_000}, []),
        ({"max_basis_points": 500, "stuck_after_ms": 60_000}, ["steps[1].percent", "steps[2].percent", "stuck_after"]),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_named_all_at_once(changes: dict, found: list[str]):
    assert wrong(**changes) == found


def test_client_and_server_find_the_same_contradictions_and_say_the_same_sentences():
    step = v1.Step(percent=99, hold=Duration(seconds=3600))
    policy = v1.Policy(steps=[step], max_percent=50.5, stuck_after=Duration(seconds=3600))
    stored = Automation(steps=(Step(9900, hold_ms=HOUR_MS),), max_basis_points=5050, stuck_after_ms=HOUR_MS)
    found = violations(stored)
    assert [field for field, _ in found] == ["policy.steps[0].percent", "policy.stuck_after"]
    assert validation.violations(v1.SetPolicyRequest(component="a", policy=policy)) == found


def test_the_error_for_a_plan_that_ends_at_100_percent_says_what_to_do():
    [(_, text)] = violations(replace(PLAN, steps=(Step(9600),)))
    assert "Set auto_finalize to make next current after the last step" in text


def test_set_policy_stores_a_valid_policy_and_refuses_an_invalid_one_completely():
    rollout = after(rolling_out(), commands.SetPolicy({"automation": PLAN}))
    assert rollout.policy.automation == PLAN

    with pytest.raises(InvalidRequestError) as refusal:
        transition(rollout, commands.SetPolicy({"automation": replace(PLAN, max_basis_points=2500)}), Context(NOW))
    assert [field for field, _ in refusal.value.violations] == ["policy.steps[2].percent"]
