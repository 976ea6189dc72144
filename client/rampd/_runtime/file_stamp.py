"""Finds out whether a file has changed since it was read."""

from pathlib import Path
from typing import TypeAlias

Stamp: TypeAlias = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp | None:
    """Returns a value that differs after each change of the file: of its content, its place, its owner or its mode. None if
    the file can't be looked at.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_size
