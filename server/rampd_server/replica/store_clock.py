"""The store's clock, as exactly as the store's answers tell it. Pure."""

from typing import Final

_DRIFT: Final = 1.0
"""How much one clock may run away from the other, in ms for each second: twice of what time servers do to a clock."""


class StoreClock:
    """How far the store's clock is ahead of the monotonic clock of this machine.

    An answer has the time of one moment between the question and the arrival of the answer. So a quick answer is exact, and a late
    one is not. What a quick answer has told is kept for as long as later answers do not contradict it.
    """

    def __init__(self) -> None:
        self.ahead_ms: float | None = None
        """In milliseconds; at most as far as it is. None: the store has not answered yet."""
        self._answered_s = 0.0

    def take(self, time_ms: int, asked_s: float, answered_s: float) -> None:
        """Takes a time that the store has answered, in whole milliseconds. `asked_s` and `answered_s` are by the monotonic clock."""
        least_ms, most_ms = time_ms - answered_s * 1000, time_ms + 1 - asked_s * 1000
        if self.ahead_ms is not None:
            kept_ms = self.ahead_ms - _DRIFT * (answered_s - self._answered_s)
            if least_ms <= kept_ms <= most_ms:
                least_ms = kept_ms
        self.ahead_ms, self._answered_s = least_ms, answered_s
