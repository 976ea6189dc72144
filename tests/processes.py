"""Reads from /proc about other processes. A process can end at any moment, also while it is read."""

import contextlib
from pathlib import Path

_ENDED = (FileNotFoundError, ProcessLookupError)
"""The errors of reading from /proc if the process has ended: before the file is opened, and after."""


def children(pid: int) -> list[int]:
    """Returns the processes that the main thread of a process has started. Empty if the process has ended."""
    return [int(child) for child in _text(pid, f"task/{pid}/children").split()]


def command_line(pid: int) -> str:
    """Returns the command line of a process. Empty if the process has ended."""
    return _text(pid, "cmdline").replace("\0", " ")


def has_ended(pid: int) -> bool:
    """Whether a process has ended. A process that is not yet reaped has ended, too."""
    return _text(pid, "stat").rpartition(")")[2].split()[:1] in ([], ["Z"])


def is_reaped(pid: int) -> bool:
    """Whether a process has ended and its parent has reaped it."""
    return not Path(f"/proc/{pid}").exists()


def _text(pid: int, name: str) -> str:
    with contextlib.suppress(*_ENDED):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
