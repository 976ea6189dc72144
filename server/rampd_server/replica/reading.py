"""Reads everything that the store has into a new state, and finds what the store has lost. The new state replaces the
served one.

During the reading the served state goes on: this server's own changes are applied to it. A component that the store has
in the served state is kept, and not read again: after a failover, most are.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import structlog

from rampd._decision.resolution import Overrides
from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import (
    SELF,
    Anchor,
    Author,
    ConflictError,
    FeedEntry,
    Head,
    Namespace,
    StateMark,
    Store,
    Stored,
    entry_order,
)
from rampd_server.process.long_work import in_pieces
from rampd_server.replica.damage import Damage, damage_of
from rampd_server.replica.losses import OwnChange, Seen, settle_loss
from rampd_server.replica.projection import choice_of, snapshot_of
from rampd_server.replica.state import Component, State, apply

log = structlog.get_logger()


class Reading:
    """One reading of everything. `served` is the state that is served during the reading, `recent` are its last
    changes.
    """

    def __init__(
        self,
        store: Store,
        served: State,
        recent: Iterable[Seen],
        *,
        read_head: Callable[[], Awaitable[Head]],
        now_ms: Callable[[], int],
        confirmed_s: Callable[[], float],
        own: Mapping[str, OwnChange] = MappingProxyType({}),
        keeps: bool = False,
        count_loss: Callable[[str, int], None] = lambda _component, _revisions: None,
    ) -> None:
        """`own`: this server's own changes that the served state does not have. `keeps`: whether to keep components that the store has
        in the served state. Not if that state may be wrong. `count_loss` is told of each component how many of its revisions are lost.
        """
        self._store = store
        self._served = served
        self._recent = recent
        self._own = own
        self._read_head = read_head
        self._now_ms = now_ms
        self._confirmed_s = confirmed_s
        self._keeps = keeps
        self._count_loss = count_loss
        self.kept: list[str] = []
        """The components that were not read."""
        self.strays_end = ""
        """After the state's last entry, the feed has only entries that rampd did not write, up to this one."""
        self.went_back = False
        """Whether the store has lost changes that the served state has."""
        self.settled: list[OwnChange] = []
        """Of this server's own changes that the served state does not have, those that the new state has, or whose loss is recorded."""
        self._seen: dict[str, set[str]] = {}
        """Of each component, the entries up to which parts of it were read."""
        self.newest: Anchor | None = None
        """The last change of a component; None if none is known."""
        self._newest = (0, 0)
        """The order of its entry."""

    async def whole(self, head: Head) -> State:
        """Returns the state that the store has, from `head` to the end of the feed. After its last look at the served
        state it awaits nothing, so that the caller can replace the served state.

        Raises StoreUnavailableError if the store goes back to an older state during the reading; StoreResetError.
        """
        state = State(head.epoch, head.entry_id, head.namespace)
        # Somebody may have deleted the feed alone.
        is_there = bool(head.entry_id) and not await self._store.has_lost(head.entry_id)
        last = ""
        while names := await self._store.components(after=last, limit=1000):
            kept = await self._kept(names) if self._keeps else {}
            state.components |= kept
            self.kept += kept
            for known in kept.values():
                self._note(known.rollout)
            await self._load_into(state, *(name for name in names if name not in kept))
            last = names[-1]
        self.strays_end = await self._catch_up_to_head(state, state.entry_id)
        await self._require_one_history(state, head)
        await self._settle_losses(state)
        await self._settle_own(state)
        while True:
            self.went_back = await self._goes_back_to(state)
            if self.went_back:
                await self._freeze_again(state, self._served.namespace)
            self.strays_end = await self._catch_up_to_head(state, self.strays_end)
            if is_there and await self._store.has_lost(head.entry_id):
                # Some parts may be of the state before, and others of the state after.
                raise _put_back()
            # Changes that other tasks have written and applied during the reading are in the feed, or lost by now.
            if self.went_back or not self._lacks(state):
                break
        self._require_no_step_back(state)
        return state

    async def _require_one_history(self, state: State, head: Head) -> None:
        """Raises StoreUnavailableError if the store has lost, during the reading, changes that were read at its
        beginning.
        """
        begin = entry_order(head.entry_id)
        newer = [
            (name, entry)
            async for name, component in in_pieces(state.components.items())
            if name not in state.damaged
            for entry in {component.rollout.entry, *self._seen.get(name, ())}
            if entry and entry_order(entry) > begin
        ]
        if newer and await self._store.missing_entries(newer):
            raise _put_back()

    async def _settle_losses(self, state: State) -> None:
        """Finds the changes that the store has lost, and commits the consequences.

        This happens before any caller is served the older state, so that a version that was rolled back is not given
        out again.
        """
        known = {
            name: component.rollout.entry
            async for name, component in in_pieces(list(self._served.components.items()))
            if component.rollout.entry and not _has_entry(state.components.get(name), component.rollout.entry)
        }
        gone = self._served.gone
        known |= {name: absent.entry for name, absent in gone.items() if name not in known and absent.entry}
        lost = await self._store.missing_entries(known.items()) if known else frozenset()
        lost |= await self._gone_back(state, lost)
        is_same_epoch = state.epoch == self._served.epoch
        for name in sorted(lost - state.damaged.keys()):
            if not is_same_epoch and name not in state.components:
                # An operator has adopted a store without this component, so the component may begin again.
                continue
            present = self._served.components.get(name)
            await self._settle_loss(state, present.rollout if present else gone[name])
        state.gone = {name: absent for name, absent in gone.items() if name not in state.components}
        for absent in state.gone.values():
            self._note(absent)

    async def _settle_loss(self, state: State, known: Rollout | Absent) -> None:
        name, is_same_epoch = known.component, state.epoch == self._served.epoch
        seen = [each for each in self._recent if each.component == name]
        try:
            revisions = await settle_loss(self._store, known, seen, protects=is_same_epoch, now_ms=self._now_ms())
            if revisions:
                self._count_loss(name, revisions)
        except Exception as error:  # noqa: BLE001 - one component must not stop the others
            self._mark_damaged(state, name, error)

    async def _settle_own(self, state: State) -> None:
        """Does the same for changes that this server has made, and that the store has lost before this copy had them."""
        for name, own in list(self._own.items()):
            if state.epoch == self._served.epoch and await self._store.has_lost(own.entry):
                if own.namespace is not None:
                    await self._freeze_again(state, own.namespace)
                elif own.after is not None and name not in state.damaged:
                    await self._settle_loss(state, own.after)
            self.settled.append(own)

    async def _gone_back(self, state: State, lost: Collection[str]) -> set[str]:
        """Returns the components that the store has in an older state although their history has the newer one, or
        can't be read. Somebody has put back a part of their data.
        """
        found = set()
        async for name, component in in_pieces(state.components.items()):
            before = self._served.components.get(name)
            if before is None or name in lost or name in state.damaged or _follows(component.rollout, before.rollout):
                continue
            # The served state may have changed while the other components were read.
            known = before.rollout
            try:
                stored = (await self._store.read(name)).rollout
            except StoreCorruptError as error:
                self._mark_damaged(state, name, error)
                continue
            if isinstance(stored, Rollout) and not _follows(stored, known):
                found.add(name)
        return found

    def _require_no_step_back(self, state: State) -> None:
        """Raises StoreUnavailableError if a component would go back to a revision that this copy has seen: the store
        has lost, during the reading, the record of a loss. Remembers the components that are missing now.
        """
        if state.epoch != self._served.epoch:
            return
        for name, before in self._served.components.items():
            after = state.components.get(name)
            if after is None:
                state.gone.setdefault(name, _absent(before.rollout))
            elif name not in state.damaged and not _follows(after.rollout, before.rollout):
                raise _put_back()

    async def _freeze_again(self, state: State, known: Namespace) -> None:
        """Makes a lost freeze of the namespace again, so that nothing starts that somebody has stopped."""
        freeze = known.freeze
        if freeze is None or not freeze.is_in_force(self._now_ms()) or not freeze.outlasts(state.namespace.freeze):
            return
        note = f"the store has lost the freeze of everything by {freeze.actor}, which is made again"
        author = Author(SELF, "RecordLoss", note, is_claimed=False)
        with contextlib.suppress(ConflictError):
            await self._store.commit_namespace(state.namespace, replace(state.namespace, freeze=freeze), author)
            log.error(
                "freeze_lost",
                actor=freeze.actor,
                note=freeze.note,
                what_it_means="the store has lost a freeze of everything, which is made again",
                what_to_do="type UnfreezeAll if the freeze is no longer needed",
            )

    def _lacks(self, state: State) -> bool:
        """Whether the state being read, of the same epoch, ends before the served state."""
        is_same_epoch = state.epoch == self._served.epoch
        return is_same_epoch and entry_order(state.entry_id) < entry_order(self._served.entry_id)

    async def _goes_back_to(self, state: State) -> bool:
        """Whether the store, in the same epoch, has lost changes that the served state has."""
        here = self._served.entry_id
        if not here or state.epoch != self._served.epoch or here == state.entry_id:
            return False
        return await self._store.has_lost(here)

    async def _catch_up_to_head(self, state: State, read_from: str) -> str:
        """Applies the changes that were committed during the reading, and returns the last entry that it read. No
        script wrote entries that come after the last entry of the head, or that do not follow the one before. Raises
        StoreUnavailableError if an entry is missing.
        """
        while entries := await self._store.feed(read_from, block_ms=0):
            # The head is read after the entries, so that every entry that a script wrote is at or before the head's
            # last entry.
            head = await self._read_head()
            for entry in entries:
                if entry.previous_id == state.entry_id and entry_order(entry.id) <= entry_order(head.entry_id):
                    await self._take_into(state, entry)
                else:
                    log_stray(entry)
                await asyncio.sleep(0)
            read_from = entries[-1].id
            if entry_order(state.entry_id) < entry_order(head.entry_id) <= entry_order(read_from):
                raise StoreUnavailableError(
                    f"The store changed while this server read everything: no entry follows {state.entry_id}, but the store "
                    f"is at {head.entry_id}. The server reads the store again; try again in a moment."
                )
        return read_from

    async def _take_into(self, state: State, entry: FeedEntry) -> None:
        if entry.component and (entry.component not in state.components or entry.component in state.damaged):
            # The component was created after the names were listed, perhaps after a deletion; or it is damaged.
            await self._load_into(state, entry.component)
        else:
            try:
                apply(state, entry, self._store)
            except Exception as error:  # noqa: BLE001 - the component is read again below, with the entry
                log.warning("feed_entry_not_applied", entry=entry.id, component=entry.component, error=str(error))
                await self._load_into(state, entry.component)
        state.entry_id = entry.id
        if (known := state.known(entry.component)) is not None:
            self._note(known)

    def _note(self, known: Rollout | Absent) -> None:
        """Notes the change that has brought a component where it is, if it is the newest one."""
        if known.entry and (order := entry_order(known.entry)) > self._newest:
            self._newest, self.newest = order, Anchor(known.component, known.entry)

    async def _kept(self, names: Sequence[str]) -> dict[str, Component]:
        """Returns those of the components that the store has in the served state: an entry names one state. The served ones may
        change during the reading, so these are copies.
        """
        kept = {}
        for name, mark in zip(names, await self._store.marks(names), strict=True):
            served = self._served.components.get(name)
            if served and served.damaged_since_s is None and mark.entry and mark == mark_of(served):
                kept[name] = replace(served, overrides=served.overrides.copy())
        return kept

    async def _load_into(self, state: State, *names: str) -> None:
        """Reads components. One that is damaged keeps its last good state, and the others are not affected."""
        async with contextlib.aclosing(self._store.read_many(names)) as read:
            async for name, found in read:
                state.damaged.pop(name, None)
                seen = self._seen[name] = set()
                try:
                    component = await with_overrides(self._store, found, seen)
                except Exception as error:  # noqa: BLE001 - one component must not stop the others
                    self._mark_damaged(state, name, error)
                    continue
                if component is None:
                    state.components.pop(name, None)
                else:
                    state.components[name] = component
                    self._note(component.rollout)

    def _mark_damaged(self, state: State, name: str, error: Exception) -> None:
        """Marks a component as damaged. It keeps its last good state, if there is one. Raises the error if the store
        fails.
        """
        damage = Damage(damage_of(name, error), self._damaged_since_s(name))
        state.damaged[name] = damage
        component = self._served.components.get(name) or state.components.get(name)
        if component is not None:
            component.damaged_since_s = damage.since_s
            state.components[name] = component

    def _damaged_since_s(self, name: str) -> float:
        known = self._served.damaged.get(name)
        return self._confirmed_s() if known is None else known.since_s


async def with_overrides(store: Store, stored: Stored | Exception, seen: set[str]) -> Component | None:
    """Returns a component that was read, together with its overrides; None if there is no such component. Raises the error that
    came in place of a component.

    Adds to `seen` the component's last entry at each read. The parts belong together only if the store has all of these
    entries later: one that was lost in between may have set an override that was read.
    """
    if isinstance(stored, Exception):
        raise stored
    rollout = stored.rollout
    if isinstance(rollout, Absent):
        return None
    seen.add(rollout.entry)
    overrides = Overrides()
    if stored.has_overrides:
        async for piece in store.walk_overrides(rollout.component):
            seen.add(piece.entry)
            for repo, override in piece.overrides.items():
                overrides.set(repo, choice_of(override))
    return Component(rollout, snapshot_of(rollout), overrides)


def mark_of(known: Component) -> StateMark:
    """Returns what tells the state of a component apart from others."""
    return StateMark(known.rollout.entry, str(len(known.overrides)))


async def unlike(store: Store, names: Sequence[str], get: Callable[[str], Component | None]) -> AsyncGenerator[str]:
    """Yields those of the components that can't be read, or that the store has in another state than `get` gives, although both
    states have the same entry.

    Raises StoreUnavailableError, StoreResetError.
    """
    async with contextlib.aclosing(store.read_many(names)) as read:
        async for name, found in read:
            try:
                stored = await with_overrides(store, found, set())
            except Exception as error:  # noqa: BLE001 - one component must not stop the others
                damage_of(name, error)
                yield name
                continue
            here = get(name)
            if here is None or stored is None or here.rollout.entry != stored.rollout.entry:
                continue  # it has changed since
            if (here.rollout, len(here.overrides)) != (stored.rollout, len(stored.overrides)):
                yield name


def log_stray(entry: FeedEntry) -> None:
    """Logs that no script wrote a feed entry."""
    problem = entry.problem or "It does not follow the entry that the store names as its last one."
    log.warning("feed_entry_stray", entry=entry.id, problem=problem)


def _put_back() -> StoreUnavailableError:
    return StoreUnavailableError(
        "The store was put back to an older state while this server read it. The server reads it again."
    )


def _absent(known: Rollout) -> Absent:
    """Returns the record of a component that the store does not have any more."""
    return Absent(known.component, known.revision, known.last_number, known.entry, known.state_entry, known.quarantine)


def _follows(after: Rollout, before: Rollout) -> bool:
    is_same = after.revision == before.revision and after.entry == before.entry
    return is_same or after.revision > before.revision


def _has_entry(component: Component | None, entry_id: str) -> bool:
    return component is not None and component.rollout.entry == entry_id
