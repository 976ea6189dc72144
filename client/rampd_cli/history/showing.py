"""`rampd history` without `--follow`."""

from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from rampd_cli.drawing.clock import Clock
from rampd_cli.history.event_view import drawn, row
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
        if len(newest) > len(events):
            console.print(f"Earlier events: --limit {2 * len(events) or 20}, or --since 7d.", style="dim")
        elif not events:
            console.print("No events.")
        for event in events:
            console.print(drawn(event, Clock(datetime.now(UTC), session.is_utc)))

    is_for_programs = session.output in {"json", "yaml"}
    return Shown({"events": [as_data(event) for event in events] if is_for_programs else []}, map(row, events), draw)
