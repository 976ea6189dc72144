"""The last events of a component, a line each. `rampd history` shows all of them in full. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from rampd import v1
from rampd._contract.wording import one_line
from rampd._standing.clock import Clock
from rampd._standing.event import about_event
from rampd_cli.drawing import palette
from rampd_cli.drawing.columns import GAP, aligned
from rampd_cli.drawing.short import shortened

_LEAST_ABOUT: Final = 24


def last_events(events: Sequence[v1.Event], clock: Clock, width: int) -> Iterator[Text]:
    """Yields the lines. What an event is about is cut at the end of the line; if there is little room, it gets its own line."""
    rows = [[Text(clock.short(event.time), style=palette.FAINT), Text(shortened(event.actor, 16))] for event in events]
    actions = [Text(one_line(event.action), style=palette.TITLE) for event in events]
    heads = aligned([[*row, action] for row, action in zip(rows, actions, strict=True)])
    taken = max((head.cell_len for head in heads), default=0) + GAP
    if width - taken >= _LEAST_ABOUT:
        for head, event in zip(heads, events, strict=True):
            about = about_event(event)
            yield _cut(head.append(" " * (taken - head.cell_len)).append(about) if about else head, width)
        return
    for head, action, event in zip(aligned(rows), actions, events, strict=True):
        yield _cut(head, width)
        yield _cut(Text("  ").append_text(action).append(f" {about_event(event)}"), width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(max(width, 1), overflow="ellipsis")
    line.rstrip()
    return line
