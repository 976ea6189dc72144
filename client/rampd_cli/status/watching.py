"""`rampd status --watch`: the status as it changes, until Ctrl-C. A server that is gone for a while does not end it."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rampd._contract.wording import one_line
from rampd._standing.clock import Clock
from rampd.errors import DeadlineExceededError, RampdError, UnavailableError
from rampd_cli.drawing import palette
from rampd_cli.lost import why_lost
from rampd_cli.shown import Shown, live_terminal, show_next
from rampd_cli.status import reading
from rampd_cli.status.known import Known
from rampd_cli.status.rows import CHANGES, row, row_of_deleted
from rampd_cli.status.showing import drawn
from rampd_cli.streams import pause

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from rampd import v1
    from rampd_cli.drawing.screen import Screen
    from rampd_cli.session import Session

_AGAIN_S: Final = 1.5
"""The pause between two reads."""
_LOOK_S: Final = 0.25
"""How often to look at the size of the terminal."""


def watch(session: "Session", components: Sequence[str]) -> None:
    """Goes on until Ctrl-C. Raises KeyboardInterrupt, and RampdError if there is nothing to watch."""
    console = live_terminal() if session.output == "table" else None
    if console is not None:
        _on_terminal(session, components, console)
    else:
        _in_pipe(session, components)


def _is_lost(error: RampdError) -> bool:
    """Whether the server may answer again without anybody doing anything here."""
    return error.retryable or isinstance(error, UnavailableError | DeadlineExceededError)


# On a terminal.


class _Reader:
    """Reads again and again, in a thread of its own, so that a slow answer delays neither Ctrl-C nor another size of the
    terminal.
    """

    def __init__(self, read: Callable[[], Known]) -> None:
        """Raises RampdError if the first read fails."""
        self._read = read
        self._pool = ThreadPoolExecutor(1)
        self._under_way: Future[Known] | None = None
        self._took(read())

    def _took(self, known: Known) -> None:
        self.known = known
        self.at = datetime.now(UTC)
        """When it was read."""
        self.lost = ""
        """Why the server can't be read now. Empty if it can."""
        self._due_s = time.monotonic() + _AGAIN_S

    def look(self) -> bool:
        """Waits a moment. Returns whether there is something new. Raises RampdError if the next read can't succeed either."""
        if self._under_way is None and time.monotonic() >= self._due_s:
            self._under_way = self._pool.submit(self._read)
        if self._under_way is None:
            time.sleep(_LOOK_S)
            return False
        if not wait([self._under_way], _LOOK_S).done:
            return False
        ended, self._under_way = self._under_way, None
        try:
            self._took(ended.result())
        except RampdError as error:
            if not _is_lost(error):
                raise
            self.lost, self._due_s = error.message, time.monotonic() + _AGAIN_S
        return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _on_terminal(session: "Session", components: Sequence[str], console: "Console") -> None:
    from rampd_cli.drawing.live import live_view  # noqa: PLC0415 - a pipe needs no rich

    admin = session.admin()
    with (
        closing(_Reader(lambda: reading.read(admin, components, is_screen=True))) as reader,
        live_view(console) as view,
    ):
        drawn_s, is_new = 0.0, True
        while True:
            # Once a second, because it shows how long ago things were.
            if is_new or view.has_new_size or time.monotonic() >= drawn_s + 1:
                drawn_s = time.monotonic()
                view.show(_lines(reader, Clock(datetime.now(UTC), session.is_utc), console, session.at))
            is_new = reader.look()


def _lines(reader: _Reader, clock: Clock, console: "Console", at: str) -> "list[Text]":
    from rampd_cli.drawing.screen import screen_of  # noqa: PLC0415 - a pipe needs no rich

    head = _head(reader.at, reader.lost, clock, screen_of(console))
    return [*head, *drawn(reader.known, clock, screen_of(console, max(console.height - len(head), 1)), at=at)]


def _head(at: datetime, lost: str, clock: Clock, screen: "Screen") -> "list[Text]":
    from rich.text import Text  # noqa: PLC0415 - a pipe needs no rich

    from rampd_cli.drawing.paragraph import paragraph  # noqa: PLC0415

    if not lost:
        return [Text(f"As of {clock.time(at, has_seconds=True)}. Ctrl-C ends.", style=palette.FAINT)]
    said = f"Connection lost, as of {clock.time(at, has_seconds=True)} ({clock.ago(at)}). {one_line(lost)}"
    return paragraph(said, screen.width, style=palette.BAD)


# In a pipe, and on a terminal that can't be drawn on.


def _in_pipe(session: "Session", components: Sequence[str]) -> None:
    """Writes a line for each component, and then one for each change. Raises BrokenPipeError if nobody reads stdout any more."""
    admin = session.admin()
    seen: dict[str, tuple[str, ...]] = {}
    is_first, is_lost = True, False
    while True:
        try:
            # Jobs change all the time. They are no change of a component.
            rollouts = (
                reading.read(admin, components, is_screen=False).rollouts if components else reading.read_all(admin, 0)
            )
        except RampdError as error:
            if is_first or not _is_lost(error):
                raise
            if not is_lost:
                session.tell(f"rampd: connection lost: {why_lost(error)}")
            is_lost = True
        else:
            if is_lost:
                session.tell("rampd: connected again")
            is_first = is_lost = False
            now = {rollout.component: (row(rollout)[:CHANGES], rollout) for rollout in rollouts}
            for component, (cells, rollout) in now.items():
                if seen.get(component) != cells:
                    _written(session, row(rollout), rollout)
            for component in seen.keys() - now.keys():
                _written(session, row_of_deleted(component), {"component": component, "deleted": True})
            seen = {component: cells for component, (cells, _) in now.items()}
        pause(_AGAIN_S)


def _written(session: "Session", cells: tuple[str, ...], data: "v1.Rollout | dict[str, Any]") -> None:
    """Writes a change: the cells in a line, or a document of JSON or YAML. A pipe gets no table."""
    output = session.output if session.output in {"json", "yaml"} else "plain"
    show_next(Shown(data, [cells], lambda _console: None), output)
