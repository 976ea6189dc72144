"""From the answers of a server to what is shown in each form of output."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rampd._standing.clock import Clock
from rampd_cli.drawing.screen import Screen, print_lines, screen_of
from rampd_cli.shown import Shown, as_data
from rampd_cli.status import reading
from rampd_cli.status.rows import row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from rampd_cli.session import Session
    from rampd_cli.status.known import Known


def shown(session: "Session", components: Sequence[str]) -> Shown:
    """Returns the status, in all forms. Raises RampdError."""
    known = reading.read(session.admin(), components, is_screen=session.output == "table")

    def draw(console: "Console") -> None:
        # A shell writes its prompt beneath.
        height = console.height - 2 if console.is_terminal else None
        clock = Clock(datetime.now(UTC), session.is_utc)
        print_lines(console, drawn(known, clock, screen_of(console, height), at=session.at))

    # An empty list is there, too, so that a program finds it.
    data = {"rollouts": [as_data(rollout) for rollout in known.rollouts]} if session.output in {"json", "yaml"} else {}
    return Shown(data, map(row, known.rollouts), draw)


def drawn(known: "Known", clock: Clock, screen: Screen, *, at: str = "") -> "list[Text]":
    """Returns the lines of a table. `at`: see `Session.at`."""
    from rich.text import Text  # noqa: PLC0415 - only a table imports rich

    from rampd_cli.status.detail import detail  # noqa: PLC0415
    from rampd_cli.status.overview import overview  # noqa: PLC0415

    if known.details is None:
        return overview(known.rollouts, clock, screen, at=at)
    lines: list[Text] = []
    for each in known.details:
        lines += [*([Text()] if lines else []), *detail(each, clock, screen, at=at)]
    return lines
