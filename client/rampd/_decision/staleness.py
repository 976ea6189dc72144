"""How old a state may be: from when on its answers are stale, when nobody gets next from it any more, and how long a
reader waits for a newer one. The server and the client go by the same numbers.

`resolve` in `resolution.py` applies them: whoever would get next from a state that is too old gets current, with the reason
STALE.
"""

STALE_AFTER_S = 5.0
"""The age of a state from which on its answers say `stale`."""
NEXT_MAX_STALE_S = 300.0
"""The age of a state after which, by default, nobody gets next from it: a rollback may have been missed."""
CATCH_UP_S = 1.0
"""How long a reader waits where it knows an older revision than it was asked for. A client's call may take so much longer."""
