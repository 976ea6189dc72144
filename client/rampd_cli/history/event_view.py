"""An event of a history on a terminal: a line, with its changes beneath."""

from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING

from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, one_line
from rampd._standing.clock import Clock
from rampd_cli.drawing import palette
from rampd_cli.drawing.columns import GAP
from rampd_cli.drawing.paragraph import LEAST_WIDTH, paragraph

if TYPE_CHECKING:
    from rich.console import Console


def width_of_times(events: Iterable[v1.Event], clock: Clock) -> int:
    """Returns the width of the first column."""
    return max((len(_time(event, clock)) for event in events), default=0)


def drawn(event: v1.Event, clock: Clock, console: "Console", times: int) -> "list[Text]":
    """Returns the lines of an event. `times` is the width of the first column."""
    head = Text.assemble(
        (one_line(event.component) or "all components", palette.TITLE),
        f"  {one_line(event.actor)}{' (claimed)' if event.actor_claimed else ''}  ",
        (one_line(event.action), palette.MOVES),
        f"  “{one_line(event.note)}”" if event.note else "",
    )
    width = max(console.width - times - GAP, LEAST_WIDTH)
    texts = list(head.wrap(console, width, overflow="fold"))
    for text in texts:
        text.rstrip()
    for change in _told(event):
        texts += paragraph(_change(change), width, indent=2, style=palette.FAINT)
    if event.count:
        texts.append(Text(f"  {counted(event.count, 'override')}", style=palette.FAINT))
    firsts = [Text(_time(event, clock).ljust(times), style=palette.FAINT), *repeat(Text(" " * times), len(texts) - 1)]
    return [Text(" " * GAP).join([first, text]) for first, text in zip(firsts, texts, strict=True)]


def _told(event: v1.Event) -> list[v1.FieldChange]:
    """The changes without that of the queue, where a release says that it enters or leaves it."""
    is_said = any(change.field.startswith("release/") for change in event.changes)
    return [change for change in event.changes if not (is_said and change.field == "queue")]


def _change(change: v1.FieldChange) -> str:
    """Writes `next_percent: 10 -> 25`. What was absent before is not said: a new release has many fields."""
    before = f"{one_line(change.before)} -> " if change.HasField("before") else ""
    return f"{one_line(change.field)}: {before}{one_line(change.after) if change.HasField('after') else 'none'}"


def _time(event: v1.Event, clock: Clock) -> str:
    return clock.time(event.time, has_seconds=True)
