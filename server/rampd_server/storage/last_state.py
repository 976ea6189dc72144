"""Keeps the state that a server last served in a file of its data directory: one file for each store and namespace.

The lines of the file are:

1. the kind of the file;
2. the SHA-256 of all that follows;
3. a JSON object about the whole: `store`, `namespace`, `epoch`, `entry` (the newest of the feed), `confirmed` (seconds since 1970
   by this machine's clock), `clock_ahead_ms` (of the store's clock), `freeze` (as in `meta`), `is_last` (whether nothing newer was
   served), `anchor` (component and entry of the newest change that the store had for long, or null; missing in files of before);
4. the tombstone of each deleted component, and each component, as `codec/component_lines.py` writes them.

A second file beside it has only such an object. It is there if the same state was confirmed again, so that a state that does not
change is not written again and again.

The files have no credentials.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from rampd._runtime import private_file
from rampd._runtime.private_file import CLOCK_TOLERANCE_S, PrivateFileError
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Anchor, LastServed, LastState, LastStateError, Override, entry_order
from rampd_server.storage.codec import component_lines, feed_entry, texts
from rampd_server.storage.codec.malformed import MalformedError

_MAGIC: Final = b"rampd last state 1"
_MAX_HEAD_BYTES: Final = 65_536

_log = structlog.get_logger(__name__)


class LastStateFile:
    """A `LastStateStore` in a file. `store` names the store, without credentials."""

    def __init__(self, directory: Path, store: str, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        digest = hashlib.sha256(f"{store}\n{namespace}".encode()).hexdigest()[:16]
        self.path = directory / f"last-state-{namespace}-{digest}"
        self.confirmed_path = directory / f"last-confirmed-{namespace}-{digest}"

    def read(self) -> LastState | None:
        try:
            content = private_file.read(self.path, _MAGIC, "last state")
            return None if content is None else self._read(*_checked(content))
        except PrivateFileError as exc:
            raise LastStateError(f"The file {self.path} (what this server last served) is not used: {exc}") from exc

    def _read(self, head: Mapping[str, Any], lines: Iterable[bytes]) -> LastState:
        try:
            about = self._read_about(head)
            components = list(_read_components(lines))
            return LastState(
                self._confirmed(about),
                tuple((rollout, overrides) for rollout, overrides in components if isinstance(rollout, Rollout)),
                tuple(absent for absent, _ in components if isinstance(absent, Absent)),
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError) as exc:
            raise PrivateFileError(f"its content is not valid: {exc!r}") from exc

    def _read_about(self, head: Mapping[str, Any]) -> LastServed:
        if (head["store"], head["namespace"]) != (self._store, self._namespace):
            raise PrivateFileError("it belongs to another store or namespace")
        return LastServed(
            epoch=str(head["epoch"]),
            entry_id=str(head["entry"]),
            confirmed_s=_time(head["confirmed"]),
            clock_ahead_ms=_finite(head["clock_ahead_ms"]),
            namespace=feed_entry.read_namespace(head["freeze"]),
            is_last=head["is_last"] is True,
            anchor=_anchor(head.get("anchor")),
        )

    def _confirmed(self, about: LastServed) -> LastServed:
        """Returns what is known of the state, or what is known since it was confirmed again."""
        try:
            content = private_file.read(self.confirmed_path, _MAGIC, "last state")
            again = about if content is None else self._read_about(_checked(content)[0])
        except (PrivateFileError, ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError) as exc:
            _log.warning("last_confirmation_not_read", error=f"{self.confirmed_path}: {exc}")
            return about
        return again if (again.epoch, again.entry_id) == (about.epoch, about.entry_id) else about

    def encode(self, rollout: Rollout | Absent, overrides: Iterable[tuple[str, Override]] = ()) -> Iterator[bytes]:
        return component_lines.write(rollout, overrides)

    def write(self, about: LastServed, lines: list[bytes]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with private_file.locked(self.path):
            if self._is_later(about):
                # First, so that no confirmation is of an earlier writing than the file.
                self.confirmed_path.unlink(missing_ok=True)
                private_file.replace(self.path, _MAGIC, [self._head(about), *lines])

    def confirm(self, about: LastServed) -> bool:
        if not self.path.exists():
            return False
        with private_file.locked(self.path):
            try:
                kept = self._kept_head()
                is_kept = (kept["epoch"], kept["entry"]) == (about.epoch, about.entry_id)
            except (OSError, ValueError, TypeError, KeyError):
                return False
            if is_kept:
                private_file.replace(self.confirmed_path, _MAGIC, [self._head(about)])
            return is_kept

    def _head(self, about: LastServed) -> bytes:
        return component_lines.line(
            {
                "store": self._store,
                "namespace": self._namespace,
                "epoch": about.epoch,
                "entry": about.entry_id,
                "confirmed": about.confirmed_s,
                "clock_ahead_ms": about.clock_ahead_ms,
                "freeze": None if about.namespace.freeze is None else texts.write_freeze(about.namespace.freeze),
                "is_last": about.is_last,
                "anchor": about.anchor,
            }
        )

    def clean(self) -> None:
        if self.path.parent.exists():
            private_file.clean(self.path)
            private_file.clean(self.confirmed_path)

    def _kept_head(self) -> Any:  # noqa: ANN401 - as json has it
        with self.path.open("rb") as file:
            _, _, head = (file.readline(_MAX_HEAD_BYTES) for _ in range(3))
        return json.loads(head)

    def _is_later(self, about: LastServed) -> bool:
        """Whether the file has no later state than this one. Another server may share the directory."""
        try:
            kept = self._kept_head()
            confirmed_s = _time(kept["confirmed"])
            has_more = kept["epoch"] == about.epoch and entry_order(kept["entry"]) > entry_order(about.entry_id)
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return True
        # If the time in the file is in the future, the clock was set back, and times can't be compared.
        is_future = confirmed_s > time.time() + CLOCK_TOLERANCE_S
        slack_s = 0.0 if has_more else CLOCK_TOLERANCE_S
        return is_future or about.confirmed_s > confirmed_s - slack_s


def _time(number: float) -> float:
    """Returns seconds since 1970. Raises ValueError, OverflowError, OSError and TypeError if the number is no time."""
    datetime.fromtimestamp(number, UTC)
    return float(number)


def _anchor(kept: Sequence[str] | None) -> Anchor | None:
    """Raises ValueError, TypeError."""
    if kept is None:
        return None
    component, entry = kept
    return Anchor(str(component), texts.read_entry_id(entry))


def _finite(number: float) -> float:
    """Raises ValueError, OverflowError and TypeError."""
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number")
    return float(number)


def _checked(content: bytes) -> tuple[Mapping[str, Any], Iterable[bytes]]:
    """Returns the object about the whole, and the lines of the components. Raises PrivateFileError."""
    head, *lines = content.splitlines()
    try:
        return texts.read_object(head.decode()), lines
    except ValueError as exc:
        raise PrivateFileError(f"its content is not valid: {exc}") from exc


def _read_components(lines: Iterable[bytes]) -> Iterator[tuple[Rollout | Absent, Mapping[str, Override]]]:
    """Yields each component. A component that this version of rampd can't read is left out, and the log names it."""
    for whole in component_lines.gather(map(json.loads, lines)):
        name = component_lines.name_of(whole)
        try:
            component = component_lines.read(whole)
        except (MalformedError, ValueError, TypeError, KeyError) as exc:
            _log.warning("last_state_left_out", component=name, error=str(exc))
        else:
            yield component
