"""Changes that time causes: freezes end, queue heads start, expired overrides are swept, ended trials are forgotten."""

import asyncio
from collections.abc import Awaitable
from typing import NamedTuple

import structlog

from rampd_server.domain.errors import RampdError, StoreResetError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Trial, trial_of
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import OutcomeStore, Store
from rampd_server.process.outage import Outages
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service

_LOOK_S = 0.5
_SWEEP_S = 60.0

log = structlog.get_logger()


class _Seen(NamedTuple):
    """The trial and the last release number of a component when its counts were last tidied."""

    trial: Trial
    last_number: int


class Caretaker:
    """Runs in every server. If two servers do the same at once, compare-and-set lets only one of them succeed."""

    def __init__(self, service: Service, replica: Replica, store: Store, outcomes: OutcomeStore) -> None:
        self._service = service
        self._replica = replica
        self._store = store
        self._outcomes = outcomes
        self._seen: dict[str, _Seen] = {}
        self._troubles = Outages("caretaker_failed", "caretaker_works", ("component", "work"))

    async def run(self) -> None:
        """Looks at regular intervals, for ever. Work that fails is tried again at the next look."""
        await self._replica.loaded.wait()
        looks = 0
        while True:
            # While the store is away nothing can be done, and the replica logs the outage.
            if self._replica.is_confirmed:
                try:
                    await self._look(is_sweep=looks % int(_SWEEP_S / _LOOK_S) == 0)
                except RampdError as error:
                    log.debug("caretaker_waits", error=error.message)
                except Exception:
                    log.exception("caretaker_defect")
            looks += 1
            await asyncio.sleep(_LOOK_S)

    async def _look(self, *, is_sweep: bool) -> None:
        await self._service.expire_freeze_all()
        await self._settle()
        await self.forget_ended_trials()
        if is_sweep:
            await self.sweep()
        for component, work in self._troubles.away:
            if component not in self._seen and self._replica.get(component) is None:
                self._troubles.end(component, work)

    async def _settle(self) -> None:
        left = await self._service.settle_all()
        for component, error in left.items():
            self._troubles.tell(component, "settle", error=error)
        for component, work in self._troubles.away:
            if work == "settle" and component not in left:
                self._troubles.end(component, work)

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

    async def forget_ended_trials(self) -> None:
        """Drops the counts of ended trials, of forgotten releases and of deleted components."""
        present = {known.rollout.component: known.rollout for known in self._replica.components()}
        for component, seen in list(self._seen.items()):
            if component not in present:
                await self._by_itself(component, "forget", self._forget_gone(component, seen))
        for component, rollout in present.items():
            await self._by_itself(component, "forget", self._forget_of(rollout))

    async def _forget_gone(self, component: str, seen: _Seen) -> None:
        # The component was deleted at a later revision than the last one that this server has seen.
        await self._outcomes.forget_outcomes(component, Trial(0, 0, seen.trial.revision + 1))
        del self._seen[component]

    async def _forget_of(self, rollout: Rollout) -> None:
        # rampd forgets an old release only when a new one is made, so `last_number` shows whether there is work.
        component = rollout.component
        now, before = _Seen(trial_of(rollout), rollout.last_number), self._seen.get(component)
        if before is None or before.trial[:2] != now.trial[:2] or before.last_number != now.last_number:
            await self._outcomes.forget_outcomes(
                component, now.trial, last_number=now.last_number, releases=rollout.releases
            )
        self._seen[component] = now

    async def sweep(self) -> None:
        """Removes overrides from the store that expired long ago. The feed tells every server."""
        for known in self._replica.components():
            if not len(known.overrides):
                continue
            component = known.rollout.component
            await self._by_itself(component, "sweep", self._sweep(component))

    async def _sweep(self, component: str) -> None:
        while await self._store.sweep_overrides(component):
            pass
