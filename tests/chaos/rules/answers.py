"""Each answer is the one that its change gives, or that some state between the call and its answer gives."""

from collections.abc import Iterator

from google.protobuf.message import Message

from rampd import v1
from rampd_server.domain.errors import RampdError
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.ports import Namespace
from rampd_server.rpc.messages.convert import rollout_message
from tests.chaos.histories import Node
from tests.chaos.judging import Case, Violation, outcome_of
from tests.chaos.record import Call
from tests.chaos.requests import Asked
from tests.chaos.rules.replay import effect_at

_BY_CLOCK_AND_COUNTS = ("frozen", "freezes", "damage", "evidence", "outcomes", "current_outcomes")
"""Fields of a rollout that do not follow from its state alone."""


def every_change_is_answered_as_it_is(case: Case) -> Iterator[Violation]:
    """An answer that something changed names a change that was made while the call was under way."""
    for call in case.mutations:
        if call.response is None or not call.response.changed or call.response.replayed:
            continue
        nodes = _nodes_of(case, call)
        if not nodes:
            yield _violation(call, f"revision {call.response.revision} was answered, and no store ever had this change")
            continue
        problems = [_problem(case, call, node) for node in nodes]
        if all(problems):
            yield _violation(call, problems[0])


def every_unchanged_answer_fits_a_state(case: Case) -> Iterator[Violation]:
    """An answer that nothing changed is right in some state while the call was under way."""
    for call in case.mutations:
        if call.response is None or call.response.changed or call.response.replayed:
            continue
        asked = case.asked(call)
        if not any(_is_unchanged(case, call, asked, head) for head in _heads(case, call)):
            yield _violation(call, f"in no state between call and answer it changes nothing: {call.response.message}")


def every_read_is_of_a_state_in_between(case: Case) -> Iterator[Violation]:
    """GetRollout answers with a state that the store had while the call was under way."""
    for call in case.record.calls:
        if call.method != "GetRollout" or (call.response is None and call.reason != "COMPONENT_NOT_FOUND"):
            continue
        states = [head.state(call.component) for head in _heads(case, call)]
        if call.response is None:
            is_right = any(isinstance(state, Absent) for state in states)
        else:
            read = core(call.response.rollout)
            is_right = any(isinstance(state, Rollout) and core_of(state) == read for state in states)
        if not is_right:
            told = f"revision {call.response.rollout.revision}" if call.response else "no component"
            there = sorted({state.revision for state in states})
            yield _violation(call, f"{told} was read, but the store was at {there}")


def _violation(call: Call, what: str) -> Violation:
    about = (
        f"{call.method} of {call.component or 'everything'} by {call.who} at server {call.server} ({call.request_id})"
    )
    return Violation(f"{about}: {what}", call.ended_s, call.component)


def _nodes_of(case: Case, call: Call) -> list[Node]:
    """The changes of a request that its answer may be about."""
    assert call.response is not None
    nodes = case.histories.by_request.get(call.request_id, [])
    return [node for node in nodes if not node.component or node.entry.revision == call.response.revision]


def _heads(case: Case, call: Call) -> Iterator[Node]:
    return case.histories.heads(call.began_s, call.ended_s)


def _problem(case: Case, call: Call, node: Node) -> str:
    """Says why an answer is not that of a change; empty if it is."""
    response, asked = call.response, case.asked(call)
    assert response is not None
    if node.after_s > call.ended_s or node.by_s < call.began_s:
        return (
            f"the change was made between {node.after_s:.3f} and {node.by_s:.3f}, and not during the call, from "
            f"{call.began_s:.3f} to {call.ended_s:.3f}"
        )
    if asked.command is None:
        # The rollout is read after the change, which may be lost by then.
        is_kept = not case.histories.lives_within(call.began_s, call.ended_s)
        is_older = response.HasField("rollout") and response.rollout.revision < response.revision
        return f"the rollout of the answer is of revision {response.rollout.revision}" if is_older and is_kept else ""
    effect = effect_at(asked, node)
    if isinstance(effect, RampdError):
        return "the state machine refuses it"
    wrong = _wrong_result(response, effect)
    if wrong:
        return wrong
    if isinstance(node.own, Absent):
        return "the answer has a rollout" if response.HasField("rollout") else ""
    return "" if core(response.rollout) == core_of(node.own) else f"the answer has another rollout: {response.rollout}"


def _wrong_result(response: Message, effect: Effect) -> str:
    expected = {"message": effect.message}
    found = {"message": response.message[: len(effect.message)]}  # type: ignore[attr-defined]
    if isinstance(response, v1.ReleaseResponse):
        expected |= result_fields(effect)
        found |= {name: str(getattr(response, name)) for name in result_fields(effect)}
    return "" if found == expected else f"the answer should have {expected}, and has {found}"


def result_fields(effect: Effect) -> dict[str, str]:
    """The fields of the answer to Release that its effect gives, as texts."""
    disposition = int(v1.Disposition.Value(f"DISPOSITION_{effect.disposition}"))
    return {
        "disposition": str(disposition),
        "release": str(effect.release),
        "queue_position": str(effect.queue_position),
    }


def _is_unchanged(case: Case, call: Call, asked: Asked, head: Node) -> bool:
    assert call.response is not None
    if asked.freezes_all is not None:
        if not asked.freezes_all:
            return head.freeze is None
        return head.freeze is not None and head.freeze.expire_ms == asked.expire_ms
    state = head.state(asked.component)
    if asked.overrides is not None:
        there = head.overrides(asked.component)
        return isinstance(state, Rollout) and all(there.get(repo) == each for repo, each in asked.overrides.items())
    return any(
        isinstance(effect, Effect) and not effect.changed and not _wrong_result(call.response, effect)
        for effect in outcomes_at(case, call, asked, head)
    )


def outcomes_at(case: Case, call: Call, asked: Asked, head: Node) -> Iterator[Effect | RampdError]:
    """What a command does in a state, at the times of its call that a server may take for the store's."""
    for now_ms in case.histories.times_of_server(call.began_s, call.ended_s):
        note = getattr(call.request, "note", "")
        context = Context(now_ms, call.who, note, asked.expected_revision, head.freeze)
        yield outcome_of(head.state(asked.component), asked, context)


def core(rollout: v1.Rollout) -> v1.Rollout:
    """Returns the part of a rollout that follows from its state alone."""
    made = v1.Rollout()
    made.CopyFrom(rollout)
    for name in _BY_CLOCK_AND_COUNTS:
        made.ClearField(name)
    return made


def core_of(rollout: Rollout) -> v1.Rollout:
    return core(rollout_message(rollout, Namespace(), 0))
