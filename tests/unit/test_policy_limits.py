"""What a request may say of a policy, and what the domain takes, are the same: so everything wrong is said at once."""

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._contract.validation import violations as violations_of_request
from rampd_server.domain.rollout.automation_policy import (
    DAY_MS,
    MAX_HOLD_MS,
    MAX_JOBS,
    Automation,
    Check,
    Step,
    violations,
)
from rampd_server.rpc.messages.policy import policy_message, set_policy_of

CHECK = Check("a", "up", maximum=1.0)


def duration(milliseconds: int) -> Duration:
    made = Duration()
    made.FromMilliseconds(milliseconds)
    return made


LIMITS = [
    ({"alpha": value} for value in (0.0, 1e-7, 1e-6, 0.5, 0.50001, 1.0)),
    ({"tolerance": value} for value in (0.99, 1.0, 10.0, 10.1)),
    ({"max_failure_rate": value} for value in (0.0, 0.0009, 0.001, 0.8, 0.81)),
    ({"max_basis_points": value} for value in (0, 1, 9_999, 10_000)),
    ({"maturation_ms": value} for value in (0, DAY_MS, DAY_MS + 1)),
    ({"confirm_within_ms": value} for value in (999, 1_000, MAX_HOLD_MS, MAX_HOLD_MS + 1)),
    ({"stuck_after_ms": value} for value in (59_999, 60_000, MAX_HOLD_MS, MAX_HOLD_MS + 1)),
    ({"steps": (Step(value),)} for value in (0, 1, 9_500, 9_501)),
    ({"steps": (Step(1, value),)} for value in (0, MAX_HOLD_MS, MAX_HOLD_MS + 1)),
    ({"steps": (Step(1, 0, value),)} for value in (0, MAX_JOBS, MAX_JOBS + 1)),
    ({"steps": (Step(1, 60_000),), "stuck_after_ms": value} for value in (60_000, 60_001)),
    ({"steps": tuple(Step(n) for n in range(1, value))} for value in (51, 52)),
    ({"checks": (replace(CHECK, interval_ms=value),)} for value in (999, 1_000, DAY_MS, DAY_MS + 1)),
    ({"checks": (replace(CHECK, name=value),)} for value in ("", "a.b-c_d", "A", "a ", "a" * 63, "a" * 64)),
    (
        {"checks": (replace(CHECK, query=value),)}
        for value in ("", "up{a={{tag}}}", "up{a='{{ tag }}'}", "up{a='{{x}}'}", "sum(up", "up[5m]")
    ),
    ({"checks": (replace(CHECK, errors_allowed=value),)} for value in (0, MAX_JOBS, MAX_JOBS + 1)),
    ({"checks": (CHECK, replace(CHECK, name=value))} for value in ("a", "b")),
]


@pytest.mark.parametrize("changes", [changes for group in LIMITS for changes in group], ids=str)
def test_a_request_may_say_what_the_domain_takes_and_nothing_else(changes: dict[str, object]):
    automation = replace(Automation(), **changes)
    policy = policy_message(replace_policy(automation))
    policy.max_percent = automation.max_basis_points / 100

    of_request = violations_of_request(v1.SetPolicyRequest(component="c", policy=policy))

    assert bool(of_request) == bool(violations(automation)), (of_request, violations(automation))


def replace_policy(automation: Automation):
    from rampd_server.domain.rollout.model import Policy

    return Policy(automation=automation)


def test_a_policy_goes_to_a_message_and_back():
    automation = Automation(
        steps=(Step(1, 1_500, 3), Step(9_500)), checks=(replace(CHECK, minimum=0.0, errors_allowed=0),), alpha=0.5
    )
    request = v1.SetPolicyRequest(component="c", policy=policy_message(replace_policy(automation)))

    assert violations_of_request(request) == []
    assert Automation(**set_policy_of(request).automation) == automation
