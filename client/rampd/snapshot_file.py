"""What is known of the components, kept on disk, for a process that starts while no server is there.

Three lines, and then one serialised `WatchState`: what the file is, the SHA-256 of all that follows, and an object in
JSON (`confirmed`: seconds since 1970 by this machine's clock; `components`: those that are watched; `cursor`; `told`: when
a server last said that the history before is not so any more, in seconds since 1970, 0 and absent where none did). Written
beside its place and moved there, so that it is whole or not there, and readable by its owner only.

Several processes may share a file: it is replaced only by a later state. Who writes holds a lock on its folder, so that
comparing and replacing is one step, and so that whatever else stands beside the file was left by a process that was killed.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from rampd import v1
from rampd.component_state import Assembly, Component, MalformedStateError, parts_of
from rampd.feed import split_cursor
from rampd.resolution import Choice, ComponentSnapshot

_MAGIC = b"rampd snapshot 1"
_MODE = 0o600
_CLOCK_TOLERANCE_S = 2.0
_MAX_BYTES = 1 << 30
_LOCK_PATIENCE_S = 1.0
_LOCK_LOOK_S = 0.005


class SnapshotFileError(Exception):
    """Raised when a snapshot file is not to be used, with the reason."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a state stands among all that processes on this machine have known. Times are since 1970, by its clock."""

    cursor: str
    confirmed_s: float
    """When the store last confirmed it."""
    told_s: float = 0.0
    """When a server last said that what was known before is no longer so: a rewind, or another epoch. 0: none did."""

    def may_replace(self, saved: "Moment", now_s: float) -> bool:
        """Whether a state of this moment is not older than one that was saved.

        Within a history the entries of the feed decide. What was confirmed before a server told of another history is
        older than what came after, whatever its entries; where nobody was told, the later confirmation is the later state.
        """
        epoch, entry = split_cursor(self.cursor)
        saved_epoch, saved_entry = split_cursor(saved.cursor)
        if saved.confirmed_s > now_s + _CLOCK_TOLERANCE_S:
            # The clock was set back: times say nothing.
            return epoch != saved_epoch or entry >= saved_entry
        if self.confirmed_s <= saved.told_s:
            return False
        if saved.confirmed_s <= self.told_s:
            return True
        if epoch == saved_epoch and entry != saved_entry:
            return entry > saved_entry
        return self.confirmed_s >= saved.confirmed_s


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file had."""

    components: Mapping[str, Component]
    selection: tuple[str, ...]
    cursor: str
    confirmed_s: float
    """Since 1970, by this machine's clock."""
    told_s: float = 0.0
    """As `Moment.told_s`."""

    def age_s(self, now_s: float) -> float:
        """How old it is at `now_s`, since 1970. Infinite where the clock was put back, and so nobody knows."""
        age_s = now_s - self.confirmed_s
        return max(age_s, 0.0) if age_s > -_CLOCK_TOLERANCE_S else math.inf


def write(
    path: Path,
    components: Iterable[tuple[ComponentSnapshot, Iterable[tuple[str, Choice]]]],
    *,
    selection: Iterable[str],
    moment: Moment,
) -> bool:
    """Replaces the file, all or nothing: whether it did. A file that is later stays. Raises OSError."""
    with _locked(path):
        saved = _moment_of(path)
        if saved is not None and not moment.may_replace(saved, time.time()):
            return False
        _replace(path, _serialized(components, selection, moment))
        return True


def clean(path: Path) -> None:
    """Removes what processes that were killed have left beside the file. Raises OSError."""
    with _locked(path) as is_locked:
        for left in path.parent.glob(f"{_prefix(path)}*") if is_locked else ():
            with contextlib.suppress(OSError):
                left.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Alone with the file, among all processes: whether it can be had here. Raises TimeoutError where others hold it."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        is_locked = _lock(descriptor)
        try:
            yield is_locked
        finally:
            if is_locked:
                # Closing is not enough: a child that was forked meanwhile has the descriptor, too.
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
            return False  # some network file systems lock no folders
        else:
            return True


def _moment_of(path: Path) -> Moment | None:
    """That of the file; None where there is none that is of use."""
    try:
        checked = _checked(path)
        if checked is None:
            return None
        head = json.loads(checked[0])
        return Moment(str(head["cursor"]), float(head["confirmed"]), float(head.get("told", 0.0)))
    except (SnapshotFileError, ValueError, TypeError, KeyError):
        return None


def _serialized(
    components: Iterable[tuple[ComponentSnapshot, Iterable[tuple[str, Choice]]]],
    selection: Iterable[str],
    moment: Moment,
) -> bytes:
    state = v1.WatchState(first=True, last=True)
    for snapshot, overrides in components:
        state.components.extend(parts_of(snapshot, overrides))
    head = {
        "confirmed": moment.confirmed_s,
        "components": list(selection),
        "cursor": moment.cursor,
        "told": moment.told_s,
    }
    content = json.dumps(head).encode() + b"\n" + state.SerializeToString()
    return b"\n".join((_MAGIC, hashlib.sha256(content).hexdigest().encode(), content))


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _replace(path: Path, content: bytes) -> None:
    # mkstemp makes it with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def read(path: Path) -> Saved | None:
    """What the file has; None where there is no file. Raises SnapshotFileError."""
    checked = _checked(path)
    if checked is None:
        return None
    line, body = checked
    assembly = Assembly()
    try:
        head = json.loads(line)
        assembly.add(v1.WatchState.FromString(body).components)
        return Saved(
            assembly.finish(),
            tuple(head["components"]),
            str(head["cursor"]),
            float(head["confirmed"]),
            float(head.get("told", 0.0)),
        )
    except (DecodeError, MalformedStateError, ValueError, TypeError, KeyError) as error:
        raise SnapshotFileError(f"it makes no sense: {error!r}") from error


def _checked(path: Path) -> tuple[bytes, bytes] | None:
    """The head and the state, as they were written; None where there is no file. Raises SnapshotFileError."""
    content = _content(path)
    if content is None:
        return None
    magic, _, rest = content.partition(b"\n")
    if magic != _MAGIC:
        raise SnapshotFileError("it is no snapshot of this version of rampd")
    digest, _, rest = rest.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise SnapshotFileError("it is damaged: its checksum does not fit")
    head, _, body = rest.partition(b"\n")
    return head, body


def _content(path: Path) -> bytes | None:
    try:
        # Whoever can put a link or a pipe there could have another file read, or none for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotFileError(f"it can't be opened: {error.strerror}") from error
    try:
        _check(os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise SnapshotFileError(f"it can't be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SnapshotFileError("it is no file")
    if status.st_uid != os.geteuid():
        raise SnapshotFileError(f"it belongs to user {status.st_uid}, not to {os.geteuid()}, who runs this process")
    if stat.S_IMODE(status.st_mode) != _MODE:
        raise SnapshotFileError(f"its mode is {stat.S_IMODE(status.st_mode):04o}, not {_MODE:04o}: chmod 600 it")
    if status.st_size > _MAX_BYTES:
        raise SnapshotFileError("it is larger than 1 GiB")
