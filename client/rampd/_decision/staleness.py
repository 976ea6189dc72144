"""When a state is too old: the age at which its answers are stale, and the age after which nobody gets next from it. The
server and the client use the same numbers.

`resolve` in `resolution.py` applies them: if a state is too old, a job that would get next gets current, with the reason
STALE.
"""

STALE_AFTER_S = 5.0
"""The age of a state at which its answers become `stale`."""
NEXT_MAX_STALE_S = 300.0
"""The age of a state after which, by default, nobody gets next from it, because this process may have missed a rollback."""
CATCH_UP_S = 1.0
"""How long a reader waits if its revision is older than the requested one. A client's call may take so much longer."""
