"""The in-memory copy of the store that Resolve reads, and how it is kept fresh.

Per component it holds an immutable snapshot, swapped by reference, and one dict of overrides that only the event loop
writes, key by key. Entries of the feed are applied strictly in order: each names the one before it, so that a gap or a
fork shows, and then everything is read anew.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from rampd.resolution import ComponentSnapshot, Overrides
from rampd_server.domain.errors import NoSnapshotError, RampdError, StoreResetError
from rampd_server.domain.model import Absent, Rollout
from rampd_server.ports import FeedEntry, Head, Namespace, Store
from rampd_server.projection import choice_of, snapshot_of

STALE_AFTER_S = 5.0
_HEAD_CHECK_S = 1.0
_RETRY_S = 0.25

log = structlog.get_logger()


@dataclass(slots=True)
class Component:
    """What is known of one component."""

    rollout: Rollout
    snapshot: ComponentSnapshot
    overrides: Overrides


@dataclass(slots=True)
class _State:
    """Everything that a reload builds anew and swaps as one."""

    epoch: str = ""
    entry_id: str = ""
    namespace: Namespace = field(default_factory=Namespace)
    components: dict[str, Component] = field(default_factory=dict)


class Replica:
    """The copy. `run` keeps it fresh until cancelled; all else is for callers on the same event loop."""

    def __init__(self, store: Store, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._state = _State()
        self._confirmed_s: float | None = None
        self._store_ahead_ms = 0.0
        self._waiters: set[asyncio.Future[None]] = set()
        self._trouble = ""
        self.loaded = asyncio.Event()
        """Set once there is a state to resolve from."""

    # What Resolve reads.

    def get(self, component: str) -> Component | None:
        """A component, or None where it is not there."""
        return self._state.components.get(component)

    def components(self) -> Iterable[Component]:
        """All components, as they are now."""
        return list(self._state.components.values())

    @property
    def namespace(self) -> Namespace:
        """What holds for all components."""
        return self._state.namespace

    @property
    def age_s(self) -> float:
        """Seconds since the store last confirmed the state. Raises NoSnapshotError before it first did."""
        if self._confirmed_s is None:
            raise NoSnapshotError("The server has no state yet: it waits for the store. Try again in a moment.")
        return self._monotonic() - self._confirmed_s

    def now_ms(self) -> int:
        """The store's clock, carried on by the monotonic one since it was last read."""
        return int(self._monotonic() * 1000 + self._store_ahead_ms)

    # How it keeps up.

    def offer(self, entry: FeedEntry) -> None:
        """Applies an entry that this server has written, where it is the next one; else the feed brings it."""
        if entry.previous_id == self._state.entry_id:
            self._apply(entry)

    async def wait_for(self, component: str, revision: int, *, timeout_s: float = 1.0) -> bool:
        """Whether the component gets to `revision` in time. One that is not there has not."""
        return await self._wait_until(lambda: self._has(component, revision), timeout_s)

    async def wait_for_entry(self, entry_id: str, *, timeout_s: float = 1.0) -> bool:
        """Whether this copy gets to an entry of the feed in time."""
        return await self._wait_until(lambda: _order(self._state.entry_id) >= _order(entry_id), timeout_s)

    async def _wait_until(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        if is_there():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not is_there():
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
        return is_there()

    def _has(self, component: str, revision: int) -> bool:
        known = self.get(component)
        return known is not None and known.rollout.revision >= revision

    async def run(self) -> None:
        """Follows the feed for ever; whatever goes wrong with the store is waited out, and logged once."""
        while True:
            trouble = ""
            try:
                await self._follow()
            except RampdError as error:
                trouble = error.message
            except Exception:
                # What is in memory goes on, stale, and the log says why.
                log.exception("replica_failed")
                trouble = "a defect"
            if trouble != self._trouble:
                log.warning("store_lost", error=trouble)
                self._trouble = trouble
            await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - so that servers don't come in step

    async def _follow(self) -> None:
        head = await self._read_head()
        if head.epoch != self._state.epoch:
            await self._reload(head)
        while True:
            entries = await self._store.feed(self._state.entry_id, block_ms=int(_HEAD_CHECK_S * 1000))
            if not self._apply_all(entries):
                log.warning("feed_gap", after=self._state.entry_id)
                await self._reload(await self._read_head())
            if not entries or self.age_s >= _HEAD_CHECK_S:
                await self._check_head()

    async def _check_head(self) -> None:
        """Confirms that the end of the feed is where this copy stands, in the same epoch."""
        head = await self._read_head()
        if head.epoch == self._state.epoch and head.entry_id != self._state.entry_id:
            entries = await self._store.feed(self._state.entry_id, block_ms=0)
            if entries and self._apply_all(entries):
                return self._confirm(head)
            log.warning("feed_forked", here=self._state.entry_id, store=head.entry_id)
            return await self._reload(head)
        if head.epoch != self._state.epoch:
            return await self._reload(head)
        return self._confirm(head)

    async def _read_head(self) -> Head:
        head = await self._store.head()
        if head is None or (self._state.epoch and head.epoch != self._state.epoch and not head.adopted):
            raise StoreResetError(
                "The store was emptied or replaced. Resolve goes on with the last state; to take the store as it is "
                "now: rampd-server adopt"
            )
        return head

    def _confirm(self, head: Head) -> None:
        if self._trouble:
            log.info("store_found")
            self._trouble = ""
        self._confirmed_s = self._monotonic()
        self._store_ahead_ms = head.time_ms - self._confirmed_s * 1000

    async def _reload(self, head: Head) -> None:
        """Reads everything, then what changed meanwhile, and swaps it in as one."""
        started = self._monotonic()
        self._store.believe(head.epoch)
        state = _State(head.epoch, head.entry_id, head.namespace)
        last = ""
        while names := await self._store.components(after=last, limit=1000):
            for name in names:
                if component := await self._load(name):
                    state.components[name] = component
            last = names[-1]
        while entries := await self._store.feed(state.entry_id, block_ms=0):
            for entry in entries:
                if entry.component and entry.component not in state.components:
                    # It came, or went and came, after the names were listed.
                    if component := await self._load(entry.component):
                        state.components[entry.component] = component
                    state.entry_id = entry.id
                else:
                    _apply(state, entry, self._store)
        self._state = state
        self._confirm(head)
        self.loaded.set()
        self._wake()
        log.info("replica_loaded", components=len(state.components), seconds=round(self._monotonic() - started, 3))

    async def _load(self, name: str) -> Component | None:
        rollout = (await self._store.read(name)).rollout
        if isinstance(rollout, Absent):
            return None
        overrides = Overrides()
        async for piece in self._store.walk_overrides(name):
            for repo, override in piece.items():
                overrides.set(repo, choice_of(override))
        return Component(rollout, snapshot_of(rollout), overrides)

    def _apply_all(self, entries: Iterable[FeedEntry]) -> bool:
        """Whether all entries fit; those that `offer` has applied already do."""
        for entry in entries:
            if _order(entry.id) <= _order(self._state.entry_id):
                continue
            if entry.previous_id != self._state.entry_id:
                return False
            self._apply(entry)
        return True

    def _apply(self, entry: FeedEntry) -> None:
        _apply(self._state, entry, self._store)
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _apply(state: _State, entry: FeedEntry, store: Store) -> None:
    state.entry_id = entry.id
    if entry.namespace is not None:
        state.namespace = entry.namespace
        return
    known = state.components.get(entry.component)
    # A reload has read states that are newer than the entries it then goes through.
    if known is None or entry.revision > known.rollout.revision:
        after = store.apply(known.rollout if known else Absent(entry.component, entry.revision - 1), entry)
        if isinstance(after, Absent):
            state.components.pop(entry.component, None)
            return
        if known is None:
            known = state.components[entry.component] = Component(after, snapshot_of(after), Overrides())
        elif entry.is_of_overrides_only:
            known.rollout, known.snapshot = after, known.snapshot.at_revision(after.revision)
        else:
            known.rollout, known.snapshot = after, snapshot_of(after)
    elif entry.is_deletion:
        known.overrides = Overrides()
    for repo, override in entry.overrides_set.items():
        known.overrides.set(repo, choice_of(override))
    for repo in entry.overrides_deleted:
        known.overrides.delete(repo)
