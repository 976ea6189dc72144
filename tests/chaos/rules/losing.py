"""What is answered is kept, unless the data of the store are replaced by older ones. Then rampd says what is lost."""

from collections.abc import Iterator

from rampd_server.domain.rollout.model import Rollout
from tests.chaos.faults import LOSING
from tests.chaos.histories import Node
from tests.chaos.judging import RECOVERY_S, Case, Violation

_OF_SERVERS = ("killed server", "restarted server", "lonely server")


def nothing_is_lost_without_a_loss(case: Case) -> Iterator[Violation]:
    """A store that is killed or stopped still has everything that it had."""
    for life in case.record.lives[1:]:
        if not case.faults(life.after_s, life.by_s, *LOSING):
            yield Violation(f"the store went back to {life.head}, and nobody had put back older data", life.by_s)


def every_lost_change_is_named(case: Case) -> Iterator[Violation]:
    """A change that was answered and is lost is among the lost revisions of its component."""
    head = case.histories.last_head
    for call in case.mutations:
        if call.response is None or not call.response.changed or call.response.replayed or not call.component:
            continue
        for node in case.histories.by_request.get(call.request_id, ()):
            if node.entry.revision != call.response.revision or head.descends_from(node):
                continue
            lost_s = _lost_s(case, node)
            # All that knew the change may have ended before they could tell of it.
            is_known = not case.faults(call.began_s - 3 * RECOVERY_S, lost_s + 3 * RECOVERY_S, *_OF_SERVERS)
            if is_known and case.calm_s(lost_s, case.end_s) > 0 and not _is_named(node, head):
                state = head.state(node.component)
                lost = state.lost if isinstance(state, Rollout) else "no component"
                what = f"{call.method} of {node.component} ({call.request_id}) was answered as revision {node.entry.revision}"
                yield Violation(f"{what} and is lost, but {node.component} names {lost}", lost_s, node.component)


def _lost_s(case: Case, node: Node) -> float:
    """When the store lost a node: at the begin of the first life after it that does not descend from it."""
    for life in case.record.lives:
        if life.number > node.life and not case.histories.branch_of(life.number)[0].descends_from(node):
            return life.by_s
    return case.end_s


def _is_named(node: Node, head: Node) -> bool:
    state, revision = head.state(node.component), node.entry.revision
    if isinstance(state, Rollout) and state.has_lost(revision):
        return True
    # A component that was deleted or made again since has no list, or a new one.
    at: Node | None = head
    while at is not None:
        if at.component == node.component and (at.entry.is_deletion or at.action == "RecordLoss"):
            own = at.own
            if not isinstance(own, Rollout) or own.has_lost(revision):
                return True
        at = at.parent
    return False
