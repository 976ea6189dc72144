"""What is known of the components, kept on disk, for a process that starts while no server is there.

Three lines, and then one serialised `WatchState`: what the file is, the SHA-256 of all that follows, and an object in
JSON (`confirmed`: seconds since 1970 by this machine's clock; `components`: those that are watched; `cursor`). Written
beside its place and moved there, so that it is whole or not there, and readable by its owner only.
"""

import contextlib
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from rampd import v1
from rampd.component_state import Assembly, Component, MalformedStateError, parts_of
from rampd.resolution import Choice, ComponentSnapshot

_MAGIC = b"rampd snapshot 1"
_MODE = 0o600
_CLOCK_TOLERANCE_S = 2.0
_MAX_BYTES = 1 << 30


class SnapshotFileError(Exception):
    """Raised when a snapshot file is not to be used, with the reason."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file had."""

    components: Mapping[str, Component]
    selection: tuple[str, ...]
    cursor: str
    confirmed_s: float
    """Since 1970, by this machine's clock."""

    def age_s(self, now_s: float) -> float:
        """How old it is at `now_s`, since 1970. Infinite where the clock was put back, and so nobody knows."""
        age_s = now_s - self.confirmed_s
        return max(age_s, 0.0) if age_s > -_CLOCK_TOLERANCE_S else math.inf


def write(
    path: Path,
    components: Iterable[tuple[ComponentSnapshot, Iterable[tuple[str, Choice]]]],
    *,
    selection: Iterable[str],
    cursor: str,
    confirmed_s: float,
) -> None:
    """Replaces the file, all or nothing. Raises OSError."""
    state = v1.WatchState(first=True, last=True)
    for snapshot, overrides in components:
        state.components.extend(parts_of(snapshot, overrides))
    head = json.dumps({"confirmed": confirmed_s, "components": list(selection), "cursor": cursor})
    content = head.encode() + b"\n" + state.SerializeToString()
    digest = hashlib.sha256(content).hexdigest().encode()
    # mkstemp makes it with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\n".join((_MAGIC, digest, content)))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def read(path: Path) -> Saved | None:
    """What the file has; None where there is no file. Raises SnapshotFileError."""
    content = _content(path)
    if content is None:
        return None
    magic, _, rest = content.partition(b"\n")
    if magic != _MAGIC:
        raise SnapshotFileError("it is no snapshot of this version of rampd")
    digest, _, rest = rest.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise SnapshotFileError("it is damaged: its checksum does not fit")
    line, _, body = rest.partition(b"\n")
    assembly = Assembly()
    try:
        head = json.loads(line)
        assembly.add(v1.WatchState.FromString(body).components)
        return Saved(assembly.finish(), tuple(head["components"]), str(head["cursor"]), float(head["confirmed"]))
    except (DecodeError, MalformedStateError, ValueError, TypeError, KeyError) as error:
        raise SnapshotFileError(f"it makes no sense: {error!r}") from error


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
