"""The progress of a release: as a few lines on a terminal, and as a row. Pure."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rampd import v1
from rampd._contract.wording import one_line
from rampd._standing.clock import duration
from rampd._standing.share import percent
from rampd_cli.drawing import palette
from rampd_cli.drawing.bar import bar
from rampd_cli.waiting.goal import Goal
from rampd_cli.waiting.verdict import Where, where_of

if TYPE_CHECKING:
    from rich.text import Text

_BAR: Final = 40
_STYLES: Final = {
    Where.QUEUED: palette.WAITS,
    Where.ROLLING_OUT: palette.MOVES,
    Where.CURRENT: palette.GOOD,
    Where.RETIRED: palette.GOOD,
}
_WORDS: Final = {Where.QUEUED: "queued", Where.ROLLING_OUT: "rolling out", Where.CURRENT: "current"}


def cells(seen: v1.WatchReleaseResponse) -> tuple[str, ...]:
    """Returns the columns of `rampd wait` after the time."""
    release = seen.release
    share = f"{_share(seen):.10g}"
    return seen.rollout.component, str(release.number), release.tag, where_of(seen), share, seen.message


def lines(
    seen: v1.WatchReleaseResponse | None, goal: Goal, *, waited: timedelta, lost: str, width: int, is_ascii: bool
) -> "list[Text]":
    """Returns the lines of the live view. `lost`: why no server answers at the moment."""
    from rich.text import Text  # noqa: PLC0415 - a pipe needs no rich

    from rampd_cli.drawing.paragraph import paragraph  # noqa: PLC0415

    drawn = []
    if seen is not None:
        where, share = where_of(seen), _share(seen)
        style = _STYLES.get(where, palette.BAD)
        name = f"{one_line(seen.rollout.component)} {one_line(seen.release.tag)} (release {seen.release.number})"
        drawn += paragraph(f"{name}, until it is {goal}", width, style=palette.TITLE)
        drawn.append(
            Text.assemble(
                (bar(share / 100, min(_BAR, max(width - 40, 1)), is_ascii=is_ascii), style),
                f" {percent(share)}  ",
                (_WORDS.get(where, where.value), style),
                (f"  {duration(waited)}", palette.FAINT),
            )
        )
        drawn += paragraph(one_line(seen.message), width)
    if lost:
        drawn += paragraph(f"No server answers; rampd tries again. {lost}", width, style=palette.BAD)
    return drawn


def _share(seen: v1.WatchReleaseResponse) -> float:
    """The share of buckets that get the release, 0 to 100."""
    where = where_of(seen)
    if where is Where.CURRENT:
        return 100.0
    return seen.rollout.next_percent if where in {Where.ROLLING_OUT, Where.PAUSED} else 0.0
