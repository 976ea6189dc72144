"""Whether and when this library tries a call again. gRPC's own tries are in `channel.py`. Work that lasts longer than one
call has its own rules: `_watching/feed.py`, `_reporting/outcome_buffer.py`, `_verbs/release_wait.py`.
"""

from collections.abc import Callable

from rampd._runtime.backoff import Backoff, after
from rampd._runtime.backoff import chance as of_the_system
from rampd.errors import RampdError

_BACKOFF = Backoff(first_s=0.02, most_s=0.5)


class Attempts:
    """The tries of one call, all within one deadline.

    gRPC itself tries again after UNAVAILABLE, and after CANCELLED by the server. CONTENTION, and every error
    with `retry_after_s`, is tried again here, because the retries of gRPC know only status codes.
    """

    __slots__ = ("_chance", "_deadline", "_failures")

    def __init__(self, timeout_s: float, now_s: float, chance: Callable[[], float] = of_the_system) -> None:
        self._deadline = now_s + timeout_s
        self._chance = chance
        self._failures = 0

    def left_s(self, now_s: float) -> float:
        """Returns the seconds until the deadline, 0 after it. `now_s` is from the same clock as in the constructor."""
        return max(0.0, self._deadline - now_s)

    def pause_s(self, error: RampdError, now_s: float) -> float | None:
        """Returns the seconds to wait before the next try. None: no further try, the call fails with this error."""
        if error.retry_after_s is not None:
            pause_s = after(error.retry_after_s, 0.0, self._chance)
        elif error.reason == "CONTENTION":
            pause_s = _BACKOFF.pause_s(self._failures, self._chance)
        else:
            return None
        self._failures += 1
        return pause_s if pause_s < self.left_s(now_s) else None
