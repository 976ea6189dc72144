"""The in-memory copy of the store that Resolve reads, and how it is kept fresh.

Per component it holds an immutable snapshot, swapped by reference, and one dict of overrides that only the event loop
writes, key by key. Entries of the feed are applied strictly in order: each names the one before it, so that a gap or a
fork shows, and then everything is read anew. The same happens where an entry can't be applied, or a listener fails.

A component whose data is damaged takes no other down: it keeps the last state that was read of it, or has none, and is read
again every few seconds.

A server that starts may begin with the state that it served last (`recall`). It is answered from until the store's own state
is read; and a store of another epoch, or of none, is not taken for the one that it was.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from random import SystemRandom
from typing import Protocol

import structlog

from rampd._decision.resolution import ComponentSnapshot, Overrides
from rampd._decision.staleness import STALE_AFTER_S
from rampd_server.domain.automation.clock import Look
from rampd_server.domain.errors import (
    NoSnapshotError,
    RampdError,
    StoreCorruptError,
    StoreResetError,
    ways_on,
)
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.wording import counted, moment
from rampd_server.ports import (
    FeedEntry,
    Head,
    LastServed,
    LastState,
    Namespace,
    Store,
    entry_order,
)
from rampd_server.process.outage import Outage, Outages
from rampd_server.replica.damage import Damage, damage_of
from rampd_server.replica.losses import Seen
from rampd_server.replica.projection import choice_of, snapshot_of
from rampd_server.replica.reading import Reading, load, log_stray
from rampd_server.replica.state import Component, State, apply

_LOST_AFTER_S = 1.5
"""How long every look at the store has to fail before the copy counts as not confirmed: longer than the second of two looks
that time out takes, so that a single slow one is nothing.
"""
_HEAD_CHECK_S = 1.0
_RETRY_S = 0.25
_ANSWER_S = 2.0
"""How much later than the store's look at its clock its answer may be here, and more."""
_DAMAGE_CHECK_S = 5.0
"""How often damaged components are read again: somebody may have repaired them."""
_DOUBT_S = 60.0
_OWN_WRITE_S = 0.01
_RECENT = 4096
"""How many of the last entries are remembered, to tell which revisions a store has lost."""
_FEED_S = 0.05
"""How long the feed may take to bring an entry that somebody waits for, before it is fetched."""

_CLOCK_TOLERANCE_S = 2.0
_UNKNOWN_AGE_S = 1e9
"""The age of a state that is of nobody knows when: over thirty years, and short enough for every message."""

_chance = SystemRandom()

log = structlog.get_logger()


class Listener(Protocol):
    """Told of everything that changes what Resolve reads, on the event loop, in order."""

    def applied(self, entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """An entry was applied; its component before and after it, None where there was or is none."""

    def reloaded(self) -> None:
        """Everything was read again."""


class Replica:
    """The copy. `run` keeps it fresh until cancelled; all else is for callers on the same event loop."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._state = State()
        self._confirmed_s: float | None = None
        self._store_ahead_ms: float | None = None
        self._recalled_ahead_ms: float | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._listeners: list[Listener] = []
        self._trouble: RampdError | None = None
        self._outage = Outage("store_lost", "store_found", monotonic=monotonic)
        self._damage = Outages("component_damaged", "component_damage_ended", ("component",), monotonic=monotonic)
        self._damage_checked_s = -math.inf
        self._recalled: LastServed | None = None
        self._is_in_doubt = False
        self._strays_end = "0-0"
        """Up to here the feed has nothing but what rampd did not write, after all that the state has."""
        self._doubted: dict[str, float] = {}
        self._wrote_s = -math.inf
        self._is_wanted = asyncio.Event()
        self._reading = asyncio.Lock()
        self._readings = 0
        """How often everything began to be read; `_read` is the last of these that came to its end."""
        self._read = 0
        self._writable = asyncio.Event()
        """Clear while a state of another epoch is being read: the one of before serves no writes."""
        self._recent: deque[Seen] = deque(maxlen=_RECENT)
        self.went_back = False
        """Whether the store had, when everything was read the last time, lost some of what was known before."""
        self.answers = asyncio.Event()
        """Set once there is a state to resolve from."""
        self.loaded = asyncio.Event()
        """Set once that state is the store's own, read by this process."""

    # What Resolve reads.

    def get(self, component: str) -> Component | None:
        """A component, or None where it is not there."""
        return self._state.components.get(component)

    def components(self) -> Iterable[Component]:
        """All components, as they are now."""
        return list(self._state.components.values())

    def gone(self) -> Iterable[Absent]:
        """The last components that went."""
        return list(self._state.gone.values())

    def last_known(self, component: str) -> Rollout | Absent | None:
        """A component as it is here, or was when it went; None where that is not known, or could not be read."""
        if component in self._state.damaged:
            return None
        known = self._state.components.get(component)
        return known.rollout if known else self._state.gone.get(component)

    @property
    def damaged(self) -> Mapping[str, Damage]:
        """The components that could not be read, by name, as they are now: what a look at this server's health shows."""
        return self._state.damaged

    def damage(self, component: str) -> StoreCorruptError | None:
        """Why a component could not be read; None where it could."""
        found = self._state.damaged.get(component)
        return None if found is None else found.error

    def age_of(self, known: Component, age_s: float) -> float:
        """Seconds since the store last confirmed a component, at `age_s` since it confirmed the state: a component that is
        damaged gets older than the others.
        """
        if known.damaged_since_s is None:
            return age_s
        return max(age_s, self._monotonic() - known.damaged_since_s)

    @property
    def namespace(self) -> Namespace:
        """What holds for all components."""
        return self._state.namespace

    @property
    def age_s(self) -> float:
        """Seconds since the store last confirmed the state. Raises NoSnapshotError where there is none."""
        if self._confirmed_s is None:
            raise self._no_state_yet()
        return self._monotonic() - self._confirmed_s

    @property
    def is_confirmed(self) -> bool:
        """Whether the store confirms the state: only then a write can be expected to work."""
        if not self.loaded.is_set() or self._is_in_doubt or self.age_s > STALE_AFTER_S:
            return False
        return (self._outage.lasts_s or 0.0) < _LOST_AFTER_S

    def now_ms(self) -> int:
        """The store's clock, carried on by the monotonic one since it was last read. Raises NoSnapshotError before that."""
        if self._store_ahead_ms is None:
            raise self._no_state_yet()
        return int(self._monotonic() * 1000 + self._store_ahead_ms)

    def store_time_ms(self, monotonic_s: float) -> int:
        """The store's clock at a time of the monotonic one. Raises NoSnapshotError as `now_ms`."""
        return self.now_ms() - round((self._monotonic() - monotonic_s) * 1000)

    def likely_ms(self) -> int:
        """`now_ms`; before the store has told the time, what it most likely is, for answers that are marked stale."""
        if self._store_ahead_ms is None and self._recalled_ahead_ms is not None:
            return int(self._monotonic() * 1000 + self._recalled_ahead_ms)
        return self.now_ms()

    @property
    def look(self) -> Look:
        """Both clocks, as they were when the store last confirmed the state. Raises NoSnapshotError."""
        if self._confirmed_s is None or self._store_ahead_ms is None or not self.loaded.is_set():
            raise self._no_state_yet()
        monotonic_ms = self._confirmed_s * 1000
        return Look(round(monotonic_ms + self._store_ahead_ms), round(monotonic_ms))

    @property
    def epoch(self) -> str:
        """Of which epoch the state is; empty before there is one."""
        return self._state.epoch

    @property
    def entry_id(self) -> str:
        """The last entry of the feed that the state has."""
        return self._state.entry_id

    def _no_state_yet(self) -> RampdError:
        if isinstance(self._trouble, StoreResetError):
            return self._trouble
        trouble = self._trouble.message if self._trouble else "it waits for the store. Try again in a moment."
        return NoSnapshotError(f"The server has no state yet: {trouble}")

    # What a server served before it was started again.

    def recall(self, state: LastState) -> None:
        """Begins with what this server served last. Only before `run`.

        Its age counts by this machine's clock. Where that was set back nobody knows it, and neither where the server did not
        end in order: it may have served something newer. Then nobody gets next from it.
        """
        about = state.about
        ahead_s = self._wall_clock() - self._monotonic()
        age_s = self._wall_clock() - about.confirmed_s
        is_known = about.is_last and age_s >= -_CLOCK_TOLERANCE_S
        self._confirmed_s = self._monotonic() - (max(age_s, 0.0) if is_known else _UNKNOWN_AGE_S)
        self._recalled_ahead_ms = ahead_s * 1000 + about.clock_ahead_ms
        self._recalled = about
        components = {}
        for rollout, pinned in state.components:
            overrides = Overrides()
            # A million overrides have few different ones.
            different = {id(override): override for override in pinned.values()}
            choices = {number: choice_of(override) for number, override in different.items()}
            overrides.set_all((repo, choices[id(override)]) for repo, override in pinned.items())
            components[rollout.component] = Component(rollout, snapshot_of(rollout), overrides)
        gone = {absent.component: absent for absent in state.gone}
        self._state = State(about.epoch, about.entry_id, about.namespace, components, gone)
        self._store.set_epoch(about.epoch)
        # It is answered from and never added to, until the store's own is read.
        self._is_in_doubt = True
        try:
            self._tell_reloaded()
        except Exception:
            # They are told again once the store's own state is read, and this server can answer until then.
            log.exception("recalled_state_not_told")
        self.answers.set()

    def last_served(self, *, is_last: bool) -> LastServed:
        """What is to be kept for the next start, the components aside. Raises NoSnapshotError."""
        wall_s = self._wall_clock()
        return LastServed(
            epoch=self._state.epoch,
            entry_id=self._state.entry_id,
            confirmed_s=wall_s - self.age_s,
            clock_ahead_ms=self.now_ms() - wall_s * 1000,
            namespace=self._state.namespace,
            is_last=is_last,
        )

    def require_known(self, head: Head | None) -> None:
        """Raises StoreResetError where a store that stands there is not the one that the state is of, and nobody has
        adopted it.
        """
        state = self._state
        if not state.epoch or (head is not None and self._may_follow(head)):
            return
        found = f"another epoch, {head.epoch}, which nobody has adopted" if head else "no epoch"
        served = f"{counted(len(state.components), 'component')} at {moment(int(self._confirmed_wall_s() * 1000))}"
        raise StoreResetError(
            f"The store was emptied or replaced: it has {found}, and this server last served {served}. Jobs keep their "
            f"versions, and nothing is written. {ways_on(self._store.adopt_command)}",
            believed=state.epoch,
            found=head.epoch if head else "",
        )

    def _confirmed_wall_s(self) -> float:
        if self._recalled is not None and not self.loaded.is_set():
            return self._recalled.confirmed_s
        return self._wall_clock() - self.age_s

    def note(self, trouble: RampdError) -> None:
        """Why the store's own state is not read yet, for those who ask for what needs it."""
        self._trouble = trouble

    def doubt(self, component: str) -> None:
        """Somebody could not read a component, of which this copy knows nothing wrong: everything is read again soon, so that
        it is marked. At most once a minute for each.
        """
        now_s = self._monotonic()
        is_known = component not in self._state.components or component in self._state.damaged
        if is_known or now_s - self._doubted.get(component, -math.inf) < _DOUBT_S:
            return
        self._doubted[component] = now_s
        self._is_in_doubt = True

    # How it keeps up.

    def subscribe(self, listener: Listener) -> None:
        """From now on tells it of every change."""
        self._listeners.append(listener)

    async def require_succession(self, epoch: str, age_s: float) -> None:
        """Raises an error where the present state is not what comes after that of another epoch, of which a caller has one that
        the store confirmed `age_s` ago: StoreResetError where nobody has adopted the present epoch since, NoSnapshotError where
        this copy is behind.
        """
        head = await self._read_head()
        if head.epoch != self._state.epoch:
            raise NoSnapshotError("This server is about to follow another epoch. Try again in a moment.")
        if not _is_adopted_since(head, age_s):
            raise StoreResetError(
                f"This launcher's versions are of another store (epoch {epoch}) than this server's ({head.epoch}), which "
                f"nobody has adopted: it was emptied or replaced. The launcher keeps its versions. "
                f"{ways_on(self._store.adopt_command)}"
            )

    async def has_lost(self, entry_id: str) -> bool:
        """Whether the store has lost an entry of the feed. Raises StoreUnavailableError, StoreResetError."""
        await self._read_head()
        return await self._store.has_lost(entry_id)

    def expect(self) -> None:
        """A change of this server's own is on its way to the store, and will be offered."""
        self._wrote_s = self._monotonic()

    def offer(self, entry: FeedEntry, after: Rollout | Absent | None = None) -> None:
        """Applies an entry that this server has written, where it is the next one; else the feed brings it. `after` is the
        component after it, where it is known: it need not be worked out again.
        """
        if entry.previous_id == self._state.entry_id:
            self._try_apply(entry, after)

    async def require_state(self, *, timeout_s: float = 1.0) -> None:
        """Waits for a state that a write may rest on. Raises NoSnapshotError where it does not come in time, StoreResetError."""
        if isinstance(self._trouble, StoreResetError) and not self.loaded.is_set():
            raise self._trouble
        if not self._writable.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._writable.wait()
        self.require_writable()

    def require_writable(self) -> None:
        """Raises NoSnapshotError where there is no state yet that a write may rest on, or no longer."""
        if not self.loaded.is_set():
            raise self._no_state_yet()
        if not self._writable.is_set():
            raise NoSnapshotError("The store has a new epoch, and the server is reading it. Try again in a moment.")

    async def read_again(self) -> None:
        """Reads everything again: the store has lost what is known here. Raises StoreUnavailableError, StoreResetError."""
        begun = self._readings
        head = await self._read_head()
        async with self._reading:
            # One that began meanwhile, for somebody else, has read what this one would.
            if self._read <= begun:
                await self._read_all(head)

    async def require_history(self, components: Iterable[str]) -> None:
        """Reads everything again where the store has lost what is known here of one of them. What is damaged keeps its last
        good state, which the store need not have. Raises StoreUnavailableError, StoreResetError.
        """
        present = (self.get(component) for component in components)
        entries = {
            known.rollout.component: known.rollout.entry
            for known in present
            if known and known.rollout.entry and known.damaged_since_s is None
        }
        if entries and await self._store.missing_entries(entries):
            await self.read_again()

    async def catch_up(self, *, timeout_s: float = 1.0) -> bool:
        """Whether this copy gets, in time, to where the store stands now. Raises StoreUnavailableError, StoreResetError."""
        head = await self._read_head()
        return head.epoch == self._state.epoch and await self.wait_for_entry(head.entry_id, timeout_s=timeout_s)

    async def wait_for(self, component: str, revision: int, *, timeout_s: float = 1.0) -> bool:
        """Whether the component gets to `revision` in time. One that is not there has not."""
        return await self._wait_until(lambda: self._has(component, revision), timeout_s)

    async def wait_for_entry(self, entry_id: str, *, timeout_s: float = 1.0) -> bool:
        """Whether this copy gets to an entry of the feed in time. What the feed does not bring at once is fetched: the
        connection that follows it may hang while all others work.
        """
        wanted = entry_order(entry_id)

        def is_there() -> bool:
            return entry_order(self._state.entry_id) >= wanted

        if await self._wait_until(is_there, _FEED_S):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s - _FEED_S):
                with contextlib.suppress(RampdError):
                    await self._fetch(is_there)
                await self._wait_until(is_there, timeout_s)
        return is_there()

    async def _fetch(self, is_there: Callable[[], bool]) -> None:
        """Applies what the store has and this copy lacks, as far as it follows on."""
        while not is_there():
            entries = await self._store.feed(self._state.entry_id, block_ms=0)
            if not entries or not await self._apply_all(entries):
                return

    async def _wait_until(self, is_there: Callable[[], bool], timeout_s: float) -> bool:
        if is_there():
            return True
        self._is_wanted.set()
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
        return known is not None and known.rollout.revision >= revision and not known.rollout.has_lost(revision)

    async def run(self) -> None:
        """Follows the feed for ever; whatever goes wrong with the store is waited out, and logged as an outage."""
        while True:
            try:
                await self._follow()
            except RampdError as error:
                self._trouble = error
                self._outage.tell(error.message)
            except Exception as error:  # noqa: BLE001 - what is in memory goes on, stale, and the log says why
                self._trouble = NoSnapshotError("A defect of rampd, which the server's log has.")
                self._outage.tell(self._trouble.message, exc_info=error)
            await asyncio.sleep(_RETRY_S * _chance.uniform(0.5, 1.5))

    async def _follow(self) -> None:
        # At once, so that a link that was lost for a moment is no outage.
        await self._check_head()
        while True:
            read_from = max(self._state.entry_id, self._strays_end, key=entry_order)
            entries = await self._store.feed(read_from, block_ms=int(_HEAD_CHECK_S * 1000))
            if self._monotonic() - self._wrote_s < _OWN_WRITE_S:
                # What comes is most likely this server's own change, which `offer` brings at less cost.
                await self._rest()
            if self._is_in_doubt:
                await self._reload(await self._read_head())
            elif not await self._apply_all(entries):
                head = await self._read_head()
                if self._is_in_doubt or head.epoch != self._state.epoch or head.entry_id != self._state.entry_id:
                    if not self._is_in_doubt:
                        log.warning("feed_gap", after=self._state.entry_id)
                    await self._reload(head)
                else:
                    self._pass_by(entries)
            if not entries or self.age_s >= _HEAD_CHECK_S:
                await self._check_head()

    async def _rest(self) -> None:
        """Leaves the feed alone for a moment, unless somebody waits for an entry."""
        self._is_wanted.clear()
        if self._waiters:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OWN_WRITE_S):
                await self._is_wanted.wait()

    async def _check_head(self) -> None:
        """Confirms that this copy has what the store's feed has up to its end, in the same epoch."""
        here = self._state.entry_id
        head = await self._read_head()
        read_s = self._monotonic()
        if head.epoch != self._state.epoch or self._is_in_doubt or await self._is_repaired():
            return await self._reload(head)
        # While the store answered, this server's own changes may have come: a copy ahead of its answer is no sign.
        is_forked = entry_order(head.entry_id) < entry_order(here)
        while not is_forked and entry_order(head.entry_id) > entry_order(self._state.entry_id):
            entries = await self._store.feed(self._state.entry_id, block_ms=0)
            is_forked = not entries or not await self._apply_all(entries)
        if self._is_in_doubt:
            return await self._reload(head)
        if is_forked:
            log.warning(
                "feed_forked",
                here=self._state.entry_id,
                store=head.entry_id,
                what_it_means="the store does not have the last changes that this server has seen: a failover to a replica "
                "that was behind, or an older copy of its data",
                what_to_do="look at the lines writes_lost and freeze_lost, here or in another server's log: they say what was "
                "lost",
            )
            return await self._reload(head)
        return self._confirm(read_s)

    def _pass_by(self, entries: Iterable[FeedEntry]) -> None:
        """Reads on behind entries that no script wrote: a script moves the end that the head names together with the feed."""
        for entry in entries:
            if entry_order(entry.id) > entry_order(self._state.entry_id):
                log_stray(entry)
                self._strays_end = entry.id

    async def _is_repaired(self) -> bool:
        """Whether a damaged component can be read again, or is gone. Looks every few seconds."""
        if not self._state.damaged or self._monotonic() - self._damage_checked_s < _DAMAGE_CHECK_S:
            return False
        self._damage_checked_s = self._monotonic()
        for name in list(self._state.damaged):
            try:
                await load(self._store, name)
                await self._store.events(name, limit=1)
            except Exception as error:  # noqa: BLE001 - one component is not to stop the others
                damage = damage_of(name, error)
                self._state.damaged[name] = replace(self._state.damaged[name], error=damage)
                self._damage.tell(name, error=damage.message)
            else:
                return True
        return False

    async def _read_head(self) -> Head:
        """Where the store stands, and what time it is there: the clock is taken while the answer is new."""
        head = await self._store.head()
        self.require_known(head)
        if head is None:
            raise StoreResetError(f"The store has no epoch: it was emptied. {ways_on(self._store.adopt_command)}")
        self._store_ahead_ms = head.time_ms - self._monotonic() * 1000
        return head

    def _may_follow(self, head: Head) -> bool:
        """Whether the store is the one that this server knows, or the operator adopted it instead of that one.

        An adopt is about this change if it came after the store had last confirmed the state: one of before was about
        another change, of a store that now stands in the place of ours. What is compared is how long ago both were, each by
        one clock, since two stores' clocks differ. Where a clock was set in between, the next adopt is followed.
        """
        if self._state.epoch == head.epoch:
            return True
        return _is_adopted_since(head, max(0.0, self._wall_clock() - self._confirmed_wall_s()))

    def _confirm(self, read_s: float) -> None:
        """The copy has all that the store had at `read_s`, by the monotonic clock."""
        self._outage.end()
        self._trouble = None
        self._confirmed_s = read_s

    async def _reload(self, head: Head) -> None:
        """Reads everything, then what changed meanwhile, and swaps it in as one."""
        async with self._reading:
            await self._read_all(head)

    async def _read_all(self, head: Head) -> None:
        started = self._monotonic()
        self._readings += 1
        reading = self._readings
        if head.epoch != self._state.epoch:
            self._writable.clear()
        self._store.set_epoch(head.epoch)
        begun = Reading(
            self._store,
            self._state,
            self._recent,
            read_head=self._read_head,
            now_ms=self.now_ms,
            confirmed_s=lambda: self._monotonic() if self._confirmed_s is None else self._confirmed_s,
        )
        state = await begun.whole(head)
        self._state, self.went_back, self._strays_end = state, begun.went_back, begun.strays_end
        # The feed was read to its end just now, however long the rest has taken.
        read_s = self._monotonic()
        self._damage_checked_s = self._monotonic()
        self._tell_damage()
        if self._confirmed_s is None:
            # A server that has a state answers from it, whatever else fails.
            self._confirmed_s = read_s
        self.answers.set()
        self.loaded.set()
        self._writable.set()
        self._wake()
        # Until every listener has heard of it, the copy is in doubt, and not confirmed.
        self._is_in_doubt = True
        self._tell_reloaded()
        self._is_in_doubt = False
        self._read = reading
        self._confirm(read_s)
        log.info("replica_loaded", components=len(state.components), seconds=round(self._monotonic() - started, 3))

    def _tell_damage(self) -> None:
        for name, damage in self._state.damaged.items():
            self._damage.tell(name, error=damage.error.message)
        for (name,) in self._damage.away:
            if name not in self._state.damaged:
                self._damage.end(name)

    def _tell_reloaded(self) -> None:
        """Tells all listeners, those after one that fails as well. Raises what the first of these has raised."""
        failed: list[Exception] = []
        for listener in self._listeners:
            try:
                listener.reloaded()
            except Exception as error:  # noqa: BLE001 - raised below
                failed.append(error)
        if failed:
            raise failed[0]

    async def _apply_all(self, entries: Iterable[FeedEntry]) -> bool:
        """Whether all entries fit; those that `offer` has applied already do. So do those between two that follow on each
        other: no script wrote them.
        """
        strays: list[FeedEntry] = []
        for entry in entries:
            if entry_order(entry.id) <= entry_order(self._state.entry_id):
                continue
            if entry.previous_id != self._state.entry_id:
                strays.append(entry)
                continue
            self._pass_by(strays)
            strays.clear()
            if not self._try_apply(entry):
                return False
            # An entry may have a thousand overrides, and Resolve is not to wait for many of them.
            await asyncio.sleep(0)
        return not strays

    def _try_apply(self, entry: FeedEntry, after: Rollout | Absent | None = None) -> bool:
        """Whether an entry, and every listener, was taken in whole. Otherwise the copy is in doubt until it is read again."""
        if self._is_in_doubt:
            return False
        here = self._state.entry_id
        try:
            self._apply(entry, after)
            self._recent.append(Seen(entry.component, entry.revision, entry.id))
        except Exception as error:
            log.warning("feed_entry_not_applied", entry=entry.id, component=entry.component, exc_info=error)
            self._state.entry_id = here
            self._is_in_doubt = True
            return False
        return True

    def _apply(self, entry: FeedEntry, after: Rollout | Absent | None = None) -> None:
        before = self._snapshot(entry.component)
        if entry.component in self._state.damaged:
            self._apply_to_damaged(entry, after)
        else:
            apply(self._state, entry, self._store, after)
        for listener in self._listeners:
            listener.applied(entry, before, self._snapshot(entry.component))
        self._wake()

    def _apply_to_damaged(self, entry: FeedEntry, after: Rollout | Absent | None) -> None:
        """The last good state follows as far as it can, so that a rollback of it counts; it is read again soon."""
        self._damage_checked_s = -math.inf
        if entry.is_deletion:
            del self._state.damaged[entry.component]
            self._damage.end(entry.component)
            self._state.components.pop(entry.component, None)
        elif entry.component in self._state.components:
            with contextlib.suppress(StoreCorruptError):
                apply(self._state, entry, self._store, after)
        self._state.entry_id = entry.id

    def _snapshot(self, component: str) -> ComponentSnapshot | None:
        known = self._state.components.get(component)
        return None if known is None else known.snapshot

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


def _is_adopted_since(head: Head, age_s: float) -> bool:
    """Whether the store's epoch was adopted after a state that was confirmed `age_s` ago."""
    return head.adopted_ms is not None and 0 <= head.time_ms - head.adopted_ms <= (age_s + _ANSWER_S) * 1000
