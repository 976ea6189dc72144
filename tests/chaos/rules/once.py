"""A request is carried out once, however often it is sent, and a repeat gets the first answer."""

import itertools
from collections.abc import Iterator

from rampd import v1
from rampd_server.domain.rollout.effect import Effect
from tests.chaos.histories import Node
from tests.chaos.judging import Case, Violation
from tests.chaos.record import Call
from tests.chaos.rules.answers import result_fields
from tests.chaos.rules.replay import effect_at


def no_request_is_carried_out_twice(case: Case) -> Iterator[Violation]:
    """In no history are there two entries of one request. A request whose change was lost may be carried out again."""
    for request_id, nodes in case.histories.by_request.items():
        for first, second in itertools.combinations(sorted(nodes, key=lambda node: node.depth), 2):
            if second.descends_from(first):
                revisions = f"revisions {first.entry.revision} and {second.entry.revision}"
                yield Violation(f"{request_id} was carried out as {revisions}", second.by_s, second.component)


def no_dry_run_is_carried_out(case: Case) -> Iterator[Violation]:
    for call in case.record.calls:
        if call.is_mutation and call.request.dry_run and call.request_id in case.histories.by_request:  # type: ignore[attr-defined]
            yield Violation(f"the dry run {call.request_id} was carried out", call.ended_s, call.component)


def every_replay_repeats_the_first_answer(case: Case) -> Iterator[Violation]:
    """An answer with `replayed` gives the result of a change of this request, or of another answer to it."""
    for call in case.mutations:
        if call.response is None or not call.response.replayed:
            continue
        others = [other for other in case.by_request[call.request_id] if other is not call]
        if not any(other.began_s < call.ended_s for other in others):
            what = "was sent once, and its answer is that of a repeat"
        elif any(_is_result(case, call, node) for node in case.histories.by_request.get(call.request_id, ())) or (
            not call.response.changed and any(_is_of_same_result(call, other) for other in others)
        ):
            continue
        else:
            # The server that made the first copy may have been killed before it answered.
            lost = [
                other
                for other in others
                if other.response is None and other.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
            ]
            if not call.response.changed and lost:
                continue
            what = f"nothing had the result that the repeat gives: revision {call.response.revision}"
        yield Violation(f"{call.request_id} ({call.method} by {call.who}) {what}", call.ended_s, call.component)


def _is_result(case: Case, call: Call, node: Node) -> bool:
    response = call.response
    assert response is not None
    if not response.changed or (node.component and response.revision != node.entry.revision):
        return False
    if not isinstance(response, v1.ReleaseResponse):
        return True
    effect = effect_at(case.asked(call), node)
    if not isinstance(effect, Effect):
        return False
    return {name: str(getattr(response, name)) for name in result_fields(effect)} == result_fields(effect)


def _is_of_same_result(call: Call, other: Call) -> bool:
    first, second = other.response, call.response
    if first is None or second is None:
        return False
    names = ("revision", "changed", "disposition", "release", "queue_position")
    return all(getattr(first, name, None) == getattr(second, name, None) for name in names)
