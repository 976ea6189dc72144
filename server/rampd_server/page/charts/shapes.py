"""What charts are drawn of, as numbers. A template draws them as SVG. Pure.

Across, a place is in percent of the width. Down, it is in pixels, so that texts and lines keep their size on every screen.
"""

from dataclasses import dataclass
from typing import Final

from rampd._standing.share import percent

EDGE: Final = 8
"""What is free above and beneath, so that a mark at 100 % is whole."""
_TOPS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0)
"""The percents that may be at the top of a chart."""


@dataclass(frozen=True, slots=True)
class Level:
    """A line across a chart, with what it stands for."""

    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Path:
    """A line or an area, as the commands of an SVG path. `kind` has classes of the style sheet."""

    d: str
    kind: str


def top_of(most: float, *, least: float) -> float:
    """Returns the percent at the top of a chart: a round one, not under `most` nor under `least`."""
    return next((top for top in _TOPS if top >= max(most, least)), _TOPS[-1])


def y_of(value: float, top: float, height: float, edge: float = EDGE) -> float:
    """Returns the place of a percent in a chart of a height. One over `top` is at the top."""
    return round(edge + (height - 2 * edge) * (1 - min(value / top, 1.0)), 1)


def levels(top: float, height: int) -> list[Level]:
    """Returns the lines at the top, the middle and the bottom."""
    return [Level(y_of(share * top, top, height), percent(share * top)) for share in (0, 0.5, 1)]


def written(number: float) -> str:
    """Writes a number for a path, as short as it is exact enough."""
    return f"{round(number, 1):g}"
