"""`rampd status --watch`: the status as it changes, until Ctrl-C. A server that is gone for a while does not end it."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from rampd._contract.wording import one_line
from rampd.errors import DeadlineExceededError, RampdError, UnavailableError
from rampd_cli.drawing import palette
from rampd_cli.drawing.clock import Clock
from rampd_cli.shown import as_data, terminal
from rampd_cli.status import reading
from rampd_cli.status.known import Known
from rampd_cli.status.rows import CHANGES, row, row_of_deleted
from rampd_cli.status.showing import drawn

if TYPE_CHECKING:
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
    if session.output == "table" and sys.stdout.isatty():
        _on_terminal(session, components)
    else:
        _in_pipe(session, components)


def _is_lost(error: RampdError) -> bool:
    """Whether the server may answer again without anybody doing anything here."""
    return error.retryable or isinstance(error, UnavailableError | DeadlineExceededError)


# On a terminal.


def _on_terminal(session: "Session", components: Sequence[str]) -> None:
    from rampd_cli.drawing.live import live_view  # noqa: PLC0415 - a pipe needs no rich
    from rampd_cli.drawing.screen import Screen, screen_of  # noqa: PLC0415

    admin, console = session.admin(), terminal()

    def read() -> Known:
        return reading.read(admin, components, is_screen=True)

    known, at, lost = read(), datetime.now(UTC), ""
    # Another thread reads, so that a slow answer delays neither Ctrl-C nor another size of the terminal.
    pool = ThreadPoolExecutor(1)
    try:
        with live_view(console) as view:
            under_way, due_s, drawn_s = None, time.monotonic() + _AGAIN_S, 0.0
            while True:
                now_s = time.monotonic()
                if under_way is None and now_s >= due_s:
                    under_way = pool.submit(read)
                if under_way is not None and under_way.done():
                    try:
                        known, at, lost = under_way.result(), datetime.now(UTC), ""
                    except RampdError as error:
                        if not _is_lost(error):
                            raise
                        lost = error.message
                    under_way, due_s, drawn_s = None, now_s + _AGAIN_S, 0.0
                if now_s >= drawn_s + 1 or view.has_new_size:
                    size = screen_of(console)
                    head = _head(at, lost, Clock(datetime.now(UTC), session.is_utc), size)
                    place = Screen(size.width, max(console.height - len(head), 1), is_ascii=size.is_ascii)
                    view.show([*head, *drawn(known, Clock(datetime.now(UTC), session.is_utc), place)])
                    drawn_s = now_s
                if under_way is None:
                    time.sleep(_LOOK_S)
                else:
                    wait([under_way], _LOOK_S)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _head(at: datetime, lost: str, clock: Clock, screen: "Screen") -> "list[Text]":
    from rich.text import Text  # noqa: PLC0415 - a pipe needs no rich

    from rampd_cli.drawing.paragraph import paragraph  # noqa: PLC0415

    if not lost:
        return [Text(f"As of {clock.time(at, has_seconds=True)}. Ctrl-C ends.", style=palette.FAINT)]
    said = f"Connection lost, as of {clock.time(at, has_seconds=True)} ({clock.ago(at)}). {one_line(lost)}"
    return paragraph(said, screen.width, style=palette.BAD)


# In a pipe.


def _in_pipe(session: "Session", components: Sequence[str]) -> None:
    """Writes a line for each component, and then one for each change."""
    admin, write = session.admin(), _writer(session.output)
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
                session.tell(f"rampd: connection lost: {one_line(error.message)}")
            is_lost = True
        else:
            if is_lost:
                session.tell("rampd: connected again")
            is_first = is_lost = False
            now = {rollout.component: (row(rollout)[:CHANGES], rollout) for rollout in rollouts}
            for component, (cells, rollout) in now.items():
                if seen.get(component) != cells:
                    write(row(rollout), rollout)
            for component in seen.keys() - now.keys():
                write(row_of_deleted(component), {"component": component, "deleted": True})
            seen = {component: cells for component, (cells, _) in now.items()}
        time.sleep(_AGAIN_S)


def _writer(output: str) -> Callable[[tuple[str, ...], "v1.Rollout | dict[str, Any]"], None]:
    """Returns what writes a change: the cells in a line, or a document of JSON or YAML."""
    if output == "json":
        return lambda _cells, data: click.echo(json.dumps(as_data(data), ensure_ascii=False))
    if output == "yaml":
        import yaml  # noqa: PLC0415 - few people want YAML

        return lambda _cells, data: click.echo(
            yaml.safe_dump(as_data(data), allow_unicode=True, sort_keys=False, explicit_start=True), nl=False
        )
    return lambda cells, _data: click.echo("\t".join(map(one_line, cells)))
