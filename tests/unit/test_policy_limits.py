"""The limits of a policy in a request, each with a value on the limit and one beyond it."""

from dataclasses import replace

import pytest

from rampd import v1
from rampd._contract.validation import violations
from rampd_server.domain.rollout.automation_policy import Automation, Check, Step
from rampd_server.domain.rollout.model import Policy
from rampd_server.rpc.messages.policy import policy_message, set_policy_of

CHECK = Check("a", "up", maximum=1.0)
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
MONTH_MS = 30 * DAY_MS
MOST_JOBS = 1_000_000_000


def steps(number: int) -> tuple[Step, ...]:
    return tuple(Step(place) for place in range(1, number + 1))


def checks(number: int) -> tuple[Check, ...]:
    return tuple(replace(CHECK, name=f"c{place}") for place in range(number))


def held(hold_ms: int) -> tuple[Step, ...]:
    return (Step(1, hold_ms),)


RIGHT: dict[str, tuple[object, ...]] = {
    "alpha": (1e-6, 0.5),
    "tolerance": (1.0, 10.0),
    "max_failure_rate": (0.0, 0.001, 0.8),
    "max_basis_points": (1, 9_999),
    "maturation_ms": (0, DAY_MS),
    "confirm_within_ms": (1_000, MONTH_MS),
    "stuck_after_ms": (MINUTE_MS, MONTH_MS),
    "steps": (
        *((Step(1),), (Step(9_500),), (Step(500), Step(9_500)), steps(50)),
        *(held(0), held(MONTH_MS), (Step(1, 0, MOST_JOBS),)),
    ),
    "checks": (
        checks(20),
        *((replace(CHECK, interval_ms=value),) for value in (1_000, DAY_MS)),
        *((replace(CHECK, name=value),) for value in ("a.b-c_d", "a" * 63)),
        *((replace(CHECK, query=value),) for value in ("up", "up{a='{{ tag }}'}")),
        *((replace(CHECK, errors_allowed=value, failures_allowed=value),) for value in (0, MOST_JOBS)),
        (CHECK, replace(CHECK, name="b")),
        (replace(CHECK, minimum=1.0),),
    ),
}
WRONG: dict[str, tuple[object, ...]] = {
    "alpha": (0.0, -0.01, 1e-7, 0.50001, float("nan")),
    "tolerance": (0.99, 10.1, float("nan"), float("inf")),
    "max_failure_rate": (-0.1, 0.0009, 0.81, float("nan")),
    "max_basis_points": (0, 10_000),
    "maturation_ms": (-1, DAY_MS + 1),
    "confirm_within_ms": (0, 999, MONTH_MS + 1),
    "stuck_after_ms": (0, MINUTE_MS - 1, MONTH_MS + 1),
    "steps": (
        *((Step(0),), (Step(-1),), (Step(9_501),), (Step(10_000),), steps(51)),
        *((Step(500), Step(500)), (Step(2_500), Step(500))),
        *(held(-1), held(MONTH_MS + 1), (Step(1, 0, -1),), (Step(1, 0, MOST_JOBS + 1),)),
    ),
    "checks": (
        checks(21),
        *((replace(CHECK, interval_ms=value),) for value in (0, 999, DAY_MS + 1)),
        *((replace(CHECK, name=value),) for value in ("", "A", "a ", "No name", "a" * 64)),
        *((replace(CHECK, query=value),) for value in ("", " ", "up{a={{tag}}}", "up{a='{{x}}'}", "sum(up", "up[5m]")),
        *((replace(CHECK, errors_allowed=value),) for value in (-1, MOST_JOBS + 1)),
        *((replace(CHECK, failures_allowed=value),) for value in (-1, MOST_JOBS + 1)),
        (CHECK, CHECK),
        (replace(CHECK, maximum=None),),
        (replace(CHECK, maximum=float("nan")),),
        (replace(CHECK, minimum=2.0),),
    ),
}


def of_request(automation: Automation) -> list[tuple[str, str]]:
    message = policy_message(Policy(automation=automation))
    return violations(v1.SetPolicyRequest(component="c", policy=message))


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values], ids=str
)
def test_a_setting_within_its_limits_is_accepted(name: str, value: object) -> None:
    assert of_request(replace(Automation(), **{name: value})) == []


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=str
)
def test_a_setting_beyond_its_limits_is_refused(name: str, value: object) -> None:
    assert of_request(replace(Automation(), **{name: value}))


@pytest.mark.parametrize("changes", [{"steps": (Step(10_000),)}, {"max_basis_points": 10_000}], ids=str)
def test_the_error_for_a_plan_that_ends_at_100_percent_says_what_to_do(changes: dict[str, object]) -> None:
    (_, text), *_ = of_request(replace(Automation(), **changes))
    assert "set auto_finalize, which makes next current after the last step" in text


def test_a_policy_is_the_same_after_a_message():
    automation = Automation(
        steps=(Step(1, 1_500, 3), Step(9_500)), checks=(replace(CHECK, minimum=0.0, errors_allowed=0),), alpha=0.5
    )
    request = v1.SetPolicyRequest(component="c", policy=policy_message(Policy(automation=automation)))

    assert violations(request) == []
    assert Automation(**set_policy_of(request).automation) == automation
