"""What keeps the server from starting, or from going on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class StartupError(Exception):
    """Raised when the server can't start as it was told to, or can't go on until somebody changes something.

    `sentences` says why, all of it at once, for whoever typed the command; the command then ends with exit code 2.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


NOT_STARTED = 2
"""The exit code of a process that could not start as it was told to, or not go on."""


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raises a StartupError out of a task group by itself."""
    found: list[BaseException] = []
    try:
        yield
    except* StartupError as group:
        found = _leaves(group)
    # Outside: CPython 3.11.2 wraps again what is raised inside `except*`.
    if found:
        raise found[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def report(error: StartupError) -> int:
    """Tells whoever typed the command; the exit code."""
    for sentence in error.sentences:
        print(f"rampd-server: {sentence}", file=sys.stderr)
    return NOT_STARTED
