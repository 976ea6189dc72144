"""What keeps the server from starting."""

import sys


class StartupError(Exception):
    """Raised when the server can't start as it was told to.

    `sentences` says why, all of it at once, for whoever typed the command; the command then ends with exit code 2.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


NOT_STARTED = 2
"""The exit code of a process that could not start as it was told to."""


def report(error: StartupError) -> int:
    """Tells whoever typed the command; the exit code."""
    for sentence in error.sentences:
        print(f"rampd-server: {sentence}", file=sys.stderr)
    return NOT_STARTED
