"""Where the progress of a release is shown: a live view, or a line for each change."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

import click

from rampd import v1
from rampd._contract.wording import one_line
from rampd.errors import ReleaseFailedError
from rampd_cli.failures import TimedOutError
from rampd_cli.shown import live_terminal
from rampd_cli.waiting.goal import Goal
from rampd_cli.waiting.progress import cells, lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from rampd_cli.session import Session


class View(Protocol):
    """Shows how a release goes on."""

    def show(self, seen: v1.WatchReleaseResponse) -> None:
        """Shows a state. It may be the same as the one before."""

    def lose(self, why: str) -> None:
        """Shows that no server answers. It may be called several times before the next state."""


@contextmanager
def view_of(session: "Session", goal: Goal) -> Iterator[View]:
    """Gives the view that fits the output, for as long as the block lasts."""
    is_for_programs = session.output in {"json", "yaml"}
    # Of a program, stdout gets only the release.
    console = live_terminal(is_error=is_for_programs) if is_for_programs or session.output == "table" else None
    if console is not None:
        view = _Live(console, goal)
        with view.running(is_kept=not is_for_programs):
            yield view
    else:
        yield _Lines(session, partial(session.tell, is_row=True) if is_for_programs else click.echo)


class _Lines:
    """A line for each change."""

    def __init__(self, session: "Session", write: Callable[[str], None]) -> None:
        self._session = session
        self._write = write
        self._before: tuple[str, ...] = ()
        self._is_lost = False

    def show(self, seen: v1.WatchReleaseResponse) -> None:
        if self._is_lost:
            self._session.tell("rampd: a server answers again.")
        self._is_lost = False
        now, row = datetime.now(UTC), cells(seen)
        if row == self._before:
            return
        self._before = row
        if self._session.output == "plain":
            at = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z"
            self._write("\t".join(map(one_line, (at, *row))))
        else:
            at = self._session.clock.time(now, has_seconds=True)
            self._write(f"{at}  {one_line(seen.message)}")

    def lose(self, why: str) -> None:
        if not self._is_lost:
            self._session.tell(f"rampd: {why} rampd tries again until a server answers.")
        self._is_lost = True


class _Live:
    """A few lines on a terminal that change in place."""

    def __init__(self, console: "Console", goal: Goal) -> None:
        self._console = console
        self._goal = goal
        self._began_s = time.monotonic()
        self._seen: v1.WatchReleaseResponse | None = None
        self._lost = ""

    @contextmanager
    def running(self, *, is_kept: bool) -> Iterator[None]:
        """Draws, again and again, for as long as the block lasts. `is_kept`: the last lines stay on the terminal."""
        from rich.live import Live  # noqa: PLC0415 - a pipe needs no rich

        with Live(
            console=self._console,
            get_renderable=self._drawn,
            refresh_per_second=2,
            transient=not is_kept,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            try:
                yield
            except (ReleaseFailedError, TimedOutError):
                self._leave_out_what_the_error_says()
                raise

    def _leave_out_what_the_error_says(self) -> None:
        self._lost = ""
        if self._seen is not None:
            seen = self._seen
            self._seen = v1.WatchReleaseResponse(release=seen.release, rollout=seen.rollout)

    def show(self, seen: v1.WatchReleaseResponse) -> None:
        self._seen, self._lost = seen, ""

    def lose(self, why: str) -> None:
        self._lost = why

    def _drawn(self) -> "RenderableType":
        from rich.console import Group  # noqa: PLC0415 - a pipe needs no rich

        drawn = lines(
            self._seen,
            self._goal,
            waited=timedelta(seconds=time.monotonic() - self._began_s),
            lost=self._lost,
            width=self._console.width,
            is_ascii=self._console.options.ascii_only,
        )
        return Group(*drawn)
