"""The known state of the components on disk, for a process that starts while no server answers.

The file has three lines and then one serialised `WatchState`. The lines are: what the file is; the SHA-256 of all that
follows; and a JSON object. Its keys are `confirmed` (seconds since 1970 by this machine's clock), `components` (the watched
ones), `cursor`, and `told` (when a server last said that the history before it is no longer valid, in seconds since 1970;
0 or absent if none did).

Several processes may share a file. Only a later state replaces it.
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
    """Raised when a snapshot file can't be used, with the reason."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Says which of two states on this machine is later. Times are in seconds since 1970, by this machine's clock."""

    cursor: str
    confirmed_s: float
    """When the store last confirmed the state."""
    told_s: float = 0.0
    """When a server last said that the state before is no longer valid, by a rewind or another epoch. 0: none did."""

    def may_replace(self, saved: "Moment", now_s: float) -> bool:
        """Whether a state of this moment is not older than a saved one.

        Within one history the entries of the feed decide. A state that was confirmed before a server announced another
        history is older than a state after that, even with a later entry. Otherwise the later confirmation decides.
        """
        epoch, entry = split_cursor(self.cursor)
        saved_epoch, saved_entry = split_cursor(saved.cursor)
        if saved.confirmed_s > now_s + CLOCK_TOLERANCE_S:
            # Somebody set the clock back, so the times can't be compared.
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
    """The content of a file."""

    components: Mapping[str, Component]
    selection: tuple[str, ...]
    cursor: str
    confirmed_s: float
    """Seconds since 1970, by this machine's clock."""
    told_s: float = 0.0
    """As `Moment.told_s`."""

    def age_s(self, now_s: float) -> float:
        """Returns its age at `now_s` (seconds since 1970). Infinite if the clock was set back: the age is not known."""
        age_s = now_s - self.confirmed_s
        return max(age_s, 0.0) if age_s > -CLOCK_TOLERANCE_S else math.inf


def write(
    path: Path,
    components: Iterable[tuple[ComponentSnapshot, Iterable[tuple[str, Choice]]]],
    *,
    selection: Iterable[str],
    moment: Moment,
) -> bool:
    """Replaces the file completely or not at all, and returns whether it did. A later file stays. Raises OSError."""
    with private_file.locked(path):
        saved = _moment_of(path)
        if saved is not None and not moment.may_replace(saved, time.time()):
            return False
        private_file.replace(path, _MAGIC, [_serialized(components, selection, moment)])
        return True


def _moment_of(path: Path) -> Moment | None:
    """Returns the moment of the file. None if there is no usable file."""
    try:
        checked = _checked(path)
        if checked is None:
            return None
        head = json.loads(checked[0])
        return Moment(str(head["cursor"]), float(head["confirmed"]), float(head.get("told", 0.0)))
    except (SnapshotFileError, ValueError, TypeError, KeyError, OverflowError):
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
    """Returns the content of the file. None if there is no file. Raises SnapshotFileError."""
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
    except (DecodeError, MalformedStateError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise SnapshotFileError(f"it makes no sense: {error!r}") from error


def _checked(path: Path) -> tuple[bytes, bytes] | None:
    """Returns the head and the state as they were written. None if there is no file. Raises SnapshotFileError."""
    try:
        content = private_file.read(path, _MAGIC, "snapshot")
    except PrivateFileError as error:
        raise SnapshotFileError(str(error)) from error
    if content is None:
        return None
    head, _, body = content.partition(b"\n")
    return head, body
