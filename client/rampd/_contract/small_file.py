"""Reads a small file that somebody named, such as a token, a certificate or its key."""

import errno
import os
from pathlib import Path
from typing import Final

_MAX_BYTES: Final = 1 << 20


def content_of(path: Path) -> bytes:
    """Returns the bytes of a small file. Raises OSError; also for a file that is far too large, such as /dev/zero, which has no end."""
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content
