"""`rampd history --follow`: new events as they come, until Ctrl-C."""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from rampd.errors import RampdError
from rampd_cli.drawing.screen import print_lines
from rampd_cli.history.event_row import row
from rampd_cli.history.new_events import NewEvents
from rampd_cli.history.reading import read
from rampd_cli.lost import why_lost
from rampd_cli.shown import Shown, show_next
from rampd_cli.streams import pause

if TYPE_CHECKING:
    from rich.console import Console

    from rampd import v1
    from rampd._standing.clock import Clock
    from rampd_cli.session import Session

_AGAIN_S: Final = 1.0


def follow(session: "Session", component: str, *, since: datetime | None, limit: int | None) -> NoReturn:
    """Shows the newest events and then new ones, oldest first, until Ctrl-C. A server that is gone for a while does not end it.
    Raises RampdError if no server answers at the start, KeyboardInterrupt, and BrokenPipeError if nobody reads stdout any more.
    """
    known = NewEvents()
    _show(session, known.first(read(session, component), limit=limit, since=since))
    is_lost, pause_s = False, _AGAIN_S
    while True:
        pause(pause_s)
        try:
            new = known.of(read(session, component, known.after))
        except RampdError as error:
            if not error.retryable:
                raise
            if not is_lost:
                session.tell(f"rampd: {why_lost(error)} rampd tries again until a server answers.")
            is_lost, pause_s = True, max(_AGAIN_S, error.retry_after_s or 0)
            continue
        if is_lost:
            session.tell("rampd: a server answers again.")
        is_lost, pause_s = False, _AGAIN_S
        _show(session, new)


def _show(session: "Session", events: "list[v1.Event]") -> None:
    clock = session.clock
    for event in events:
        draw = partial(_draw, event, clock)
        show_next(Shown(event, [row(event)], draw), session.output)


def _draw(event: "v1.Event", clock: "Clock", console: "Console") -> None:
    from rampd_cli.history.event_view import drawn, width_of_times  # noqa: PLC0415 - a pipe needs no rich

    # Later times may be longer than those of today, and begin in the same column.
    times = max(len("27 Nov 14:05:03"), width_of_times([event], clock))
    print_lines(console, drawn(event, clock, console, times))
