"""The client's side of Watch, without I/O: takes in messages, keeps the state, and says when to connect again.

A driver opens a stream with `begin()`, passes every message to `take()`, and calls `lost()` when the stream ends.
`lost()` returns how long to wait before the next stream. One thread does all of this. Any thread may read at any time.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from rampd import v1
from rampd._contract.component_state import Assembly, Component, MalformedStateError, apply, service_of
from rampd._decision.resolution import ComponentSnapshot, SnapshotRelease
from rampd._decision.staleness import NEXT_MAX_STALE_S
from rampd._runtime.backoff import HOPELESS, REFUSED, Backoff, after
from rampd._runtime.backoff import chance as of_the_system
from rampd.errors import (
    InvalidArgumentError,
    PermissionDeniedError,
    RampdError,
    UnauthenticatedError,
    UnimplementedError,
)

SILENT_AFTER_S = 4.0
"""A server sends something every second. After so many seconds without a message, the stream is dead."""
FIRST_MESSAGE_S = 10.0
"""The first message may take longer, because the server may have to encode a large state."""
_AFTER_A_LOSS = Backoff(first_s=1.0, most_s=10.0, least=0.1)
"""When a server stops, its watchers come back within the first pause, each at another moment."""
_BEFORE_THE_FIRST = Backoff(first_s=0.1, most_s=10.0, least=0.1)
_HOPELESS = (InvalidArgumentError, PermissionDeniedError, UnimplementedError)
"""Errors after which a person must change something before another try can succeed."""
_LONGEST_AGE_S = 10 * 365 * 86_400.0
"""An older age counts as unknown."""
_CLOCK_DRIFT = 0.0005
"""How much two monotonic clocks may drift apart, in seconds per second."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of a component means for jobs that run."""

    component: str
    revision: int
    """The revision after the change. If the component was deleted: the last one."""
    left: tuple[SnapshotRelease, ...]
    """Releases that jobs no longer get. They got them before, by the weights or by an override to a channel."""
    came: tuple[SnapshotRelease, ...]
    """Releases that jobs get now and did not get before."""


@dataclass(frozen=True, slots=True)
class Last:
    """The last good state of a component that was deleted, or that the server can't read any more."""

    component: Component
    since_s: float
    """When the store last confirmed that state, by the monotonic clock."""
    gone_s: float = math.inf
    """When the component was deleted. Infinite if it is only damaged."""


class Feed:
    """The known state of the watched components. An empty `components` means all."""

    def __init__(
        self,
        components: Iterable[str] = (),
        *,
        keep_deleted_s: float = NEXT_MAX_STALE_S,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = of_the_system,
    ) -> None:
        self.components: dict[str, Component] = {}
        """The components to resolve from. A whole state replaces the dict."""
        self.confirmed_s = -math.inf
        """When the store last confirmed them, by the monotonic clock. Includes both ways: store to server, server to here."""
        self.deleted: dict[str, Last] = {}
        self.damaged: dict[str, Last | None] = {}
        """The last good state of components that the server can't read; None if it is not known. They are not in
        `components`.
        """
        self.cursor = ""
        """The place in the feed that the state is at. Empty if there is no state yet."""
        self.told_s = -math.inf
        """When a server last said, by a rewind or another epoch, that older states are not valid. Monotonic clock."""
        self.is_live = False
        """Whether a server has sent the state and said how fresh it is."""
        self.failures = 0
        """How many streams have ended since the last good one."""
        self.version = 0
        """Odd while a message is taken in. A reader that finds the same even number before and after has read one state."""
        self.selection = tuple(sorted(set(components)))
        self._keep_deleted_s = keep_deleted_s
        self._clock = clock
        self._chance = chance
        self.store_clock = self.now_ms
        """`now_ms`, bound once, because Python binds a method again at each access."""
        self._store_ahead_ms = (wall_clock() - clock()) * 1000
        self._was_live = False
        self._needs_whole_state = False
        self._assembly: Assembly | None = None
        self._reset(clock())

    def now_ms(self) -> int:
        """Returns the time on the store's clock. Until that is known: on the clock of this machine."""
        return int(self._clock() * 1000 + self._store_ahead_ms)

    def restore(
        self,
        components: Mapping[str, Component],
        cursor: str,
        age_s: float,
        told_age_s: float = math.inf,
        *,
        resumes: bool = True,
    ) -> None:
        """Begins with a saved state, confirmed `age_s` ago. `told_age_s` is the age of its `told_s`. Without `resumes`,
        the saved state is of other components than the watched ones. Call it only before the first stream.
        """
        self._needs_whole_state = not resumes
        self.components = dict(components)
        self.told_s = self._clock() - told_age_s
        self.cursor = cursor
        self.confirmed_s = self._clock() - age_s

    # Methods for a driver.

    def begin(self) -> v1.WatchRequest:
        """Returns the request that opens a stream."""
        self._reset(self._clock())
        # Only a whole state says that a damaged component can be read again.
        is_whole = self._needs_whole_state or bool(self.damaged)
        request = v1.WatchRequest(components=self.selection, cursor=self.cursor, whole=is_whole)
        age_s = self._clock() - self.confirmed_s
        if self.cursor and age_s < _LONGEST_AGE_S:
            request.snapshot_age.FromTimedelta(timedelta(seconds=max(0.0, age_s)))
        return request

    def take(self, message: v1.WatchResponse) -> list[Change]:
        """Takes in a message and returns the changes. Raises MalformedStateError: the stream is then useless."""
        now_s = self._clock()
        self._heard_s = now_s
        self._has_heard = True
        self.version |= 1
        try:
            return self._take(message, now_s)
        finally:
            self.version += 1

    def lost(self, error: RampdError | None) -> float:
        """Notes the end of the stream and returns the seconds to wait. None: the server has ended it in order.

        The pause is drawn at random, so that clients of the same server do not all come back at once.
        """
        self._assembly = None
        backoff = _AFTER_A_LOSS if self._was_live else _BEFORE_THE_FIRST
        if isinstance(error, UnauthenticatedError):
            backoff = REFUSED
        elif isinstance(error, _HOPELESS):
            backoff = HOPELESS
        pause_s = backoff.pause_s(self.failures, self._chance)
        if error is not None:
            pause_s = after(error.retry_after_s, pause_s, self._chance)
        self.failures += 1
        return pause_s

    def is_silent(self) -> bool:
        """Whether the stream has been without a message for so long that it is dead."""
        return self._clock() - self._heard_s > (SILENT_AFTER_S if self._has_heard else FIRST_MESSAGE_S)

    def find(self, component: str) -> Component | None:
        """Returns a component that exists, damaged or not."""
        known = self.components.get(component)
        if known is None and (last := self.damaged.get(component)) is not None:
            return last.component
        return known

    def find_deleted(self, component: str) -> Last | None:
        """Returns a component that was deleted not too long ago."""
        deleted = self.deleted.get(component)
        return deleted if deleted is not None and self._clock() - deleted.gone_s <= self._keep_deleted_s else None

    def _reset(self, now_s: float) -> None:
        self._assembly = None
        self._may_go_back = False
        self._heard_s = now_s
        self._has_heard = False
        self._least_offset_s = math.inf
        self._offset_s = now_s

    def _take(self, message: v1.WatchResponse, now_s: float) -> list[Change]:
        changes: list[Change] = []
        if message.HasField("rewind"):
            self._may_go_back = True
        if message.HasField("state"):
            changes += self._take_state(message.state, message.cursor, now_s)
        elif message.changes:
            if is_before(message.cursor, self.cursor):
                self._needs_whole_state = True
                raise MalformedStateError(f"changes up to {message.cursor} came after {self.cursor}")
            # The cursor moves after all changes are in. A child forked in between takes them in again, which is harmless.
            for change in message.changes:
                changes += self._take_change(change, now_s)
        if message.cursor:
            self.cursor = message.cursor
        if message.HasField("heartbeat"):
            self._take_heartbeat(message.heartbeat, now_s)
        return changes

    def _take_state(self, state: v1.WatchState, cursor: str, now_s: float) -> list[Change]:
        if state.first:
            self._assembly = Assembly()
        if self._assembly is None:
            raise MalformedStateError("a whole state came without its first part")
        self._assembly.add(state.components)
        self._assembly.note(state.damaged)
        if not state.last:
            return []
        after, damaged, self._assembly = self._assembly.finish(), self._assembly.damaged, None
        # If the known state is not consistent, an older state is better. The missing changes follow at once.
        if is_before(cursor, self.cursor) and not self._may_go_back and not self._needs_whole_state:
            raise MalformedStateError(f"the server is at {cursor}, but this process was already at {self.cursor}")
        if is_other := bool(self.cursor) and (
            self._may_go_back or split_cursor(cursor)[0] != split_cursor(self.cursor)[0]
        ):
            self.told_s = now_s
        is_other = is_other or is_before(cursor, self.cursor)
        self._may_go_back = self._needs_whole_state = False
        before = self._present()
        # In this order, so that a reader at the same time finds each component in one of the two.
        kept = {name: self._last_of(name, confirmed_ms, after, now_s) for name, confirmed_ms in damaged.items()}
        self.damaged = self.damaged | kept
        self.components = {name: known for name, known in after.items() if name not in kept} if kept else after
        self.damaged = kept
        self.cursor = cursor
        after = self._present()
        for name in before.keys() - after.keys() - kept.keys():
            self.deleted[name] = self._gone(before[name], now_s)
        for name in self.deleted.keys() & after.keys():
            del self.deleted[name]
        if is_other:
            # When the state before was confirmed says nothing about this one. The heartbeat in the same message says it.
            self.confirmed_s = -math.inf
        if not before and not self._was_live:
            return []
        return [
            change
            for name in before.keys() | after.keys()
            if (change := _change_of(_snapshot(before.get(name)), _snapshot(after.get(name)))) is not None
        ]

    def _gone(self, component: Component, now_s: float) -> Last:
        # The last state is as old as it was: the news of the deletion does not make it fresh.
        return Last(component, min(now_s, self.confirmed_s), now_s)

    def _present(self) -> dict[str, Component]:
        """Returns all components that exist, damaged or not."""
        return self.components | {name: last.component for name, last in self.damaged.items() if last is not None}

    def _last_of(self, name: str, confirmed_ms: int, after: Mapping[str, Component], now_s: float) -> Last | None:
        """Returns the last good state of a damaged component: from the server, otherwise from this process."""
        component = after.get(name) or self.find(name)
        if component is None and (deleted := self.find_deleted(name)) is not None:
            component = deleted.component
        if component is None:
            return None
        since_s = now_s - max(0.0, (self.now_ms() - confirmed_ms) / 1000)
        known = self.damaged.get(name)
        return Last(component, since_s if known is None else min(since_s, known.since_s))

    def _take_change(self, change: v1.WatchChange, now_s: float) -> list[Change]:
        name = change.component.component
        known = self.find(name)
        before = _snapshot(known)
        if change.deleted:
            if known is not None:
                self.deleted[name] = self._gone(known, now_s)
                self.components.pop(name, None)
            self.damaged.pop(name, None)
            after = None
        else:
            try:
                component = apply(known, change.component)
            except MalformedStateError:
                self._needs_whole_state = True
                raise
            if self.damaged.get(name) is None:
                self.components[name] = component
                self.damaged.pop(name, None)
            self.deleted.pop(name, None)
            after = component.snapshot
        found = _change_of(before, after)
        return [] if found is None else [found]

    def _take_heartbeat(self, heartbeat: v1.WatchHeartbeat, now_s: float) -> None:
        clock = heartbeat.server_clock
        offset_s = now_s - (clock.seconds + clock.nanos / 1e9)
        # The fastest heartbeat of the stream gives the difference between the two clocks. A heartbeat with a larger
        # difference was longer under way. Clocks drift, so the measured difference is trusted a little less every second.
        least_s = self._least_offset_s + (now_s - self._offset_s) * _CLOCK_DRIFT
        self._least_offset_s, self._offset_s = min(least_s, offset_s), now_s
        late_s = offset_s - self._least_offset_s
        age = heartbeat.snapshot_age
        confirmed_s = now_s - (age.seconds + age.nanos / 1e9) - late_s
        self.confirmed_s = max(self.confirmed_s, confirmed_s)
        time_ = heartbeat.store_time
        self._store_ahead_ms = time_.seconds * 1000 + time_.nanos // 1_000_000 - (now_s - late_s) * 1000
        self.failures = 0
        self.is_live = self._was_live = True
        for name in [name for name in self.deleted if self.find_deleted(name) is None]:
            del self.deleted[name]


def _snapshot(component: Component | None) -> ComponentSnapshot | None:
    return None if component is None else component.snapshot


def _change_of(before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> Change | None:
    if before == after:
        return None
    present = after or before
    if present is None:
        return None
    left, came = service_of(before), service_of(after)
    return Change(
        present.component,
        present.revision,
        left=tuple(release for number, release in left.items() if number not in came),
        came=tuple(release for number, release in came.items() if number not in left),
    )


def is_before(cursor: str, other: str) -> bool:
    """Whether `cursor` is earlier than `other` in the same epoch."""
    epoch, entry_id = split_cursor(cursor)
    other_epoch, other_id = split_cursor(other)
    return epoch == other_epoch and entry_id < other_id


def split_cursor(cursor: str) -> tuple[str, tuple[int, ...]]:
    """Returns the epoch, and the id of the entry as numbers to compare. Without a valid id: no numbers."""
    epoch, _, entry_id = cursor.rpartition("/")
    try:
        return epoch, tuple(map(int, entry_id.split("-")))
    except ValueError:
        return epoch, ()
