"""The jobs of both channels over time, and how many of them failed. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.evidence.samples import Interval
from rampd_server.page.charts.axis import Axis
from rampd_server.page.charts.shapes import Level, Path, levels, top_of, written, y_of

RATE_HEIGHT: Final = 100
JOBS_HEIGHT: Final = 48
_COLUMNS: Final = 60
"""Intervals are put together until about so many are left: more are no wider than a line."""
_LEAST_S: Final = 15.0
"""A shorter interval is drawn as if it had this length: one job in a millisecond is no thousand jobs a second."""
_ENOUGH_JOBS: Final = 10
"""A rate of fewer jobs is drawn faintly, and does not choose the scale while the channel has others."""
_BEYOND_Y: Final = 2.0
"""Where a rate over the scale is drawn: above the line at the top, so that it is not taken for that percent."""


@dataclass(frozen=True, slots=True)
class Column:
    """The jobs whose outcomes were counted in one part of the axis."""

    start_ms: int
    end_ms: int
    current: JobCount
    next: JobCount

    @property
    def start(self) -> datetime:
        """When it begins."""
        return datetime.fromtimestamp(self.start_ms / 1000, UTC)

    @property
    def end(self) -> datetime:
        """When it ends."""
        return datetime.fromtimestamp(self.end_ms / 1000, UTC)

    def by_minute(self, count: int) -> float:
        """Returns how many of them there were in a minute."""
        return 60 * count / max((self.end_ms - self.start_ms) / 1000, _LEAST_S)


@dataclass(frozen=True, slots=True)
class JobsChart:
    """How many jobs of one channel ended, and how many of them failed."""

    channel: str
    most: str
    """What the top stands for, in jobs a minute."""
    paths: Sequence[Path]
    height: int = JOBS_HEIGHT


@dataclass(frozen=True, slots=True)
class RateChart:
    """The failure rates of both channels over time."""

    levels: Sequence[Level]
    paths: Sequence[Path]
    has_beyond: bool
    """Whether a rate may be over the scale."""
    height: int = RATE_HEIGHT


def columns(intervals: Iterable[Interval], axis: Axis) -> list[Column]:
    """Returns the jobs of the axis. Neighbours are put together until they are wide enough to be seen."""
    least_ms = int(axis.length_s * 1000 / _COLUMNS)
    start_ms = int(axis.start.timestamp() * 1000)
    found: list[Column] = []
    for each in intervals:
        if each.end_ms <= start_ms:
            continue
        last = found[-1] if found else None
        if last is not None and last.end_ms - last.start_ms < least_ms and each.start_ms - last.end_ms < least_ms:
            found[-1] = Column(last.start_ms, each.end_ms, last.current + each.current, last.next + each.next)
        else:
            found.append(Column(each.start_ms, each.end_ms, each.current, each.next))
    return found


def rate_chart(found: Sequence[Column], axis: Axis) -> RateChart:
    """Returns the failure rates of both channels."""
    currents, nexts = [each.current for each in found], [each.next for each in found]
    sure = [*_sure(currents), *_sure(nexts)]
    top = top_of(max((100 * count.failures / count.jobs for count in sure), default=0.0), least=1.0)
    return RateChart(
        levels=levels(top, RATE_HEIGHT),
        paths=[
            *_rates([(each, each.current) for each in found], axis, top, "current"),
            *_rates([(each, each.next) for each in found], axis, top, "next"),
        ],
        has_beyond=top < 100,
    )


def jobs_chart(found: Sequence[Column], axis: Axis, channel: str) -> JobsChart:
    """Returns the jobs of a channel, `current` or `next`, with a scale of its own: next often has few."""
    counts: list[tuple[Column, JobCount]] = [
        (each, each.current if channel == "current" else each.next) for each in found
    ]
    most = max((each.by_minute(count.jobs) for each, count in counts), default=0.0)
    return JobsChart(
        channel=channel,
        most=f"{most:,.0f}" if most >= 10 else f"{most:.1g}" if most < 1 else f"{most:.1f}",
        paths=[
            Path(_bars([(each, each.by_minute(count.jobs)) for each, count in counts], axis, most), channel),
            Path(_bars([(each, each.by_minute(count.failures)) for each, count in counts], axis, most), "failed"),
        ]
        if most
        else [],
    )


def _sure(counts: Sequence[JobCount]) -> list[JobCount]:
    """Returns the counts of a channel that choose the scale: those of enough jobs. If there are none, all its jobs together."""
    together = sum(counts, JobCount(0, 0))
    return [count for count in counts if count.jobs >= _ENOUGH_JOBS] or ([together] if together.jobs else [])


def _rates(counts: Sequence[tuple[Column, JobCount]], axis: Axis, top: float, channel: str) -> Iterator[Path]:
    """The rate of enough jobs as one line, and that of few as another."""
    known = [(each, count) for each, count in counts if count.jobs]
    for is_enough, kind in ((True, channel), (False, f"{channel} few")):
        commands = []
        last: Column | None = None
        for each, count in known:
            if (count.jobs >= _ENOUGH_JOBS) is not is_enough:
                last = None
                continue
            rate = 100 * count.failures / count.jobs
            y = written(_BEYOND_Y if rate > top else y_of(rate, top, RATE_HEIGHT))
            x = axis.x(each.start)
            is_near = last is not None and x - axis.x(last.end) < 100 / _COLUMNS
            commands.append(f"H{written(x)}V{y}" if is_near else f"M{written(x)} {y}")
            commands.append(f"H{written(max(axis.x(each.end), x + 0.2))}")
            last = each
        if commands:
            yield Path("".join(commands), f"line {kind}")


def _bars(heights: Sequence[tuple[Column, float]], axis: Axis, most: float) -> str:
    commands = []
    for each, by_minute in heights:
        if by_minute:
            x = axis.x(each.start)
            width = max(axis.x(each.end) - x, 0.2)
            height = max((JOBS_HEIGHT - 1) * by_minute / most, 1.0)
            commands.append(f"M{written(x)} {JOBS_HEIGHT}v-{written(height)}h{written(width)}V{JOBS_HEIGHT}z")
    return "".join(commands)
