"""Changes that time causes: freezes end, queue heads start, expired overrides are swept, ended trials are forgotten."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from random import SystemRandom
from typing import NamedTuple

import structlog

from rampd._decision.resolution import ComponentSnapshot, Overrides
from rampd_server.domain.errors import RampdError, ShardUnavailableError, StoreResetError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Trial, trial_of
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import FeedEntry, OutcomeStore, Store
from rampd_server.process.outage import Outages
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service

_LOOK_S = 0.5
_SWEEP_S = 3600.0
"""How often memory is searched for expired overrides. The store sweeps those that expired long ago."""
_PIECE = 10_000
"""So many overrides are searched before other tasks get their turn."""
_COMPONENTS = 100
"""So many components are looked at before that."""
_AT_ONCE = 2
"""How many components are tidied in one look that were there before the start: most of them have nothing to forget."""

_chance = SystemRandom()

log = structlog.get_logger()


class _Seen(NamedTuple):
    """The trial and the last release number of a component when its counts were last tidied."""

    trial: Trial
    last_number: int

    def is_as_tidy_as(self, now: "_Seen") -> bool:
        """Whether nothing is to be dropped since. rampd forgets an old release only when a new one is made."""
        return self.trial[:2] == now.trial[:2] and self.last_number == now.last_number


class Caretaker:
    """Runs in every server. If two servers do the same at once, compare-and-set lets only one of them succeed.

    A component costs something only after it has changed, and when its freeze ends.
    """

    def __init__(self, service: Service, replica: Replica, store: Store, outcomes: OutcomeStore) -> None:
        self._service = service
        self._replica = replica
        self._store = store
        self._outcomes = outcomes
        self._unsettled: set[str] = set()
        """The components that may have to be settled."""
        self._freezes: list[tuple[int, str]] = []
        """When the freezes of components end, by the store's clock: a heap. A freeze that was changed since stays in it."""
        self._frozen: dict[str, int] = {}
        """The last of these times that came into the heap, for each component."""
        self._seen: dict[str, _Seen] = {}
        self._untidy: dict[str, None] = {}
        """The components whose counts are to be tidied now, in order."""
        self._old: set[str] = set()
        """The components whose counts may have been left untidy before this server started."""
        self._troubles = Outages("caretaker_failed", "caretaker_works", ("component", "work"))
        for _ in self.reloaded():
            pass
        replica.subscribe(self)

    async def run(self) -> None:
        """Looks at regular intervals, for ever. Work that fails is tried again at the next look."""
        await self._replica.loaded.wait()
        looks = 0
        # Servers that were started together do not sweep together.
        sweeps_at = _chance.randrange(int(_SWEEP_S / _LOOK_S))
        while True:
            # While the store is away nothing can be done, and the replica logs the outage.
            if self._replica.is_confirmed:
                try:
                    await self._look(is_sweep=looks == 0 or looks % int(_SWEEP_S / _LOOK_S) == sweeps_at)
                except RampdError as error:
                    log.debug("caretaker_waits", error=error.message)
                except Exception:
                    log.exception("caretaker_defect")
                looks += 1
            await asyncio.sleep(_LOOK_S)

    async def _look(self, *, is_sweep: bool) -> None:
        await self._service.expire_freeze_all()
        await self._settle()
        await self._forget()
        if is_sweep:
            await self.sweep()
        for component, work in self._troubles.away:
            if component not in self._seen and self._replica.get(component) is None:
                self._troubles.end(component, work)

    async def _settle(self) -> None:
        now_ms = self._replica.now_ms()
        while self._freezes and self._freezes[0][0] <= now_ms:
            expire_ms, component = heapq.heappop(self._freezes)
            if self._frozen.get(component) == expire_ms:
                del self._frozen[component]
            self._unsettled.add(component)
        async for component in _in_pieces(self._unsettled):
            if not self._service.is_unsettled(component):
                self._unsettled.discard(component)
                self._wait_for_freeze(component)
        left = await self._service.settle_all(sorted(self._unsettled)) if self._unsettled else {}
        for component, error in left.items():
            self._troubles.tell(component, "settle", error=error)
        for component, work in self._troubles.away:
            if work == "settle" and component not in left:
                self._troubles.end(component, work)

    def _wait_for_freeze(self, component: str) -> None:
        known = self._replica.get(component)
        freeze = None if known is None else known.rollout.freeze
        if freeze is not None and freeze.expire_ms is not None and self._frozen.get(component) != freeze.expire_ms:
            self._frozen[component] = freeze.expire_ms
            heapq.heappush(self._freezes, (freeze.expire_ms, component))

    async def _by_itself(self, component: str, name: str, work: Awaitable[None]) -> None:
        """Waits for the work on one component. If the work fails, the log says so, and the other components go on."""
        try:
            await work
        except (StoreUnavailableError, StoreResetError):
            raise
        except RampdError as error:
            self._troubles.tell(component, name, error=error.message)
        except Exception as error:  # noqa: BLE001 - one component must not stop the others
            self._troubles.tell(component, name, error="A defect of rampd.", exc_info=error)
        else:
            self._troubles.end(component, name)

    async def _forget(self) -> None:
        """Drops the counts of ended trials, of forgotten releases and of deleted components."""
        for _ in range(min(_AT_ONCE, len(self._old))):
            self._untidy[self._old.pop()] = None
        async for component in _in_pieces(self._untidy):
            known = self._replica.get(component)
            try:
                if known is not None:
                    await self._by_itself(component, "forget", self._forget_of(known.rollout))
                elif component in self._seen:
                    await self._by_itself(component, "forget", self._forget_gone(component))
                else:
                    self._untidy.pop(component, None)
            except ShardUnavailableError:
                # A call of a shard that is away may take a second. So all others, and freezes, have their turn before the next one.
                self._untidy.pop(component, None)
                self._untidy[component] = None
                break

    async def _forget_gone(self, component: str) -> None:
        # The component was deleted at a later revision than the last one that this server has seen.
        await self._outcomes.forget_outcomes(component, Trial(0, 0, self._seen[component].trial.revision + 1))
        del self._seen[component]

    async def _forget_of(self, rollout: Rollout) -> None:
        component = rollout.component
        now, before = _seen(rollout), self._seen.get(component)
        if before is None or not before.is_as_tidy_as(now):
            await self._outcomes.forget_outcomes(
                component, now.trial, last_number=now.last_number, releases=rollout.releases
            )
        else:
            # The component may have changed while the store was asked, so it is looked at once more after that.
            self._untidy.pop(component, None)
        self._seen[component] = now

    async def sweep(self) -> None:
        """Removes overrides from the store that expired long ago. The feed tells every server."""
        for known in self._replica.components():
            if len(known.overrides) and await self._has_expired(known.overrides):
                component = known.rollout.component
                await self._by_itself(component, "sweep", self._sweep(component))

    async def _has_expired(self, overrides: Overrides) -> bool:
        now_ms = self._replica.now_ms()
        choices = [*overrides.by_prefix.values(), *overrides.by_repo.values()]
        for first in range(0, len(choices), _PIECE):
            piece = choices[first : first + _PIECE]
            if any(choice.expire_ms is not None and choice.expire_ms <= now_ms for choice in piece):
                return True
            await asyncio.sleep(0)
        return False

    async def _sweep(self, component: str) -> None:
        while await self._store.sweep_overrides(component):
            pass

    # Called by the replica.

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """A component or the namespace's freeze changed."""
        if not entry.component:
            self._unsettled.update(known.rollout.component for known in self._replica.components())
        elif not entry.is_of_overrides_only:
            self._unsettled.add(entry.component)
            self._untidy[entry.component] = None

    def reloaded(self) -> Iterator[None]:
        """Anything may have changed."""
        self._untidy |= dict.fromkeys(self._seen)
        for known in self._replica.components():
            component = known.rollout.component
            self._unsettled.add(component)
            if component not in self._seen:
                self._find(known.rollout)
            yield

    def _find(self, rollout: Rollout) -> None:
        """Takes in a component that is not known yet."""
        is_gone = self._replica.get(rollout.component) is None
        if is_gone:
            # It was deleted since everything was read.
            self._untidy[rollout.component] = None
        if is_gone or rollout.next is not None:
            # The next outcome of a rollout under way drops the counts of earlier trials.
            self._seen[rollout.component] = _seen(rollout)
        else:
            self._old.add(rollout.component)


def _seen(rollout: Rollout) -> _Seen:
    return _Seen(trial_of(rollout), rollout.last_number)


async def _in_pieces(components: Iterable[str]) -> AsyncIterator[str]:
    """Yields each component. After a reading of everything these are all, and calls must not wait for all of them."""
    for place, component in enumerate(list(components), 1):
        yield component
        if place % _COMPONENTS == 0:
            await asyncio.sleep(0)
