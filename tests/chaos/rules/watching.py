"""A watcher knows exactly the state at its cursor, never leaves its history without a rewind, and knows how old its state is."""

from collections.abc import Iterator

from rampd_server.domain.rollout.model import Rollout
from tests.chaos.histories import Node
from tests.chaos.judging import Case, Violation
from tests.chaos.record import Known, Watched

_SLACK_S = 0.3
"""How far the watcher may take the time of a confirmation for later than it was: it knows only how long messages take at best."""


def no_watcher_goes_back(case: Case) -> Iterator[Violation]:
    last: dict[str, Watched] = {}
    for seen in case.record.watched:
        before = last.get(seen.who)
        last[seen.who] = seen
        if seen.problem:
            yield _violation(seen, f"got a message that makes no sense: {seen.problem}")
        elif before is not None and not seen.is_rewound and _leaves(case, before, seen):
            yield _violation(
                seen, f"went from {before.cursor} to {seen.cursor}, which does not follow it, without a rewind"
            )


def every_watcher_knows_the_state_at_its_cursor(case: Case) -> Iterator[Violation]:
    for seen in case.record.watched:
        head = case.histories.nodes.get(_entry(seen.cursor))
        if head is None:
            yield _violation(seen, f"is at {seen.cursor}, and no store ever had this entry")
            continue
        expected = {name: _known(head, name) for name in head.last if isinstance(head.state(name), Rollout)}
        if dict(seen.components) != expected:
            names = [name for name in {*seen.components, *expected} if seen.components.get(name) != expected.get(name)]
            parts = [f"{name} should be {expected.get(name)}, is {seen.components.get(name)}" for name in names]
            yield _violation(seen, f"at {seen.cursor}: {'; '.join(parts)}", names[0])


def no_watcher_takes_its_state_for_fresher_than_it_is(case: Case) -> Iterator[Violation]:
    for seen in case.record.watched:
        head = case.histories.nodes.get(_entry(seen.cursor))
        if head is not None and head not in case.histories.heads(seen.confirmed_s - _SLACK_S, seen.at_s):
            age_s = seen.at_s - seen.confirmed_s
            yield _violation(seen, f"takes its state at {seen.cursor} for {age_s:.3f} s old, and it is older")


def _violation(seen: Watched, what: str, component: str = "") -> Violation:
    return Violation(f"{seen.who} of server {seen.server} {what}", seen.at_s, component)


def _entry(cursor: str) -> str:
    return cursor.rpartition("/")[2]


def _leaves(case: Case, before: Watched, seen: Watched) -> bool:
    """Whether a watcher has gone to a state that does not come after the one before in the same history."""
    nodes = case.histories.nodes
    first, second = nodes.get(_entry(before.cursor)), nodes.get(_entry(seen.cursor))
    return first is not None and second is not None and not second.descends_from(first)


def _known(head: Node, component: str) -> Known:
    state = head.state(component)
    assert isinstance(state, Rollout)
    overrides = {
        repo: (str(each.channel), each.tag, each.expire_ms) for repo, each in head.overrides(component).items()
    }
    following = state.next_release.tag if state.next_release else ""
    return Known(state.revision, state.state.value, state.current_release.tag, following, state.basis_points, overrides)
