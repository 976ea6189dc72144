"""When automation looks at a rollout to which nothing has happened. A change, outcomes and the answer of a check cause a look at
once. What waits for none of these and for no time costs nothing.
"""

from collections.abc import Iterator

from rampd_server.domain.automation.decision import Observed, step_at
from rampd_server.domain.rollout.progress import Cause

REST_S = 0.05
"""The shortest time between two looks at a component. With a thousand changes in a second, there are twenty looks."""
AFTER_CHANGE_S = 0.05
"""Watchers get a change first: a look costs as much as a hundred watchers."""
RETRY_S = 1.0
"""The wait after a look that failed, because another writer was first or the store is away."""
AFTER_DEFECT_S = 30.0
_MATURING_MS = 5_000
"""The shortest time until the next look at outcomes that begin to count one after the other."""


def next_change_ms(observed: Observed) -> int | None:
    """Returns when time alone may lead to another decision, by the store's clock; None: never.

    Until then, another decision needs new outcomes, new readings of checks, a change of the rollout or of the namespace's
    freeze, or a clock that jumps.
    """
    now_ms = observed.clock.now_ms
    return min((at_ms for at_ms in _moments(observed) if at_ms > now_ms), default=None)


def _moments(observed: Observed) -> Iterator[int]:
    rollout, progress = observed.rollout, observed.progress
    if observed.confirm_due_ms is not None:
        yield observed.confirm_due_ms
    if observed.counters.matures_ms is not None:
        yield max(observed.counters.matures_ms, observed.clock.now_ms + _MATURING_MS)
    for freeze in (rollout.freeze, observed.freeze_all):
        if freeze is not None and freeze.expire_ms is not None:
            yield freeze.expire_ms
    if progress.hold_since_ms is not None:
        yield progress.hold_since_ms + step_at(observed.automation, rollout.basis_points).hold_ms
    stuck_after_ms = observed.automation.stuck_after_ms
    waits_for_approval = rollout.pause_cause is Cause.APPROVAL
    if stuck_after_ms is not None and Cause.STUCK not in progress.said and not waits_for_approval:
        yield observed.stuck_since_ms + stuck_after_ms
