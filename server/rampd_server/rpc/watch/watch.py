"""Watch: the whole state, then every change in order, to any number of watchers. Each change is encoded once for all.

A watcher is a position in the log of changes. A slow watcher gets all changes since its last message in one message. If
the log no longer reaches back to its position, the watcher gets a whole state again. So the server never waits for a
watcher, and a watcher that does not read costs one message.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, Callable
from random import SystemRandom
from weakref import ref

from rampd import v1
from rampd._contract.component_state import change_of
from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.errors import NoSnapshotError, RampdError, StoreResetError
from rampd_server.ports import FeedEntry
from rampd_server.process.outage import Outage
from rampd_server.replica.projection import choice_of
from rampd_server.replica.replica import Replica
from rampd_server.rpc.waking import Waking
from rampd_server.rpc.watch.change_log import ChangeLog, Missing
from rampd_server.rpc.watch.heartbeat import Heartbeats, pause_s
from rampd_server.rpc.watch.selection import Selection
from rampd_server.rpc.watch.whole_state import WholeState, WholeStates

_MOST_ANSWERS = 1_000
"""How many answers of the store about cursors are kept. A caller can make up any number of cursors."""
_chance = SystemRandom()
_CURSOR = re.compile(r"([!-.0-~]+?)(\+[0-9a-f]{8})?/(\d{1,20}-\d{1,20})")


class Watches:
    """All streams of Watch of a server, fed by its replica."""

    def __init__(
        self, replica: Replica, *, log: ChangeLog | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._replica = replica
        self._monotonic = monotonic
        self._log = ChangeLog() if log is None else log
        self._states = WholeStates(replica, self._log)
        self._watchers: set[_Watcher] = set()
        self._waking = Waking()
        self._lost: dict[str, bool] = {}
        """Answers of the store by entry. Watchers that have lost their server come back with the same few cursors."""
        self._asking = asyncio.Lock()
        self._rewinds = 0
        """How often the store went back. A watcher with a smaller number may have seen changes that the store has lost.
        """
        self._heartbeats = Heartbeats(replica, monotonic=monotonic)
        self._is_closed = False
        self._strangers = Outage("watchers_know_another_epoch", "watchers_follow", monotonic=monotonic)
        replica.subscribe(self)

    def close(self) -> None:
        """Ends all streams when the server stops."""
        self._is_closed = True
        self._wake()

    async def stream(self, request: v1.WatchRequest, selection: Selection) -> AsyncGenerator[bytes]:
        """The messages for one watcher, about the components that it selects. Raises NoSnapshotError, StoreUnavailableError, StoreResetError."""
        if not self._replica.answers.is_set():
            raise NoSnapshotError("The server has no state yet: it waits for the store. Try again in a moment.")
        rewinds = self._rewinds
        position = await self._position(request, selection)
        watcher = _Watcher(selection, -1 if position is None else position, self._monotonic())
        # The store may have gone back after it answered for the cursor. Then the watcher must get a rewind.
        watcher.rewinds = rewinds if position == -1 and request.cursor else self._rewinds
        self._watchers.add(watcher)
        watcher.tick(self._pause_s)
        try:
            if position is None:
                yield self._rewind()
            while not self._is_closed:
                if not self._log.reaches(watcher.position):
                    state = ref(await self._states.get(watcher.selection))
                    told, watcher.rewinds = watcher.rewinds, self._rewinds
                    if told != self._rewinds and (request.cursor or watcher.position >= 0):
                        yield self._rewind()
                    index = 0
                    while (part := self._part(watcher, state, index)) is not None:
                        yield part
                        index += 1
                    continue
                watcher.has_all()
                if message := self._next(watcher):
                    yield message
                else:
                    watcher.has_all()
                    await watcher.wait()
        finally:
            watcher.end()
            self._watchers.discard(watcher)
            self._waking.forget(watcher)

    async def _position(self, request: v1.WatchRequest, selection: Selection) -> int | None:
        """Returns the log's position after a cursor, or -1 if a whole state is needed. None means that the store may
        have lost the cursor's entry.
        """
        match = _CURSOR.fullmatch(request.cursor)
        if match is None:
            return -1
        epoch, mark, entry_id = match.groups(default="")
        if epoch != self._replica.epoch:
            age = request.snapshot_age
            known_for_s = age.seconds + age.nanos / 1e9 if request.HasField("snapshot_age") else math.inf
            await self._require_succession(epoch, known_for_s)
        if epoch == self._replica.epoch and self._log.after(entry_id) is Missing.AHEAD:
            is_there = await self._replica.wait_for_entry(entry_id)
            if not is_there and await self._replica.has_lost(entry_id):
                return None
            if not is_there:
                raise NoSnapshotError("This server is behind what the caller knows already. Try again in a moment.")
        if epoch != self._replica.epoch:
            return -1
        found = self._log.after(entry_id)
        if isinstance(found, int):
            # Only a whole state names the damaged components, and those that the caller saw before and does not see now. One that
            # the caller does not see must not show in this way.
            is_told_of_damage = any(map(selection.sees, self._replica.damaged))
            return -1 if is_told_of_damage or request.whole or mark != selection.mark else found
        return None if found is Missing.FORKED or await self._is_lost(entry_id) else -1

    async def _is_lost(self, entry_id: str) -> bool:
        """Whether the store has lost an entry that is older than the log; True if the store does not answer."""
        async with self._asking:
            if entry_id not in self._lost:
                rewinds = self._rewinds
                try:
                    is_lost = await self._replica.has_lost(entry_id)
                except RampdError:
                    return True
                if rewinds != self._rewinds:
                    return True  # the answer may be older than the rewind
                if len(self._lost) >= _MOST_ANSWERS:
                    self._lost.clear()
                self._lost[entry_id] = is_lost
            return self._lost[entry_id]

    async def _require_succession(self, epoch: str, age_s: float) -> None:
        try:
            await self._replica.require_succession(epoch, age_s)
        except StoreResetError as error:
            self._strangers.tell(error.message)
            raise

    def _part(self, watcher: "_Watcher", state: "ref[WholeState]", index: int) -> bytes | None:
        """Returns a part of a whole state; None after the last part, or if the watcher must begin with a newer state."""
        present = state()
        # The reference is weak, so that a watcher that does not read keeps no old state in memory.
        if present is None or not self._log.reaches(present.position):
            return None
        if index == len(present.parts) or self._is_closed:
            return None
        if index < len(present.parts) - 1:
            return b"".join(present.parts[index])
        watcher.position, watcher.is_due = present.position, True
        # The age goes into the same message, because a client takes a state of unknown age as too old for next.
        news = self._next(watcher) if watcher.position == self._log.end else b""
        return b"".join((*present.parts[index], news))

    def _next(self, watcher: "_Watcher") -> bytes:
        message, watcher.position = self._log.read(watcher.position, watcher.selection)
        if watcher.is_due and watcher.position == self._log.end:
            watcher.is_due = False
            return message + self._cursor_message(self._replica.entry_id, watcher.mark) + self._heartbeats.message()
        if message and watcher.mark:
            # Changes are encoded for all, with a cursor without a mark. The last one counts.
            return message + self._cursor_message(self._log.entry_before(watcher.position), watcher.mark)
        return message

    def _cursor(self, entry_id: str, mark: str = "") -> str:
        return f"{self._replica.epoch}{mark}/{entry_id}"

    def _cursor_message(self, entry_id: str, mark: str) -> bytes:
        return v1.WatchResponse(cursor=self._cursor(entry_id, mark)).SerializeToString()

    def _rewind(self) -> bytes:
        rewind = v1.WatchRewind(cursor=self._cursor(self._replica.entry_id))
        return v1.WatchResponse(rewind=rewind).SerializeToString()

    # What is measured.

    @property
    def count(self) -> int:
        """The number of open streams."""
        return len(self._watchers)

    def slowest_age_s(self) -> float:
        """The age of the oldest change that was not sent to some watcher yet; 0 if each watcher has all changes. A watcher that
        waits for a whole state counts from when it came, or from when its earlier state was replaced.
        """
        position = min((watcher.sent for watcher in self._watchers if watcher.sent >= 0), default=self._log.end)
        changed_ms = self._log.changed_ms(position)
        late_s = 0.0 if changed_ms is None else max(0.0, (self._replica.likely_ms() - changed_ms) / 1000)
        waits_s = min((watcher.waits_s for watcher in self._watchers), default=math.inf)
        return late_s if waits_s == math.inf else max(late_s, self._monotonic() - waits_s)

    # What the replica tells.

    def applied(self, entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """Encodes a change once for all watchers."""
        message = b""
        # A deletion is sent without snapshots, too: a watcher may know a component that this server could not read.
        if before is not None or after is not None or entry.is_deletion:
            change = v1.WatchChange(component=_component_state(entry, before, after), deleted=after is None)
            message = v1.WatchResponse(cursor=self._cursor(entry.id), changes=[change]).SerializeToString()
        self._log.append(entry.id, entry.component, message)
        self._states.applied(entry.component)
        self._wake()

    def reloaded(self) -> None:
        """Makes every watcher begin again, because the changes between the old and the new state are not known."""
        self._log.restart(self._replica.entry_id)
        self._states.reloaded()
        self._strangers.end()
        self._lost.clear()
        if self._replica.went_back:
            self._rewinds += 1
        now_s = self._monotonic()
        for watcher in self._watchers:
            watcher.waits_s = min(watcher.waits_s, now_s)
        self._wake()

    def _pause_s(self) -> float:
        return pause_s(len(self._watchers))

    def _wake(self) -> None:
        self._waking.wake(self._watchers)


class _Watcher:
    __slots__ = ("_future", "_timer", "is_due", "mark", "position", "rewinds", "selection", "sent", "waits_s")

    def __init__(self, selection: Selection, position: int, began_s: float) -> None:
        self.selection = selection
        self.mark = selection.mark
        self.position = position
        """The next entry to be read from the log."""
        self.sent = position
        """Up to where the caller has everything. It is behind `position` while a message is on its way."""
        self.waits_s = began_s if position < 0 else math.inf
        """Since when the watcher has waited for a whole state."""
        self.rewinds = 0
        self.is_due = False
        """Whether a heartbeat is due."""
        self._future: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def has_all(self) -> None:
        """Nothing is on its way: the caller has taken all messages."""
        self.sent, self.waits_s = self.position, math.inf

    async def wait(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def tick(self, pause_s: Callable[[], float]) -> None:
        """Asks for a heartbeat now and at intervals. Each pause is random, so that watchers that have come at the same
        moment, or were delayed together while the server was busy, do not stay in step.
        """
        self.is_due = True
        self.wake()
        delay_s = pause_s() * _chance.uniform(0.5 if self._timer is None else 0.8, 1)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.tick, pause_s)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _component_state(
    entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None
) -> v1.ComponentState:
    if after is None:
        return v1.ComponentState(component=entry.component, revision=entry.revision)
    overrides = {repo: choice_of(override) for repo, override in entry.overrides_set.items()}
    return change_of(before, after, overrides, entry.overrides_deleted)
