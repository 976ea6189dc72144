"""What keeps the server from starting, or from going on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rampd._contract.wording import one_line


class StartupError(Exception):
    """Raised when the server can't start as it was told to, or can't go on until somebody changes something.

    `sentences` says why, all of it at once, for whoever typed the command; the command then ends with exit code 2.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raises the StartupError with which a group of tasks ended, without its group.

    Not by `except*`: CPython 3.11.2, which is Debian 12's, wraps again what is raised inside it.
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
"""The exit code of a process that could not start as it was told to, or not go on."""


def report(error: StartupError) -> int:
    """Tells whoever typed the command; the exit code."""
    for sentence in error.sentences:
        print(f"rampd-server: {one_line(sentence)}", file=sys.stderr)
    return NOT_STARTED
