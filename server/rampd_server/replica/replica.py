"""The in-memory copy of the store that Resolve reads, and how it is kept fresh.

For each component it holds an immutable snapshot, swapped by reference, and one dict of overrides that only the event
loop writes, key by key. Entries of the feed are applied strictly in order. Each entry names the one before it, so that
a gap or a fork shows. After a gap or a fork everything is read again, also if an entry can't be applied, or a listener
fails.

A damaged component does not affect the others. It keeps the last state that was read of it, or has no state, and is
read again every few seconds.

A server that starts may begin with the state that it served last (`recall`). It answers from that state until it has
read the store. It does not follow a store that has another epoch or none, unless an operator has adopted that store.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from random import SystemRandom
from typing import Protocol

import structlog

from rampd._decision.resolution import ComponentSnapshot, Overrides
from rampd._decision.staleness import is_stale
from rampd_server.domain.automation.clock import Look
from rampd_server.domain.errors import (
    NoSnapshotError,
    RampdError,
    StoreCorruptError,
    StoreResetError,
    ways_on,
)
from rampd_server.domain.refusals import component_not_found
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
from rampd_server.process.long_work import in_pieces
from rampd_server.process.outage import Outage, Outages
from rampd_server.replica.damage import Damage, damage_of
from rampd_server.replica.losses import OwnChange, Seen
from rampd_server.replica.older_copy import MAX_LOSS_S, OlderCopy
from rampd_server.replica.projection import choice_of, snapshot_of
from rampd_server.replica.reading import Reading, log_stray, unlike, with_overrides
from rampd_server.replica.state import Component, State, apply
from rampd_server.replica.store_clock import StoreClock

_LOST_AFTER_S = 1.5
"""The copy counts as not confirmed after every look at the store has failed for this time. It is longer than a look
that times out, so that one slow look does not count.
"""
_HEAD_CHECK_S = 1.0
_RETRY_S = 0.25
_ANSWER_S = 2.0
"""An upper limit for the time from the store's look at its clock until its answer is here."""
_DAMAGE_CHECK_S = 5.0
"""How often damaged components are read again: somebody may have repaired them."""
_DOUBT_S = 60.0
_OWN_WRITE_S = 0.01
_RECENT = 4096
"""How many of the last entries are kept, to find out which revisions a store has lost."""
_FEED_S = 0.05
"""How long a caller waits for the feed to bring an entry before the entry is fetched."""

_CLOCK_TOLERANCE_S = 2.0
_UNKNOWN_AGE_S = 1e9
"""The age of a state whose age is not known: over thirty years, and short enough for every message."""

_NOTHING = OwnChange("", None, None)

_chance = SystemRandom()

log = structlog.get_logger()


class Listener(Protocol):
    """Is called for every change of what Resolve reads, on the event loop, in order."""

    def applied(self, entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """An entry was applied. `before` and `after` are its component; None if there is no component then."""

    def reloaded(self) -> Iterable[None] | None:
        """Everything was read again. What takes long where there are many components is left to the iterator, which does a piece of it
        for each item. Other tasks have their turn between two pieces, and `applied` may be called.
        """


class Replica:
    """The copy. `run` keeps it fresh until cancelled. All other methods are for callers on the same event loop."""

    def __init__(
        self,
        store: Store,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        count_error: Callable[[RampdError], None] = lambda _error: None,
        max_loss_s: float = MAX_LOSS_S,
        growing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`count_error` is told what keeps the copy from following the store. A change that the store had for `max_loss_s` is
        not lost by a failover. A reading of everything, which brings much into memory, runs within `growing`.
        """
        self._store = store
        self._growing = growing
        self._count_error = count_error
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._state = State()
        self._confirmed_s: float | None = None
        self._clock = StoreClock()
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
        """After the state's last entry, the feed has only entries that rampd did not write, up to this one."""
        self._doubted: dict[str, float] = {}
        self._suspects: set[str] = set()
        """Components that a caller could not read. The copy of all others is as good as before."""
        self._wrote_s = -math.inf
        self._is_wanted = asyncio.Event()
        self._reading = asyncio.Lock()
        self._readings = 0
        """The number of the last reading of everything that has begun. `_read` is the last one that has ended."""
        self._read = 0
        self._is_telling = False
        """Whether listeners are at work after a reading of everything. One of them may fail yet, so only the end of their work confirms."""
        self._writable = asyncio.Event()
        """Clear while a state of another epoch is being read, because a write must not depend on the old state."""
        self._recent: deque[Seen] = deque(maxlen=_RECENT)
        self._own: dict[str, OwnChange] = {}
        """By component, the last change that this server has made and that the copy does not have yet."""
        self._older_copy = OlderCopy(store, max_loss_s=max_loss_s)
        self._count_loss: Callable[[str, int], None] = lambda _component, _revisions: None
        self._lost: list[tuple[str, int]] = []
        """Losses that are recorded, and not counted yet."""
        self._unchecked: Sequence[str] = ()
        """Components of the last state that the start has kept, because the store names the same state."""
        self.went_back = False
        """Whether the store had lost changes that this copy knew, when everything was read the last time."""
        self.answers = asyncio.Event()
        """Set once there is a state to resolve from."""
        self.loaded = asyncio.Event()
        """Set once this process has read that state from the store."""

    # What Resolve reads.

    def get(self, component: str) -> Component | None:
        """A component; None if there is no such component."""
        return self._state.components.get(component)

    def components(self) -> Iterable[Component]:
        """All components, as they are now."""
        return list(self._state.components.values())

    def gone(self) -> Iterable[Absent]:
        """The components that were deleted last."""
        return list(self._state.gone.values())

    def last_known(self, component: str) -> Rollout | Absent | None:
        """A component as it is here, or as it was when it was deleted; None if it is not known or could not be read."""
        return self._state.known(component)

    @property
    def damaged(self) -> Mapping[str, Damage]:
        """The components that can't be read now, by name, for a report of this server's health."""
        return self._state.damaged

    def damage(self, component: str) -> StoreCorruptError | None:
        """Why a component could not be read; None if it is not damaged."""
        found = self._state.damaged.get(component)
        return None if found is None else found.error

    def why_unknown(self, component: str) -> RampdError:
        """Why this copy does not have a component: it is damaged, or there is none. The state that a server begins with is from before
        its start, so that it does not show what was made since.
        """
        if damage := self.damage(component):
            return damage
        if self.loaded.is_set():
            return component_not_found(component=component)
        return NoSnapshotError(
            f"{component} is not among what this server served before its start, and it has not read the store since. It may "
            "be a new component. Try again in a moment."
        )

    def age_of(self, known: Component, age_s: float) -> float:
        """Seconds since the store last confirmed a component. It is `age_s`, the age of the whole state, unless the
        component is damaged and therefore older.
        """
        if known.damaged_since_s is None:
            return age_s
        return max(age_s, self._monotonic() - known.damaged_since_s)

    @property
    def namespace(self) -> Namespace:
        """The state that all components share."""
        return self._state.namespace

    @property
    def age_s(self) -> float:
        """Seconds since the store last confirmed the state. Raises NoSnapshotError if there is no state."""
        if self._confirmed_s is None:
            raise self._no_state_yet()
        return self._monotonic() - self._confirmed_s

    @property
    def is_confirmed(self) -> bool:
        """Whether the store confirms the state. Otherwise a write will most likely fail."""
        if not self.loaded.is_set() or self._is_in_doubt or is_stale(self.age_s):
            return False
        return (self._outage.lasts_s or 0.0) < _LOST_AFTER_S

    @property
    def trouble(self) -> RampdError | None:
        """What kept this copy from following the store, the last time that it tried; None if it follows."""
        return self._trouble

    def now_ms(self) -> int:
        """The store's clock, continued by the monotonic clock since it was last read. Raises NoSnapshotError before
        that.
        """
        ahead_ms = self._clock.ahead_ms
        if ahead_ms is None:
            raise self._no_state_yet()
        return int(self._monotonic() * 1000 + ahead_ms)

    def store_time_ms(self, monotonic_s: float) -> int:
        """The store's clock at a time of the monotonic clock. Raises NoSnapshotError as `now_ms`."""
        return self.now_ms() - round((self._monotonic() - monotonic_s) * 1000)

    def likely_ms(self) -> int:
        """`now_ms`. Before the store's clock is read, its likely time, for answers that are marked as stale."""
        if self._clock.ahead_ms is None and self._recalled_ahead_ms is not None:
            return int(self._monotonic() * 1000 + self._recalled_ahead_ms)
        return self.now_ms()

    @property
    def look(self) -> Look:
        """Both clocks at the moment when the store last confirmed the state. Raises NoSnapshotError."""
        ahead_ms = self._clock.ahead_ms
        if self._confirmed_s is None or ahead_ms is None or not self.loaded.is_set():
            raise self._no_state_yet()
        monotonic_ms = self._confirmed_s * 1000
        return Look(round(monotonic_ms + ahead_ms), round(monotonic_ms))

    @property
    def epoch(self) -> str:
        """The epoch of the state; empty before there is a state."""
        return self._state.epoch

    @property
    def entry_id(self) -> str:
        """The last feed entry that the state has."""
        return self._state.entry_id

    def _no_state_yet(self) -> RampdError:
        if isinstance(self._trouble, StoreResetError):
            return self._trouble
        trouble = self._trouble.message if self._trouble else "it waits for the store. Try again in a moment."
        return NoSnapshotError(f"The server has no state yet: {trouble}")

    # What a server served before it was started again.

    def recall(self, state: LastState) -> None:
        """Begins with the state that this server served last. Call it only before `run`.

        The age of the state counts by this machine's clock. The age is not known if somebody has set that clock back,
        or if the server did not end in order, because it may have served something newer. No caller gets next from a
        state of unknown age.
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
            # Of a million overrides, most are equal.
            different = {id(override): override for override in pinned.values()}
            choices = {number: choice_of(override) for number, override in different.items()}
            overrides.set_all((repo, choices[id(override)]) for repo, override in pinned.items())
            components[rollout.component] = Component(rollout, snapshot_of(rollout), overrides)
        gone = {absent.component: absent for absent in state.gone}
        self._state = State(about.epoch, about.entry_id, about.namespace, components, gone)
        self._store.set_epoch(about.epoch)
        self._older_copy.begin(about.anchor, None)
        # Resolve reads this state, but no entry is applied to it before the store is read.
        self._is_in_doubt = True
        try:
            self._tell_recalled()
        except Exception:
            # The listeners are called again once the store is read. Until then this server can answer.
            log.exception("recalled_state_not_told")
        self.answers.set()

    def last_served(self, *, is_last: bool) -> LastServed:
        """What to keep for the next start, without the components. Raises NoSnapshotError."""
        wall_s = self._wall_clock()
        return LastServed(
            epoch=self._state.epoch,
            entry_id=self._state.entry_id,
            confirmed_s=wall_s - self.age_s,
            clock_ahead_ms=self.now_ms() - wall_s * 1000,
            namespace=self._state.namespace,
            is_last=is_last,
            anchor=self._older_copy.anchor,
        )

    def require_known(self, head: Head | None) -> None:
        """Raises StoreResetError if a store with this head is not the store of the state, and nobody has adopted it."""
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

    async def require_same_copy(self, head: Head) -> None:
        """Raises StoreResetError if a store with this head has an older copy of its data, which no failover explains.
        StoreUnavailableError.
        """
        if head.epoch == self._state.epoch:
            await self._older_copy.require_none(head.epoch)
        self._older_copy.refusal = None

    def _confirmed_wall_s(self) -> float:
        if self._recalled is not None and not self.loaded.is_set():
            return self._recalled.confirmed_s
        return self._wall_clock() - self.age_s

    def note(self, trouble: RampdError) -> None:
        """Records why the store is not read yet, for the errors of calls that need its state."""
        self._count_error(trouble)
        self._trouble = trouble

    def doubt(self, component: str) -> None:
        """Has everything read again soon because a caller could not read a component that this copy has as sound. The
        reading then marks the component as damaged. At most once a minute for each component. Until then the copy goes
        on as before: it takes this server's own changes, and the store confirms it.
        """
        now_s = self._monotonic()
        is_known = component not in self._state.components or component in self._state.damaged
        if is_known or now_s - self._doubted.get(component, -math.inf) < _DOUBT_S:
            return
        self._doubted[component] = now_s
        self._suspects.add(component)

    # How it keeps up.

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener` after every change."""
        self._listeners.append(listener)

    def count_losses(self, count: Callable[[str, int], None]) -> None:
        """Calls `count` for each loss that this server records, with the component and how many of its revisions are lost. By then the
        copy is as the store is.
        """
        self._count_loss = count

    async def require_succession(self, epoch: str, age_s: float) -> None:
        """Checks that a caller with a state of another epoch, confirmed by its store `age_s` ago, may take the present
        state.

        Raises StoreResetError if nobody has adopted the present epoch since then, NoSnapshotError if this copy is
        behind.
        """
        head = await self._read_head()
        if head.epoch != self._state.epoch:
            raise NoSnapshotError("This server is about to follow another epoch. Try again in a moment.")
        if not _is_adopted_since(head, age_s):
            raise StoreResetError(
                f"This launcher's versions are from another store (epoch {epoch}) than this server's (epoch {head.epoch}). "
                f"The store was emptied or replaced, and nobody has adopted it. The launcher keeps its versions. "
                f"{ways_on(self._store.adopt_command)}"
            )

    async def has_lost(self, entry_id: str) -> bool:
        """Whether the store has lost a feed entry. Raises StoreUnavailableError, StoreResetError."""
        if self._older_copy.refusal is not None:
            raise self._older_copy.refusal
        await self._read_head()
        return await self._store.has_lost(entry_id)

    def expect(self) -> None:
        """Announces that this server is sending a change to the store, and will call `offer` with it."""
        self._wrote_s = self._monotonic()

    def offer(self, entry: FeedEntry, after: Rollout | Absent | None = None) -> None:
        """Applies an entry that this server has written, if it is the next one. Otherwise the feed brings it, or the store loses it.
        `after` is the component after the entry, if the caller knows it, so that it is not computed again.
        """
        if entry.previous_id == self._state.entry_id and self._try_apply(entry, after):
            return
        known = self.last_known(entry.component)
        if (known is not None and known.entry == entry.id) or self._has_applied(entry.id):
            return
        if after is None and known is not None:
            after = replace(known, revision=entry.revision, entry=entry.id)
        own = OwnChange(entry.id, after, entry.namespace)
        before = self._own.get(entry.component)
        self._own[entry.component] = own if before is None else own.joined(before)

    def _has_applied(self, entry_id: str) -> bool:
        is_later = entry_order(entry_id) > entry_order(self._state.entry_id)
        return not is_later and any(seen.entry == entry_id for seen in reversed(self._recent))

    async def require_state(self, *, timeout_s: float = 1.0) -> None:
        """Waits for a state that a write may depend on. Raises NoSnapshotError if it does not come in time;
        StoreResetError.
        """
        if isinstance(self._trouble, StoreResetError) and not self.loaded.is_set():
            raise self._trouble
        if not self._writable.is_set() and self._older_copy.refusal is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._writable.wait()
        self.require_writable()

    def require_writable(self) -> None:
        """Raises NoSnapshotError if there is no state that a write may depend on."""
        if not self.loaded.is_set():
            raise self._no_state_yet()
        if self._older_copy.refusal is not None:
            raise self._older_copy.refusal
        if not self._writable.is_set():
            raise NoSnapshotError("The store has a new epoch, and the server is reading it. Try again in a moment.")

    async def read_again(self) -> None:
        """Reads everything again after the store has lost changes that this copy has. Raises StoreUnavailableError,
        StoreResetError.
        """
        begun = self._readings
        head = await self._read_head()
        async with self._reading:
            # A reading that began after this call, for another caller, has read all that this one would read.
            if self._read <= begun:
                await self._read_all(head)

    async def require_history(self, components: Iterable[str]) -> None:
        """Reads everything again if the store has lost a change that this copy has of one of the components. A damaged
        component keeps its last good state. The store may not have that state, so damaged components are not checked.
        Raises StoreUnavailableError, StoreResetError.
        """
        present = (self.get(component) for component in components)
        entries = {
            known.rollout.component: known.rollout.entry
            for known in present
            if known and known.rollout.entry and known.damaged_since_s is None
        }
        if entries and await self._store.missing_entries(entries.items()):
            await self.read_again()

    async def catch_up(self, *, timeout_s: float = 1.0, is_exact: bool = False) -> bool:
        """Whether this copy gets, in time, to the entry that is the store's last one now. With `is_exact` it must also be sound,
        and have nothing that the store has lost. Raises StoreUnavailableError, StoreResetError.
        """
        # Our own write may arrive while the head is being read.
        here = self._state.entry_id
        head = await self._read_head()
        if head.epoch != self._state.epoch:
            return False
        if is_exact and (self._is_in_doubt or entry_order(head.entry_id) < entry_order(here)):
            return False
        return await self.wait_for_entry(head.entry_id, timeout_s=timeout_s)

    async def wait_for(self, component: str, revision: int, *, timeout_s: float = 1.0) -> bool:
        """Whether the component gets to `revision` in time; False if it does not exist."""
        return await self._wait_until(lambda: self._has(component, revision), timeout_s)

    async def wait_for_entry(self, entry_id: str, *, timeout_s: float = 1.0) -> bool:
        """Whether this copy gets to a feed entry in time. Entries that the feed does not bring at once are fetched,
        because the connection that follows the feed may hang while all others work.
        """
        wanted = entry_order(entry_id)
        return await self._get_to(lambda: entry_order(self._state.entry_id) >= wanted, timeout_s)

    async def wait_for_change(
        self, entry_id: str, component: str = "", revision: int = 0, *, timeout_s: float = 1.0
    ) -> bool:
        """Whether this copy gets in time to an entry that the store has, and at which a component has `revision`. The order of the
        ids alone does not show it: what the store has lost may come after what it has written since. Then the copy is read again.
        """
        wanted = entry_order(entry_id)

        def is_there() -> bool:
            if entry_order(self._state.entry_id) < wanted or any(own.entry == entry_id for own in self._own.values()):
                return False
            known = self._state.components.get(component)
            return known is None or known.rollout.revision >= revision

        return await self._get_to(is_there, timeout_s, otherwise=self.read_again)

    async def _get_to(
        self, is_there: Callable[[], bool], timeout_s: float, *, otherwise: Callable[[], Awaitable[None]] | None = None
    ) -> bool:
        """`otherwise` is done if the entries of the feed do not follow what this copy has."""
        if await self._wait_until(is_there, _FEED_S):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s - _FEED_S):
                with contextlib.suppress(RampdError):
                    await self._fetch(is_there)
                    if otherwise is not None and not is_there():
                        await otherwise()
                await self._wait_until(is_there, timeout_s)
        return is_there()

    async def _fetch(self, is_there: Callable[[], bool]) -> None:
        """Applies the entries that this copy lacks, up to the first one that does not follow the one before it."""
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
        """Follows the feed for ever. After an error it tries again, and logs the error as an outage."""
        checking = asyncio.create_task(self._check_kept())
        try:
            while True:
                try:
                    await self._follow()
                except RampdError as error:
                    self.note(error)
                    self._outage.tell(error.message)
                except Exception as error:  # noqa: BLE001 - the copy still serves its state, which gets stale, and the log says why
                    self._trouble = NoSnapshotError("This is a defect of rampd. The server's log has the details.")
                    self._outage.tell(self._trouble.message, exc_info=error)
                await asyncio.sleep(_RETRY_S * _chance.uniform(0.5, 1.5))
        finally:
            checking.cancel()

    async def _check_kept(self) -> None:
        """After a start that has kept components of the last state, reads these once. A server that starts finds what a person
        has damaged or changed by hand, but its callers do not wait for this.
        """
        await self.loaded.wait()
        while self._unchecked:
            try:
                async for name in unlike(self._store, self._unchecked, self.get):
                    self.doubt(name)
                self._unchecked = ()
            except RampdError:
                # The store is away. `run` logs the outage.
                await asyncio.sleep(_HEAD_CHECK_S)
            except Exception:
                log.exception("kept_not_checked")
                return

    async def _follow(self) -> None:
        # At once, so that a link that was lost for a moment does not count as an outage.
        await self._check_head()
        while True:
            read_from = max(self._state.entry_id, self._strays_end, key=entry_order)
            entries = await self._store.feed(read_from, block_ms=int(_HEAD_CHECK_S * 1000))
            if self._monotonic() - self._wrote_s < _OWN_WRITE_S:
                # The next entry is most likely this server's own change, which `offer` applies at less cost.
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
        """Waits a moment before the feed is read again, unless a caller waits for an entry."""
        self._is_wanted.clear()
        if self._waiters:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OWN_WRITE_S):
                await self._is_wanted.wait()

    async def _check_head(self) -> None:
        """Confirms that this copy has all entries of the store's feed, in the same epoch."""
        here, own = self._state.entry_id, dict(self._own)
        head = await self._read_head()
        read_s = self._monotonic()
        # Without a state to write on, the last reading of another epoch has failed. The store may have the epoch of before again.
        must_reload = self._is_in_doubt or bool(self._suspects) or not self._writable.is_set()
        if head.epoch != self._state.epoch or must_reload or await self._is_repaired():
            return await self._reload(head)
        # Our own write may arrive while the head is being read, so `here`, from before that, is compared.
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
        if await self._has_lost_own(own):
            return await self._reload(head)
        if not self._is_telling:
            self._confirm(read_s)
        return None

    async def _has_lost_own(self, own: Mapping[str, OwnChange]) -> bool:
        """Whether the store has lost one of these changes of this server, after the copy has got to a newer head. It forgets those
        that a reading has brought.
        """
        for component, change in own.items():
            if self._own.get(component) is change:
                if await self._store.has_lost(change.entry):
                    return True
                del self._own[component]
                self._wake()
        return False

    def _pass_by(self, entries: Iterable[FeedEntry]) -> None:
        """Skips entries that no script wrote. A script that writes an entry also moves the last entry that the head
        names.
        """
        for entry in entries:
            if entry_order(entry.id) > entry_order(self._state.entry_id):
                log_stray(entry)
                self._strays_end = entry.id

    async def _is_repaired(self) -> bool:
        """Whether a damaged component can be read again, or was deleted. Looks every few seconds."""
        if not self._state.damaged or self._monotonic() - self._damage_checked_s < _DAMAGE_CHECK_S:
            return False
        self._damage_checked_s = self._monotonic()
        for name in list(self._state.damaged):
            try:
                await with_overrides(self._store, await self._store.read(name), set())
                await self._store.events(name, limit=1)
            except Exception as error:  # noqa: BLE001 - one component must not stop the others
                damage = damage_of(name, error)
                self._state.damaged[name] = replace(self._state.damaged[name], error=damage)
                self._damage.tell(name, error=damage.message)
            else:
                return True
        return False

    async def _read_head(self) -> Head:
        """Reads the head, and takes the store's time right after the answer, so that it is correct."""
        asked_s = self._monotonic()
        head = await self._store.head()
        self.require_known(head)
        if head is None:
            raise StoreResetError(f"The store has no epoch: it was emptied. {ways_on(self._store.adopt_command)}")
        self._clock.take(head.time_ms, asked_s, self._monotonic())
        return head

    def _may_follow(self, head: Head) -> bool:
        """Whether the store is the one that this server knows, or an operator has adopted it in place of that one.

        An adopt counts if it came after the store last confirmed the state. An earlier adopt was for another change, of
        a store that now stands in the place of ours. The clocks of two stores differ, so each of the two ages is
        measured by one clock, and the ages are compared. If somebody changed a clock in between, the next adopt counts.
        """
        if self._state.epoch == head.epoch:
            return True
        return _is_adopted_since(head, max(0.0, self._wall_clock() - self._confirmed_wall_s()))

    def _confirm(self, read_s: float) -> None:
        """Records that the copy has everything that the store had at `read_s`, by the monotonic clock."""
        self._outage.end()
        self._trouble = None
        self._confirmed_s = read_s
        self._older_copy.confirmed(read_s)

    async def _reload(self, head: Head) -> None:
        """Reads everything, then the changes since, and replaces the whole state at once."""
        async with self._reading:
            await self._read_all(head)

    async def _read_all(self, head: Head) -> None:
        try:
            await self.require_same_copy(head)
        except StoreResetError:
            self._writable.clear()
            raise
        with self._growing():
            before = self._state
            await self._replace_state(head)
            # Nobody has the state of before any more. To free it at once takes long.
            async for _ in in_pieces(_emptied(before.components)):
                pass

    async def _replace_state(self, head: Head) -> None:
        """Reads everything into a new state, and tells all listeners."""
        started = self._monotonic()
        self._readings += 1
        reading = self._readings
        suspects = frozenset(self._suspects)
        is_recalled = self._recalled is not None and not self.loaded.is_set()
        is_same_epoch = head.epoch == self._state.epoch
        if not is_same_epoch:
            self._writable.clear()
        self._store.set_epoch(head.epoch)
        begun = Reading(
            self._store,
            self._state,
            self._recent,
            read_head=self._read_head,
            now_ms=self.now_ms,
            confirmed_s=lambda: self._monotonic() if self._confirmed_s is None else self._confirmed_s,
            own=self._own,
            # No entry was applied to a state of the file, although it counts as in doubt.
            keeps=is_same_epoch and not suspects and (is_recalled or not self._is_in_doubt),
            count_loss=lambda *loss: self._lost.append(loss),
        )
        state = await begun.whole(head)
        self._unchecked = begun.kept if is_recalled else ()
        self._state, self.went_back, self._strays_end = state, begun.went_back, begun.strays_end
        self._own = {name: own for name, own in self._own.items() if own not in begun.settled}
        self._older_copy.begin(self._older_copy.anchor if is_same_epoch else None, begun.newest)
        # The feed was read to its end just now, however long the rest has taken.
        read_s = self._monotonic()
        self._damage_checked_s = self._monotonic()
        self._tell_damage()
        if not self.loaded.is_set():
            # Who waits for the first state goes on before all listeners have done their work, or if one fails. It is not as old as the
            # state from before the start.
            self._confirmed_s = read_s
        self.answers.set()
        self.loaded.set()
        self._writable.set()
        self._wake()
        left, failed = self._tell_reloaded()
        # If a listener fails, the copy is in doubt, and not confirmed, until everything is read again.
        self._is_in_doubt = bool(failed)
        pieces = _all_of(left, failed)
        self._is_telling = True
        try:
            async for _ in in_pieces(pieces):
                pass
        finally:
            # The caller for whom this is read may have gone. Then all that is left is done at once.
            for _ in pieces:
                pass
            self._is_telling = False
            self._is_in_doubt = self._is_in_doubt or bool(failed)
            if not failed:
                while self._lost:
                    self._count_loss(*self._lost.pop())
                self._read = reading
                self._suspects -= suspects
                self._confirm(read_s)
        if failed:
            # The traceback of an error leads back to here. In a ring, all that was read would wait for garbage collection.
            del failed[1:]
            raise failed.pop()
        log.info("replica_loaded", components=len(state.components), seconds=round(self._monotonic() - started, 3))

    def _tell_damage(self) -> None:
        for name, damage in self._state.damaged.items():
            self._damage.tell(name, error=damage.error.message)
        for (name,) in self._damage.away:
            if name not in self._state.damaged:
                self._damage.end(name)

    def _tell_reloaded(self) -> tuple[list[Iterable[None]], list[Exception]]:
        """Calls all listeners, even after one of them has failed. Returns what they have left to do, and the errors."""
        left: list[Iterable[None]] = []
        failed: list[Exception] = []
        for listener in self._listeners:
            try:
                left.append(listener.reloaded() or ())
            except Exception as error:  # noqa: BLE001 - the caller raises it
                failed.append(error)
        return left, failed

    def _tell_recalled(self) -> None:
        """Calls all listeners, and has them do everything at once: no caller waits yet. Raises the first error."""
        left, failed = self._tell_reloaded()
        for _ in _all_of(left, failed):
            pass
        if failed:
            raise failed[0]

    async def _apply_all(self, entries: Iterable[FeedEntry]) -> bool:
        """Applies entries, and returns whether all of them fit. Entries that `offer` has applied already fit. Entries
        between two consecutive ones fit, too: no script wrote them.
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
            # An entry may have a thousand overrides, and Resolve must not wait for many such entries.
            await asyncio.sleep(0)
        return not strays

    def _try_apply(self, entry: FeedEntry, after: Rollout | Absent | None = None) -> bool:
        """Whether an entry was applied and every listener succeeded. Otherwise the copy is in doubt until it is read
        again.
        """
        if self._is_in_doubt:
            return False
        here = self._state.entry_id
        try:
            self._apply(entry, after)
            self._recent.append(Seen(entry.component, entry.revision, entry.id))
            if self._own.get(entry.component, _NOTHING).entry == entry.id:
                del self._own[entry.component]
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
        self._older_copy.applied(entry)
        for listener in self._listeners:
            listener.applied(entry, before, self._snapshot(entry.component))
        self._wake()

    def _apply_to_damaged(self, entry: FeedEntry, after: Rollout | Absent | None) -> None:
        """Applies an entry to the last good state if possible, so that a rollback takes effect. The component is read
        again soon.
        """
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


def _all_of(left: Iterable[Iterable[None]], failed: list[Exception]) -> Iterator[None]:
    """Does what listeners have left to do, a piece for each item. One that fails adds its error to `failed`, and the others go on."""
    for pieces in left:
        try:
            yield from pieces
        except Exception as error:  # noqa: BLE001 - the caller raises it
            failed.append(error)


def _emptied(components: dict[str, Component]) -> Iterator[None]:
    while components:
        components.popitem()
        yield


def _is_adopted_since(head: Head, age_s: float) -> bool:
    """Whether the store's epoch was adopted after a state that was confirmed `age_s` ago."""
    return head.adopted_ms is not None and 0 <= head.time_ms - head.adopted_ms <= (age_s + _ANSWER_S) * 1000
