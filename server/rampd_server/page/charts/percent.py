"""The percent of next over time, with what happened marked on it. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Final

from rampd import v1
from rampd._standing.clock import Clock, as_datetime
from rampd._standing.event import about_event
from rampd._standing.share import percent
from rampd._standing.tone import Tone
from rampd_server.page.charts.axis import Axis
from rampd_server.page.charts.course import InForce, Stretch, is_turn
from rampd_server.page.charts.shapes import EDGE, Level, Path, levels, top_of, written, y_of

HEIGHT: Final = 140
LINE_HEIGHT: Final = 20
"""The height of the small line of a row."""
_MOST_MARKS: Final = 100
"""More can't be told apart."""
_LEAST_TOP: Final = 10.0
"""A rollout that has just begun must not look like one that is done."""
_TONES: Final = {
    **dict.fromkeys(("Rollback", "Abandon", "Revert", "Quarantine", "RecordLoss", "DeleteComponent"), Tone.BAD),
    **dict.fromkeys(("Pause", "Freeze", "Notify"), Tone.WAITS),
    **dict.fromkeys(("Finalize", "Confirm"), Tone.GOOD),
}


@dataclass(frozen=True, slots=True)
class Band:
    """A time in which next was HELD, paused or frozen."""

    x: float
    width: float
    kind: str
    said: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An event of the course."""

    x: float
    y: float
    tone: str
    at: datetime
    time: str
    """`at` as people read it."""
    event_id: str
    """Empty: it is an event of the namespace, which no history of a component has."""
    percent: str
    """That of next after the event. Empty: there was no next."""
    actor: str
    action: str
    about: str

    @property
    def said(self) -> str:
        """The mark in a sentence."""
        return " ".join(filter(None, (f"{self.time}: {self.action} by {self.actor}.", self.about)))


@dataclass(frozen=True, slots=True)
class PercentChart:
    """The percent of next over time."""

    levels: Sequence[Level]
    bands: Sequence[Band]
    paths: Sequence[Path]
    marks: Sequence[Mark]
    """Newest first."""
    height: int = HEIGHT

    @property
    def kinds(self) -> list[str]:
        """What the bands stand for: `held`, `paused`, `frozen`."""
        return sorted({band.kind for band in self.bands})


def percent_chart(stretches: Sequence[Stretch], events: Iterable[v1.Event], axis: Axis, clock: Clock) -> PercentChart:
    """`events`: as for `course`, newest first. The lines end at the time of the clock."""
    shown = [(start, end, what) for start, end, what in _bounded(stretches, axis, clock.now) if end > start]
    top = top_of(max((what.percent or 0.0 for _, _, what in shown), default=0.0), least=_LEAST_TOP)
    return PercentChart(
        levels=levels(top, HEIGHT),
        bands=[
            *_bands(shown, axis, "held", lambda what: what.is_held),
            *_bands(shown, axis, "paused", lambda what: what.is_paused),
            *_bands(shown, axis, "frozen", lambda what: what.is_frozen or what.is_all_frozen),
        ],
        paths=list(_steps(shown, axis, top)),
        marks=list(islice(_marks(stretches, events, axis, top, clock), _MOST_MARKS)),
    )


def small_line(stretches: Sequence[Stretch], axis: Axis, now: datetime) -> str:
    """Returns the percent of the present next as a path, 100 wide and `LINE_HEIGHT` high. Empty: there is no next."""
    release = stretches[-1].what.release
    shown = [
        (start, end, what)
        for start, end, what in _bounded(stretches, axis, now)
        if end > start and what.release == release and what.percent is not None
    ]
    return _stairs(shown, axis, 100.0, LINE_HEIGHT, 1) if release and shown else ""


_Bounded = tuple[datetime, datetime, InForce]
"""A stretch with its start and end on the axis."""


def _bounded(stretches: Sequence[Stretch], axis: Axis, now: datetime) -> Iterator[_Bounded]:
    ends = [each.start or axis.start for each in stretches[1:]]
    for each, end in zip(stretches, [*ends, min(now, axis.end)], strict=True):
        yield max(each.start or axis.start, axis.start), end, each.what


def _steps(shown: Sequence[_Bounded], axis: Axis, top: float) -> Iterator[Path]:
    """A line for each release, and the area beneath it."""
    present = shown[-1][2].release if shown else 0
    for (release, has_percent), group in groupby(shown, lambda each: (each[2].release, each[2].percent is not None)):
        if has_percent:
            stretches = list(group)
            line = _stairs(stretches, axis, top, HEIGHT, EDGE)
            kind = "next" if release == present else "past"
            base = HEIGHT - EDGE
            yield Path(f"{line}V{base}H{written(axis.x(stretches[0][0]))}Z", f"area {kind}")
            yield Path(line, f"line {kind}")


def _stairs(shown: Sequence[_Bounded], axis: Axis, top: float, height: float, edge: float) -> str:
    commands: list[str] = []
    for start, end, what in shown:
        y = written(y_of(what.percent or 0.0, top, height, edge))
        commands.append(f"V{y}" if commands else f"M{written(axis.x(start))} {y}")
        commands.append(f"H{written(axis.x(end))}")
    return "".join(commands)


def _bands(shown: Sequence[_Bounded], axis: Axis, kind: str, is_so: Callable[[InForce], bool]) -> Iterator[Band]:
    for found, group in groupby(shown, lambda each: is_so(each[2])):
        if found:
            stretches = list(group)
            x, end = axis.x(stretches[0][0]), axis.x(stretches[-1][1])
            yield Band(x, round(max(end - x, 0.2), 1), kind, "HELD" if kind == "held" else kind)


def _marks(
    stretches: Sequence[Stretch], events: Iterable[v1.Event], axis: Axis, top: float, clock: Clock
) -> Iterator[Mark]:
    """Newest first."""
    later = list(stretches)
    for event in events:
        at = as_datetime(event.time)
        if at < axis.start:
            return
        if not is_turn(event):
            continue
        while len(later) > 1 and (later[-1].start or at) > at:
            later.pop()
        after = later[-1].what.percent
        yield Mark(
            x=axis.x(at),
            y=y_of(after or 0.0, top, HEIGHT),
            tone=_TONES.get(event.action, Tone.MOVES),
            at=at,
            time=clock.time(at),
            event_id=event.id if event.component else "",
            percent="" if after is None else percent(after),
            actor=event.actor + (" (claimed)" if event.actor_claimed else ""),
            action=event.action,
            about=about_event(event),
        )
