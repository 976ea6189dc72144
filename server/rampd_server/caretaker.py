"""What time alone brings about: freezes end, heads start, expired overrides are swept, ended trials are forgotten."""

import asyncio

import structlog

from rampd_server.domain.admission import Trial, trial_of
from rampd_server.domain.errors import RampdError
from rampd_server.ports import Store
from rampd_server.replica import Replica
from rampd_server.service import Service

_LOOK_S = 0.5
_SWEEP_S = 60.0
_NEVER = Trial(0, 0, 0)

log = structlog.get_logger()


class Caretaker:
    """Runs in every server: what two do at once, compare-and-set lets one do."""

    def __init__(self, service: Service, replica: Replica, store: Store) -> None:
        self._service = service
        self._replica = replica
        self._store = store
        self._trials: dict[str, Trial] = {}

    async def run(self) -> None:
        """Looks again and again, for ever; what fails is tried again at the next look."""
        await self._replica.loaded.wait()
        looks = 0
        while True:
            # While the store is away the replica says so, and nothing can be done.
            if self._replica.is_confirmed:
                try:
                    await self._look(is_sweep=looks % int(_SWEEP_S / _LOOK_S) == 0)
                except RampdError as error:
                    log.debug("caretaker_waits", error=error.message)
            looks += 1
            await asyncio.sleep(_LOOK_S)

    async def _look(self, *, is_sweep: bool) -> None:
        await self._service.expire_freeze_all()
        await self._service.settle_all()
        await self.forget_ended_trials()
        if is_sweep:
            await self.sweep()

    async def forget_ended_trials(self) -> None:
        """Drops what was counted for trials that are over, and for components that are gone."""
        present = {known.rollout.component: trial_of(known.rollout) for known in self._replica.components()}
        for component, seen in list(self._trials.items()):
            if component not in present:
                # It went at a later revision than the last that was seen here.
                await self._store.forget_outcomes(component, Trial(0, 0, seen.revision + 1))
                del self._trials[component]
        for component, trial in present.items():
            seen = self._trials.get(component, _NEVER)
            if (seen.release, seen.number) != (trial.release, trial.number):
                await self._store.forget_outcomes(component, trial)
            self._trials[component] = trial

    async def sweep(self) -> None:
        """Removes expired overrides from the store; the feed tells every server."""
        for known in self._replica.components():
            if not len(known.overrides):
                continue
            while await self._store.sweep_overrides(known.rollout.component):
                pass
