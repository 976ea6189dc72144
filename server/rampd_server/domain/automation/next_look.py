"""When automation has to look at a rollout again though nothing has happened to it."""

from collections.abc import Iterator

from rampd_server.domain.automation.decision import Observed, step_at
from rampd_server.domain.rollout.progress import Cause


def next_change_ms(observed: Observed) -> int | None:
    """When time alone may bring another decision, by the store's clock; None: never. Until then, only new outcomes, new
    readings of checks, a change of the rollout or of the namespace's freeze, or a clock that jumps can bring one.
    """
    now_ms = observed.clock.now_ms
    return min((at_ms for at_ms in _moments(observed) if at_ms > now_ms), default=None)


def _moments(observed: Observed) -> Iterator[int]:
    rollout, progress = observed.rollout, observed.progress
    if observed.confirm_due_ms is not None:
        yield observed.confirm_due_ms
    for freeze in (rollout.freeze, observed.freeze_all):
        if freeze is not None and freeze.expire_ms is not None:
            yield freeze.expire_ms
    if progress.hold_since_ms is not None:
        yield progress.hold_since_ms + step_at(observed.automation, rollout.basis_points).hold_ms
    stuck_after_ms = observed.automation.stuck_after_ms
    waits_for_approval = rollout.pause_cause is Cause.APPROVAL
    if stuck_after_ms is not None and Cause.STUCK not in progress.said and not waits_for_approval:
        yield observed.stuck_since_ms + stuck_after_ms
