"""What the log says of calls that are refused: each once, at a bounded rate, and what was left out as a number. And how fast
they are answered where there are many.
"""

import asyncio
import contextlib
from typing import Any

import pytest

from rampd_server.access.grants import Caller, Grant, Proof
from rampd_server.access.quotas import Rate
from rampd_server.access.rpc_roles import Role
from rampd_server.domain import refusals as domain
from rampd_server.domain.errors import DeadlineError, InvalidRequestError, LimitExceededError, RampdError
from rampd_server.rpc import refusals

CALLER = Caller(Grant("ci-restyler", Role.CI), Proof.TOKEN)


class Context:
    def __init__(self, left_s: float | None = None) -> None:
        self._left_s = left_s

    def peer(self) -> str:
        return "ipv4:10.0.0.7:4711"

    def time_remaining(self) -> float | None:
        return self._left_s


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(refusals, "_rate", Rate(refusals._LINES_PER_S, refusals._BURST))
    monkeypatch.setattr(refusals, "_not_logged", 0)
    monkeypatch.setattr(
        refusals._log, "warning", lambda event, **pairs: found.append({"event": event, **pairs}), raising=False
    )
    return found


def tell(refusal: RampdError | DeadlineError, caller: Caller | None = CALLER) -> None:
    refusals.tell(refusal, "rampd.v1.RolloutService/Ramp", caller, Context())  # type: ignore[arg-type]


def test_a_refusal_is_told_with_identity_method_peer_and_reason(lines: list[dict[str, Any]]) -> None:
    tell(domain.role_required("ci-restyler may not call Ramp.", role="operator"))
    assert lines == [
        {
            "event": "call_refused",
            "method": "rampd.v1.RolloutService/Ramp",
            "identity": "ci-restyler",
            "peer": "ipv4:10.0.0.7:4711",
            "reason": "ROLE_REQUIRED",
            "why": "ci-restyler may not call Ramp.",
            "not_logged": 0,
        }
    ]


def test_whoever_was_not_proven_has_no_identity(lines: list[dict[str, Any]]) -> None:
    tell(domain.no_credentials("Send a token."), None)
    tell(domain.bad_credentials("It was revoked."), None)
    tell(LimitExceededError("Too many.", limit="streams", retry_after_s=1))
    assert [(line["identity"], line["reason"]) for line in lines] == [
        (None, "NO_CREDENTIALS"),
        (None, "BAD_CREDENTIALS"),
        ("ci-restyler", "LIMIT_EXCEEDED"),
    ]


def test_what_is_refused_for_another_cause_is_not_told(lines: list[dict[str, Any]]) -> None:
    tell(domain.component_not_found(component="restyler"))
    tell(DeadlineError("too late"))
    assert lines == []


def test_a_flood_is_told_at_a_bounded_rate_and_nothing_gets_lost(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    for _ in range(10_000):
        tell(domain.bad_credentials("It was revoked."), None)
    assert len(lines) == 50
    now_s += 1
    for _ in range(10_000):
        tell(domain.bad_credentials("It was revoked."), None)
    assert len(lines) == 55
    assert [line["not_logged"] for line in lines[50:]] == [9_950, 0, 0, 0, 0]


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long each refusal was held."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    monkeypatch.setattr(refusals, "_at_once", Rate(refusals._AT_ONCE_PER_S, refusals._AT_ONCE_BURST))
    monkeypatch.setattr(refusals, "_flooded_until_s", 0.0)
    return found


BAD = domain.bad_credentials("It was revoked.")
WRONG = InvalidRequestError([("component", "is missing")])
LIMIT = LimitExceededError("Too many.", limit="calls_per_s", retry_after_s=1)


async def hold(
    refusal: RampdError | DeadlineError, left_s: float | None = None, *, caller: Caller | None = None
) -> None:
    await refusals.hold(refusal, caller, Context(left_s))  # type: ignore[arg-type]


async def test_a_few_refusals_are_answered_at_once_and_those_of_a_flood_are_held(paused: list[float]) -> None:
    for _ in range(200):
        await hold(BAD)
    assert (paused, refusals.is_flooded()) == ([], False)
    for refusal in (BAD, domain.no_credentials("Send a token."), LIMIT):
        await hold(refusal)
    assert (paused, refusals.is_flooded()) == ([1.0, 1.0, 0.3], True)


async def test_a_refusal_is_answered_within_the_deadline_of_its_caller(paused: list[float]) -> None:
    for _ in range(200):
        await hold(BAD)
    await hold(BAD, left_s=0.4)
    assert paused == [0.2]


async def test_what_is_refused_for_another_cause_is_never_held(paused: list[float]) -> None:
    for _ in range(300):
        await hold(domain.role_required("No.", role="admin"))
        await hold(domain.component_not_found(component="restyler"))
        await hold(DeadlineError("too late"))
        await hold(WRONG, caller=CALLER)
    assert paused == []


async def test_a_wrong_request_of_somebody_who_is_not_proven_is_held_too(paused: list[float]) -> None:
    for _ in range(201):
        await hold(WRONG)
    assert paused == [1.0]


async def test_a_bounded_number_of_refusals_is_held_and_whoever_leaves_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refusals, "_at_once", Rate(0.001, 1))
    monkeypatch.setattr(refusals, "_MOST_HELD", 3)
    monkeypatch.setattr(refusals, "_flooded_until_s", 0.0)
    await hold(BAD)
    held = [asyncio.create_task(hold(BAD)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert [task.done() for task in held] == [False] * 3 + [True] * 2
    for task in held:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert refusals._held == 0
