"""What is known of the components, kept on disk, for a process that starts while no server is there.

Three lines, and then one serialised `WatchState`: what the file is, the SHA-256 of all that follows, and an object in
JSON (`confirmed`: seconds since 1970 by this machine's clock; `components`: those that are watched; `cursor`; `told`: when
a server last said that the history before is not so any more, in seconds since 1970, 0 and absent where none did).

Several processes may share a file: it is replaced only by a later state.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from rampd import v1
from rampd._contract.component_state import Assembly, Component, MalformedStateError, parts_of
from rampd._decision.resolution import Choice, ComponentSnapshot
from rampd._runtime import private_file
from rampd._runtime.private_file import CLOCK_TOLERANCE_S, PrivateFileError
from rampd._watching.feed import split_cursor

_MAGIC = b"rampd snapshot 1"


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
        if saved.confirmed_s > now_s + CLOCK_TOLERANCE_S:
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
        return max(age_s, 0.0) if age_s > -CLOCK_TOLERANCE_S else math.inf


def write(
    path: Path,
    components: Iterable[tuple[ComponentSnapshot, Iterable[tuple[str, Choice]]]],
    *,
    selection: Iterable[str],
    moment: Moment,
) -> bool:
    """Replaces the file, all or nothing: whether it did. A file that is later stays. Raises OSError."""
    with private_file.locked(path):
        saved = _moment_of(path)
        if saved is not None and not moment.may_replace(saved, time.time()):
            return False
        private_file.replace(path, _MAGIC, [_serialized(components, selection, moment)])
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
    return json.dumps(head).encode() + b"\n" + state.SerializeToString()


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
    try:
        content = private_file.read(path, _MAGIC, "snapshot")
    except PrivateFileError as error:
        raise SnapshotFileError(str(error)) from error
    if content is None:
        return None
    head, _, body = content.partition(b"\n")
    return head, body
