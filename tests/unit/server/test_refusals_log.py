"""What the log says of calls that are refused: each once, at a bounded rate, and what was left out as a number."""

from typing import Any

import pytest

from rampd_server.access.grants import Caller, Grant, Proof
from rampd_server.access.quotas import Rate
from rampd_server.access.roles import Role
from rampd_server.domain import refusals as domain
from rampd_server.domain.errors import DeadlineError, LimitExceededError, RampdError
from rampd_server.rpc import refusals

CALLER = Caller(Grant("ci-restyler", Role.CI), Proof.TOKEN)


class Context:
    def peer(self) -> str:
        return "ipv4:10.0.0.7:4711"


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
