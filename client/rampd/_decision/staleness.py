"""When a state is too old: from which age on its answers are stale, and after which age nobody gets next from it. The server
and the client have the same rules.
"""

STALE_AFTER_S = 5.0
"""The age of a state at which its answers become `stale`."""
NEXT_MAX_STALE_S = 300.0
"""The age of a state after which, by default, nobody gets next from it, because this process may have missed a rollback."""
CATCH_UP_S = 1.0
"""How long a reader waits if its revision is older than the requested one. A client's call may take so much longer."""


def is_stale(age_s: float) -> bool:
    """Whether the answers from a state of this age are `stale`."""
    return age_s >= STALE_AFTER_S


def withholds_next(age_s: float, next_max_stale_s: float = NEXT_MAX_STALE_S) -> bool:
    """Whether a state of this age is too old to give next to anybody: a job that would get next gets current, with the reason
    STALE. `resolution.resolve` has the same comparison, because a call costs time there.
    """
    return age_s > next_max_stale_s
