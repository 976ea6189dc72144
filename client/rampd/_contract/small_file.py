"""Reads a small file that somebody named, such as a token, a certificate or its key."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_MAX_BYTES: Final = 1 << 20


def content_of(path: Path, require: Callable[[os.stat_result], None] | None = None) -> bytes:
    """Returns the bytes of a small file. `require` may refuse the file before it is read. Raises OSError; also for what is no file,
    such as a pipe that nobody writes into or /dev/zero, and for a file that is far too large.
    """
    # Only to open a pipe can take for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if require is not None:
            require(status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content
