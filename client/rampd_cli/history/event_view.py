"""An event of a history: as a line with its changes beneath, and as a row."""

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, one_line
from rampd_cli.drawing import palette
from rampd_cli.drawing.clock import Clock

if TYPE_CHECKING:
    from rich.console import RenderableType

_NOTHING: Final = "-"
_USUAL_TIME: Final = "27 Nov 14:05:03"
"""The second column begins after it, also if the time is of today."""


def row(event: v1.Event) -> tuple[str, ...]:
    """Returns the columns of `rampd history`. Times are in UTC."""
    return (
        event.time.ToJsonString(),
        event.component,
        event.actor,
        "yes" if event.actor_claimed else "no",
        event.action,
        event.note,
        "; ".join(_changes(event)),
        str(event.revision),
        event.id,
    )


def drawn(event: v1.Event, clock: Clock) -> "RenderableType":
    """Returns an event, drawn for a terminal."""
    time = clock.time(event.time, has_seconds=True)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=max(len(time), len(_USUAL_TIME) + (len(" UTC") if clock.is_utc else 0)), no_wrap=True)
    grid.add_column(overflow="fold")
    line = Text.assemble(
        (one_line(event.component) or "all components", palette.TITLE),
        f"  {one_line(event.actor)}{' (claimed)' if event.actor_claimed else ''}  ",
        (one_line(event.action), palette.MOVES),
        f"  “{one_line(event.note)}”" if event.note else "",
    )
    grid.add_row(Text(time, style=palette.FAINT), line)
    for change in _changes(event):
        grid.add_row("", Text(f"  {change}", style=palette.FAINT))
    return grid


def _changes(event: v1.Event) -> list[str]:
    """Returns what an event changed, each field as `next_percent: 10 % -> 25 %`."""
    if event.count:
        return [counted(event.count, "override")]
    return [f"{one_line(change.field)}: {_before(change)} -> {_after(change)}" for change in event.changes]


def _before(change: v1.FieldChange) -> str:
    return one_line(change.before) if change.HasField("before") else _NOTHING


def _after(change: v1.FieldChange) -> str:
    return one_line(change.after) if change.HasField("after") else _NOTHING
