"""The error that keeps the server from starting, or from going on, and what a command says at its end."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from rampd._contract.wording import one_line


class StartupError(Exception):
    """Raised when the server can't start as configured, or can't go on until somebody changes something.

    `sentences` gives all reasons at once, for the person who typed the command. The command then ends with exit code 2.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raises the StartupError that ended a group of tasks, without its exception group.

    It does not use `except*`, because CPython 3.11.2 (Debian 12) wraps an error that is raised inside `except*` again.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        refusals, others = group.split(StartupError)
        if refusals is None or others is not None:
            raise
        raise _first_of(refusals) from None


def _first_of(group: BaseExceptionGroup[StartupError]) -> StartupError:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


NOT_STARTED = 2
"""The exit code of a process that could not start or go on as configured."""


def report(error: StartupError) -> int:
    """Prints the error for the person who typed the command, and returns the exit code."""
    for sentence in error.sentences:
        print(f"rampd-server: {one_line(sentence)}", file=sys.stderr)
    return NOT_STARTED


def say(*lines: str) -> None:
    """Prints what a command has done, with escapes for what its encoding lacks. Raises StartupError if nobody can read it."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for line in lines:
            print(line, flush=True)
    except OSError as error:
        # What is left in the buffer would fail once more at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise StartupError(
            f"Standard output can't be written: {error.strerror}. What the command has done stays. Type it again to see how it stands."
        ) from error
