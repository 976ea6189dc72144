"""The time by the store's clock, and whether that clock jumped.

Holds are counted by the store's clock, so that they outlive any server. But a store's clock that is set forward would
end every hold at once. So each server compares the store's clock with its own monotonic one from look to look.
"""

from dataclasses import dataclass

JUMP_MS = 30_000
"""A larger difference is not drift or a slow answer: somebody set the clock."""


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of both clocks, taken together."""

    store_ms: int
    monotonic_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The time by the store's clock, and the newest jump that this server saw: when it happened (never after `now_ms`) and by
    how much. A new server has seen no jump.
    """

    now_ms: int
    jump_ms: int | None = None
    jumped_by_ms: int = 0


def read(before: Clock | None, last: Look | None, look: Look) -> Clock:
    """Returns the clock after a look. `before` and `last` are from the look before; None at the first look."""
    if before is None or last is None:
        return Clock(look.store_ms)
    jumped_by_ms = (look.store_ms - last.store_ms) - (look.monotonic_ms - last.monotonic_ms)
    if abs(jumped_by_ms) > JUMP_MS:
        return Clock(look.store_ms, jump_ms=look.store_ms, jumped_by_ms=jumped_by_ms)
    if before.jump_ms is None:
        return Clock(look.store_ms)
    # A clock that is set back by less than a jump must not leave the jump in the future: every hold would be older than the jump.
    return Clock(look.store_ms, min(before.jump_ms, look.store_ms), before.jumped_by_ms)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline by the store's clock, as one server saw it first. `latest_ms`, by that server's monotonic clock, is when the
    deadline is over even if somebody changes the store's clock.
    """

    at_ms: int
    latest_ms: int


def first_seen(at_ms: int, since_ms: int, look: Look) -> Deadline:
    """Returns a deadline that was set at `since_ms` or before, by the store's clock.

    If the present time is not between `since_ms` and the deadline, the clock was set in between. Then the time left is at
    most the whole time from `since_ms` to the deadline.
    """
    is_in_doubt = not since_ms <= look.store_ms < at_ms
    left_ms = at_ms - (since_ms if is_in_doubt else look.store_ms)
    return Deadline(at_ms, look.monotonic_ms + left_ms)
