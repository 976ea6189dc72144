"""Each refusal is right in some state between the call and its answer, and no call ends with an error that has no reason."""

from collections.abc import Iterator

from rampd_server.domain.errors import InvalidRequestError, RampdError, RefusedError
from rampd_server.domain.rollout.model import Rollout
from tests.chaos.histories import CLOCK_S, Node
from tests.chaos.judging import Case, Violation
from tests.chaos.record import Call
from tests.chaos.requests import Asked
from tests.chaos.rules.answers import outcomes_at

_WITHOUT_STATE = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
_ORDERLY = ("restarted server", "lonely server")
_UNEXPECTED = {"INTERNAL", "UNKNOWN", "CANCELLED", "UNIMPLEMENTED", "DATA_LOSS", "OUT_OF_RANGE", "UNAUTHENTICATED"}


def no_call_ends_with_a_defect(case: Case) -> Iterator[Violation]:
    for call in case.record.calls:
        # gRPC ends a call with CANCELLED that arrives at the moment at which the server stops in order.
        stops = call.code == "CANCELLED" and case.faults(call.began_s, call.ended_s, *_ORDERLY, server=call.server)
        if call.code in _UNEXPECTED and not stops:
            what = f"{call.method} by {call.who} at server {call.server} ended with {call.code}: {call.message}"
            yield Violation(what, call.ended_s, call.component)


def every_refusal_is_right(case: Case) -> Iterator[Violation]:
    for call in case.mutations:
        if call.response is not None or call.code in _WITHOUT_STATE | _UNEXPECTED or call.reason == "CONTENTION":
            continue
        if call.reason == "REQUEST_ID_REUSED":
            is_right = any(_asks_otherwise(call, other) for other in case.by_request[call.request_id])
        else:
            own = case.histories.by_request.get(call.request_id, [])
            heads = list(case.histories.heads(call.began_s, call.ended_s))
            # Where the request itself was carried out, its repeat gets the first answer.
            before = [head for head in heads if not any(head.descends_from(node) for node in own)]
            asked = case.asked(call)
            is_right = any(_refuses(case, call, asked, head) for head in before) or _is_lost(call, heads, own)
        if not is_right:
            what = (
                f"{call.method} by {call.who} at server {call.server} ({call.request_id}) was refused as {call.reason}"
            )
            yield Violation(f"{what}, for which there was no reason: {call.message}", call.ended_s, call.component)


def _asks_otherwise(call: Call, other: Call) -> bool:
    is_other = other.method != call.method or other.request != call.request
    return is_other and other.began_s < call.ended_s


def _is_lost(call: Call, heads: list[Node], own: list[Node]) -> bool:
    """Whether the store has lost the change that the request had made."""
    return call.reason == "REVISION_MISMATCH" and any(
        not head.descends_from(node) for node in own for head in heads if node.by_s <= call.ended_s
    )


def _refuses(case: Case, call: Call, asked: Asked, head: Node) -> bool:
    state = head.state(asked.component)
    if asked.overrides is not None:
        return _refuses_overrides(case, call, asked, head)
    if asked.command is None:
        return call.reason == "INVALID_FIELD" and _is_past(case, call, asked.expire_ms)
    expected = asked.expected_revision
    if (
        call.reason == "REVISION_MISMATCH"
        and expected is not None
        and isinstance(state, Rollout)
        and state.has_lost(expected)
    ):
        return True
    return any(_is_of_reason(found, call.reason) for found in outcomes_at(case, call, asked, head))


def _is_of_reason(found: object, reason: str) -> bool:
    if isinstance(found, InvalidRequestError):
        return reason == "INVALID_FIELD"
    return isinstance(found, RefusedError) and isinstance(found, RampdError) and found.reason == reason


def _refuses_overrides(case: Case, call: Call, asked: Asked, head: Node) -> bool:
    state, now_ms = head.state(asked.component), case.histories.store_ms(call.ended_s + CLOCK_S)
    assert asked.overrides is not None
    match call.reason:
        case "COMPONENT_NOT_FOUND":
            return not isinstance(state, Rollout)
        case "REVISION_MISMATCH":
            expected = asked.expected_revision
            return expected is not None and (
                state.revision != expected or (isinstance(state, Rollout) and state.has_lost(expected))
            )
        case "OVERRIDE_NOT_FOUND":
            there = head.overrides(asked.component)
            gone = [repo for repo, override in asked.overrides.items() if override is None]
            return any(repo not in there or (there[repo].expire_ms or now_ms + 1) <= now_ms for repo in gone)
        case "INVALID_FIELD":
            times = [override.expire_ms for override in asked.overrides.values() if override]
            return any(_is_past(case, call, at_ms) for at_ms in times)
        case _:
            return False


def _is_past(case: Case, call: Call, at_ms: int | None) -> bool:
    """Whether a time was past for the server, whose clock may be that of before or after a step of the store's clock."""
    if at_ms is None:
        return False
    if at_ms <= case.histories.store_ms(call.ended_s + CLOCK_S):
        return True
    return bool(case.faults(call.began_s - 10, call.ended_s, "clock"))
