"""How often automation looks at a rollout to which nothing has happened. What happens to it calls for a look at once."""

from collections.abc import Iterator

from rampd_server.domain.automation.decision import Observed, step_at
from rampd_server.domain.rollout.progress import Cause

REST_S = 0.05
"""Between two looks at a component: one to which a thousand things happen in a second is looked at twenty times."""
AFTER_CHANGE_S = 0.05
"""Those who watch are told of a change first: a look costs as much as a hundred of them."""
RETRY_S = 1.0
"""After a look that came to nothing, because somebody was first or the store is away."""
WITHOUT_OUTCOMES_S = 30.0
_WITH_OUTCOMES_S = 5.0
_WITH_CHECKS_S = 1.0


def at_most_s(observed: Observed) -> float:
    """How long to wait with the next look at the most: the server that is told of an outcome may die before it looks."""
    if observed.automation.checks:
        return _WITH_CHECKS_S
    # With a maturation, outcomes may be waiting that do not show yet, and nobody tells when they count.
    has_outcomes = observed.counters.by_weight or observed.counters.reporters or observed.automation.maturation_ms
    return _WITH_OUTCOMES_S if has_outcomes else WITHOUT_OUTCOMES_S


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
