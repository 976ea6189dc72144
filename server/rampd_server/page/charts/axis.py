"""The time that the charts of a component show, from left to right. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from rampd import v1
from rampd._standing.clock import Clock, as_datetime

SPANS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
"""What a person may choose, and its length."""
_LEAST: Final = timedelta(minutes=10)
_MOST: Final = timedelta(days=366)
"""The shortest and the longest time that is shown. A rollout that has just begun is at the right end."""
_GRIDS: Final = 32
"""The right end is a round moment, at least so many of which are on the axis. So a picture stays the same for a while."""
_MOST_TICKS: Final = 4
"""Their texts fit on a phone."""
_TICKS_S: Final = tuple(
    count * unit
    for unit, counts in ((60, (1, 2, 5, 10, 15, 30)), (3_600, (1, 2, 3, 6, 12)), (86_400, (1, 2, 5, 10, 20, 50, 100)))
    for count in counts
)
_NEAR_END: Final = 12.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A round moment on the axis."""

    x: float
    text: str
    anchor: str
    """Which part of the text is at `x`, as SVG says it: near an end of the axis, not the middle."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From `start` to `end`. Across, a place is in percent of the width, so that a chart fits every screen."""

    start: datetime
    end: datetime

    @property
    def length_s(self) -> float:
        """Its length in seconds."""
        return (self.end - self.start).total_seconds()

    def x(self, at: datetime) -> float:
        """Returns the place of a moment: 0 to 100. A moment before the axis is at its left end."""
        share = 100 * (at - self.start).total_seconds() / self.length_s
        return round(min(max(share, 0.0), 100.0), 1)

    def ticks(self, clock: Clock) -> Iterator[Tick]:
        """Yields the moments to write beneath."""
        step_s = next((step_s for step_s in _TICKS_S if self.length_s <= _MOST_TICKS * step_s), _TICKS_S[-1])
        moment_s = math.ceil(self.start.timestamp() / step_s) * step_s
        while moment_s <= self.end.timestamp():
            at = datetime.fromtimestamp(moment_s, UTC)
            x = self.x(at)
            anchor = "start" if x < _NEAR_END else "end" if x > 100 - _NEAR_END else "middle"
            yield Tick(x, clock.short(at), anchor)
            moment_s += step_s


def axis_of(rollout: v1.Rollout, span: str, now: datetime) -> Axis:
    """Returns the axis of a span. If it is none of `SPANS`: the whole rollout; in STEADY a day."""
    chosen = SPANS.get(span)
    if chosen is None and not rollout.HasField("next"):
        chosen = SPANS["day"]
    length = chosen or min(max(now - as_datetime(rollout.next.update_time), _LEAST), _MOST)
    grid_s = 2 ** math.floor(math.log2(length.total_seconds() / _GRIDS))
    end = datetime.fromtimestamp(math.ceil(now.timestamp() / grid_s) * grid_s, UTC)
    if chosen is not None:
        return Axis(end - chosen, end)
    # A little before its beginning, so that the beginning shows.
    began = as_datetime(rollout.next.update_time) - timedelta(seconds=grid_s)
    return Axis(min(max(began, end - _MOST), end - _LEAST), end)
