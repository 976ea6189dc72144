"""What the log says about refused calls, and how long a refusal waits if there are many. The log has one line for each refusal,
at a limited rate, and the number of refusals that it left out.
"""

import asyncio
import contextlib
from typing import Any

import pytest

from rampd_server.access.grants import Caller, Grant, Proof
from rampd_server.access.peers import PeerRates
from rampd_server.access.quotas import Rate
from rampd_server.access.rpc_roles import Role
from rampd_server.domain import refusals
from rampd_server.domain.errors import DeadlineError, InvalidRequestError, LimitExceededError, RampdError
from rampd_server.rpc import refused_calls
from rampd_server.rpc.error_status import to_status
from tests.refused_lines import lines

__all__ = ["lines"]

CALLER = Caller(Grant("ci-restyler", Role.CI), Proof.TOKEN)


class Context:
    def __init__(self, left_s: float | None = None, *, host: str = "10.0.0.7") -> None:
        self._left_s = left_s
        self._host = host

    def peer(self) -> str:
        return f"ipv4:{self._host}:4711"

    def time_remaining(self) -> float | None:
        return self._left_s


def tell(refusal: RampdError | DeadlineError, caller: Caller | None = CALLER) -> None:
    refused_calls.tell(refusal, "rampd.v1.RolloutService/Ramp", caller, Context())  # type: ignore[arg-type]


def test_a_refusal_is_logged_with_identity_method_peer_and_reason(lines: list[dict[str, Any]]) -> None:
    tell(refusals.role_required("ci-restyler may not call Ramp.", role="operator"))
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


def test_a_caller_who_is_not_proven_has_no_identity_in_the_log(lines: list[dict[str, Any]]) -> None:
    tell(refusals.no_credentials("Send a token."), None)
    tell(refusals.bad_credentials("It was revoked."), None)
    tell(LimitExceededError("Too many.", limit="streams", retry_after_s=1))
    assert [(line["identity"], line["reason"]) for line in lines] == [
        (None, "NO_CREDENTIALS"),
        (None, "BAD_CREDENTIALS"),
        ("ci-restyler", "LIMIT_EXCEEDED"),
    ]


def test_a_call_about_a_hidden_component_is_logged_and_one_about_an_absent_component_is_not(
    lines: list[dict[str, Any]],
) -> None:
    """Given two refusals that are the same for the caller, expect a line in the log only for the refusal that is because of who calls."""
    hidden, absent = refusals.component_hidden(component="secret"), refusals.component_not_found(component="secret")
    assert to_status(hidden) == to_status(absent)
    tell(absent)
    assert lines == []
    tell(hidden)
    [line] = lines
    assert (line["identity"], line["reason"], line["why"]) == (
        "ci-restyler",
        "COMPONENT_NOT_FOUND",
        "secret is not among the components of the grant.",
    )


def test_a_refusal_for_another_reason_is_not_logged(lines: list[dict[str, Any]]) -> None:
    tell(refusals.component_not_found(component="restyler"))
    tell(DeadlineError("too late"))
    assert lines == []


def test_a_flood_is_logged_at_a_limited_rate_and_every_refusal_is_counted(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    for _ in range(10_000):
        tell(refusals.bad_credentials("It was revoked."), None)
    assert len(lines) == 50
    now_s += 1
    for _ in range(10_000):
        tell(refusals.bad_credentials("It was revoked."), None)
    assert len(lines) == 55
    assert [line["not_logged"] for line in lines[50:]] == [9_950, 0, 0, 0, 0]


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which each refusal was held."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    monkeypatch.setattr(refused_calls, "_at_once", Rate(refused_calls._AT_ONCE_PER_S, refused_calls._AT_ONCE_BURST))
    of_peers = PeerRates(refused_calls._OF_PEER_PER_S, refused_calls._OF_PEER_BURST)
    monkeypatch.setattr(refused_calls, "_at_once_of", of_peers)
    monkeypatch.setattr(refused_calls, "_flooded_until_s", 0.0)
    return found


BAD = refusals.bad_credentials("It was revoked.")
WRONG = InvalidRequestError([("component", "is missing")])
LIMIT = LimitExceededError("Too many.", limit="calls_per_s", retry_after_s=1)


async def hold(
    refusal: RampdError | DeadlineError,
    left_s: float | None = None,
    *,
    caller: Caller | None = None,
    host: str = "10.0.0.7",
) -> None:
    await refused_calls.hold(refusal, caller, Context(left_s, host=host))  # type: ignore[arg-type]


async def test_a_few_refusals_are_answered_at_once_and_those_of_a_flood_are_held(paused: list[float]) -> None:
    for _ in range(50):
        await hold(BAD)
    assert (paused, refused_calls.is_flooded()) == ([], False)
    for refusal in (BAD, refusals.no_credentials("Send a token."), LIMIT):
        await hold(refusal)
    assert (paused, refused_calls.is_flooded()) == ([1.0, 1.0, 0.3], True)


async def test_a_flood_of_one_peer_holds_no_refusal_of_another_one(paused: list[float]) -> None:
    for _ in range(1000):
        await hold(BAD)
    paused.clear()
    await hold(BAD, host="10.0.0.8")
    assert paused == []


async def test_a_flood_of_many_peers_is_held(paused: list[float]) -> None:
    for number in range(200):
        await hold(BAD, host=f"10.0.1.{number}")
    assert paused == []
    await hold(BAD, host="10.0.0.8")
    assert paused == [1.0]


async def test_what_a_stranger_may_ask_for_counts_as_a_refusal_does(paused: list[float]) -> None:
    for _ in range(50):
        await refused_calls.hold_stranger(Context())  # type: ignore[arg-type]
    assert paused == []
    await hold(BAD)
    await refused_calls.hold_stranger(Context())  # type: ignore[arg-type]
    assert paused == [1.0, 1.0]


async def test_a_refusal_is_answered_within_the_deadline_of_its_caller(paused: list[float]) -> None:
    for _ in range(50):
        await hold(BAD)
    await hold(BAD, left_s=0.4)
    assert paused == [0.2]


async def test_a_refusal_for_another_reason_is_never_held(paused: list[float]) -> None:
    for _ in range(300):
        await hold(refusals.role_required("No.", role="admin"))
        await hold(refusals.component_not_found(component="restyler"))
        await hold(DeadlineError("too late"))
        await hold(WRONG, caller=CALLER)
    assert paused == []


async def test_the_refusal_of_a_wrong_request_is_held_if_the_caller_is_not_proven(paused: list[float]) -> None:
    for _ in range(51):
        await hold(WRONG)
    assert paused == [1.0]


async def test_the_number_of_held_refusals_is_limited_and_a_caller_who_leaves_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refused_calls, "_at_once", Rate(0.001, 1))
    monkeypatch.setattr(refused_calls, "_MOST_HELD", 3)
    monkeypatch.setattr(refused_calls, "_HELD_S", dict.fromkeys(refused_calls._HELD_S, 600.0))
    monkeypatch.setattr(refused_calls, "_flooded_until_s", 0.0)
    await hold(BAD)
    held = [asyncio.create_task(hold(BAD)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert [task.done() for task in held] == [False] * 3 + [True] * 2
    for task in held:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert refused_calls._held == 0
