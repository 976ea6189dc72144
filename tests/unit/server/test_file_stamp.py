"""Whether a file has changed: its content, its place, or who may read it."""

import os
import time
from pathlib import Path

import pytest

from rampd._runtime.file_stamp import stamp_of


@pytest.mark.parametrize("what", ["content", "content with the old time", "place", "mode", "gone"])
def test_a_change_is_seen(directory: Path, what: str) -> None:
    path = directory / "file"
    path.write_text("one")
    before, found = stamp_of(path), path.stat()
    time.sleep(0.05)  # the clock of a file system has steps
    if what.startswith("content"):
        path.write_text("two")
    elif what == "place":
        other = directory / "other"
        other.write_text("one")
        other.replace(path)
    elif what == "mode":
        path.chmod(0o640)
    else:
        path.unlink()
    if what == "content with the old time":
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert stamp_of(path) != before


def test_a_read_is_no_change(directory: Path) -> None:
    path = directory / "file"
    path.write_text("one")
    before = stamp_of(path)
    path.read_text()
    assert stamp_of(path) == before
