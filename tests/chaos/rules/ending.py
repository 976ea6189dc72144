"""When everything is quiet again, every server is fresh and writable and has what the store has."""

from collections.abc import Iterator

from rampd_server.domain.rollout.model import Rollout
from tests.chaos.judging import Case, Violation
from tests.chaos.rules.answers import core, core_of


def every_server_recovers(case: Case) -> Iterator[Violation]:
    for end in case.record.ends:
        if end.problem:
            about = end.component or "all"
            yield Violation(f"server {end.server} has not recovered ({about}): {end.problem}", end.at_s, end.component)


def every_server_ends_with_what_the_store_has(case: Case) -> Iterator[Violation]:
    for end in case.record.ends:
        if not end.component or end.problem:
            continue
        revision = end.rollout.revision if end.rollout is not None else 0  # type: ignore[attr-defined]
        # Automation goes on while the ends are read one after the other.
        states = [head.state(end.component) for head in case.histories.heads(end.at_s - 10, end.at_s)]
        rollouts = [core_of(state) for state in states if isinstance(state, Rollout)]
        is_there = end.rollout is None and len(rollouts) < len(states)
        if not is_there and (end.rollout is None or core(end.rollout) not in rollouts):  # type: ignore[arg-type]
            what = (
                f"server {end.server} ends with revision {revision} of {end.component}, which is not what the store has"
            )
            yield Violation(what, end.at_s, end.component)
