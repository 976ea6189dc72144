"""Processes of others, as Linux shows them. Each may end at any moment, also while it is looked at."""

import contextlib
from pathlib import Path

_ENDED = (FileNotFoundError, ProcessLookupError)
"""What reading from /proc raises for a process that is gone: before its file is opened, and after that."""


def children(pid: int) -> list[int]:
    """The processes that the main thread of a process has started; none where it is gone."""
    return [int(child) for child in _text(pid, f"task/{pid}/children").split()]


def command_line(pid: int) -> str:
    """What a process was started with; empty where it has ended."""
    return _text(pid, "cmdline").replace("\0", " ")


def has_ended(pid: int) -> bool:
    """Whether a process does nothing any more. One that nobody has reaped has ended, too."""
    return _text(pid, "stat").rpartition(")")[2].split()[:1] in ([], ["Z"])


def is_reaped(pid: int) -> bool:
    """Whether nothing is left of a process."""
    return not Path(f"/proc/{pid}").exists()


def _text(pid: int, name: str) -> str:
    with contextlib.suppress(*_ENDED):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
