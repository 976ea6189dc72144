"""`rampd history` without `--follow`."""

from datetime import datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from rampd_cli.drawing.screen import print_lines
from rampd_cli.history.event_row import row
from rampd_cli.history.new_events import is_since
from rampd_cli.history.reading import read
from rampd_cli.shown import Shown, as_data

if TYPE_CHECKING:
    from rich.console import Console

    from rampd_cli.session import Session


def shown(session: "Session", component: str, *, since: datetime | None, limit: int | None) -> Shown:
    """Returns the newest events, oldest first. Raises RampdError."""
    found = takewhile(lambda event: is_since(event, since), read(session, component))
    newest = list(found if limit is None else islice(found, limit + 1))
    events = newest[:limit][::-1]

    def draw(console: "Console") -> None:
        from rampd_cli.history.event_view import drawn, width_of_times  # noqa: PLC0415 - a pipe needs no rich

        if len(newest) > len(events):
            longer = "" if since else ", or --since 7d"
            console.print(f"Earlier events: --limit {max(2 * len(events), 20)}{longer}.", style="dim")
        elif not events:
            console.print("No events.")
        clock = session.clock
        times = width_of_times(events, clock)
        for event in events:
            print_lines(console, drawn(event, clock, console, times))

    is_for_programs = session.output in {"json", "yaml"}
    return Shown({"events": [as_data(event) for event in events] if is_for_programs else []}, map(row, events), draw)
