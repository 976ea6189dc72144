"""Reads a file that other programs put in place, without a wait for what is not a file."""

import os
import stat
from pathlib import Path


def content_of(path: Path, *, max_bytes: int) -> bytes:
    """Returns the content. Raises OSError; ValueError if it is not a regular file, or too large."""
    # Opening or reading a pipe can take for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes >> 20} MiB")
    return content
