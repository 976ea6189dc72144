"""A file that only its owner can read, and that is complete or absent: a process keeps its state in it for the next start.

The first line says what the file is, the second is the SHA-256 of all that follows. A new file is written beside the old
one and then moved to its place. Several processes may share a file. A writer holds a lock on the folder, so that comparing
and replacing is one step. With the lock held, any temporary file there was left by a process that was killed.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

CLOCK_TOLERANCE_S = 2.0
"""How far the time in a file may be ahead of this machine's clock before that clock counts as set back."""
_MODE = 0o600
_MAX_BYTES = 1 << 30
_LOCK_PATIENCE_S = 1.0
_LOCK_LOOK_S = 0.005


class PrivateFileError(Exception):
    """Raised when a file can't be used, with the reason."""


def read(path: Path, magic: bytes, kind: str) -> bytes | None:
    """Returns the complete content that was written with `magic`. None if there is no file. `kind` is the name of such
    files in errors. Raises PrivateFileError.
    """
    content = _read(path)
    if content is None:
        return None
    first, _, rest = content.partition(b"\n")
    if first != magic:
        raise PrivateFileError(f"it is no {kind} of this version of rampd")
    digest, _, rest = rest.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise PrivateFileError("it is damaged: its checksum does not fit")
    return rest


def _read(path: Path) -> bytes | None:
    try:
        # An attacker could put a link there, so that another file is read, or a pipe, so that the read never ends.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PrivateFileError(f"it can't be opened: {error.strerror}") from error
    try:
        _check(os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise PrivateFileError(f"it can't be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def replace(path: Path, magic: bytes, content: Sequence[bytes]) -> None:
    """Replaces the file with one of this content. The old file stays if this fails. Raises OSError."""
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    put(path, (magic, b"\n", digest.hexdigest().encode(), b"\n", *content))


def put(path: Path, content: Iterable[bytes], *, like: os.stat_result | None = None) -> None:
    """Puts a file of exactly this content in the place of the old one, which stays if this fails. `like` has the owner and the mode
    of the file; otherwise it belongs to this process, and nobody else can read it. Raises OSError.
    """
    # mkstemp makes it with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def clean(path: Path) -> None:
    """Deletes the temporary files of processes that were killed. Raises OSError."""
    with locked(path) as is_locked:
        for left in path.parent.glob(f"{_prefix(path)}*") if is_locked else ():
            with contextlib.suppress(OSError):
                left.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Holds the lock of the file among all processes. Yields False if the file system has no locks. Raises TimeoutError if
    another process holds the lock too long.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        is_locked = _lock(descriptor)
        try:
            yield is_locked
        finally:
            if is_locked:
                # Closing is not enough, because a child that was forked meanwhile has the descriptor too.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    ends_s = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= ends_s:
                raise TimeoutError(f"other processes held its folder locked for {_LOCK_PATIENCE_S:.0f} s") from None
            time.sleep(_LOCK_LOOK_S)
        except OSError:
            return False  # some network file systems can't lock folders
        else:
            return True


def name_of_user(number: int) -> str:
    """Returns the name of a user, or the number if the system knows no name."""
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return str(number)


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PrivateFileError("it is no file")
    if status.st_uid != os.geteuid():
        owner, ours = name_of_user(status.st_uid), name_of_user(os.geteuid())
        raise PrivateFileError(f"it belongs to user {owner}, not to {ours}, who runs this process")
    if stat.S_IMODE(status.st_mode) != _MODE:
        raise PrivateFileError(f"its mode is {stat.S_IMODE(status.st_mode):04o}, not {_MODE:04o}: chmod 600 it")
    if status.st_size > _MAX_BYTES:
        raise PrivateFileError("it is larger than 1 GiB")
