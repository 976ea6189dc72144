"""How far long work has come: a bar on a terminal, now and then a line in a pipe. On stderr, because stdout has the answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rampd_cli.session import Session
from rampd_cli.shown import live_terminal

_LINES: Final = 10
"""How many lines a pipe gets in all."""


@contextmanager
def progress(session: Session, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes how many are done. `total`: None if nobody knows it. Then a pipe gets no line."""
    console = live_terminal(is_error=True)
    if console is not None:
        # It is slow to import, and a pipe does not need it.
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        number = TextColumn("{task.completed:,}", markup=False)
        counts = (number,) if total is None else (MofNCompleteColumn(), TimeRemainingColumn())
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counts)
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    said = 0

    def tell(done: int) -> None:
        nonlocal said
        part = done * _LINES // total if total else 0
        if part > said:
            said = part
            session.tell(f"{title}: {done:,} of {total:,}")

    yield tell
