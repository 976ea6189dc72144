"""What time alone brings about: freezes end, heads start, expired overrides are swept."""

import asyncio

import structlog

from rampd_server.domain.errors import RampdError
from rampd_server.ports import Store
from rampd_server.replica import Replica
from rampd_server.service import Service

_LOOK_S = 0.5
_SWEEP_S = 60.0

log = structlog.get_logger()


class Caretaker:
    """Runs in every server: what two do at once, compare-and-set lets one do."""

    def __init__(self, service: Service, replica: Replica, store: Store) -> None:
        self._service = service
        self._replica = replica
        self._store = store

    async def run(self) -> None:
        """Looks again and again, for ever; what fails is tried again at the next look."""
        await self._replica.loaded.wait()
        looks = 0
        while True:
            try:
                await self._service.expire_freeze_all()
                await self._service.settle_all()
                if looks % int(_SWEEP_S / _LOOK_S) == 0:
                    await self.sweep()
            except RampdError as error:
                log.debug("caretaker_waits", error=error.message)
            looks += 1
            await asyncio.sleep(_LOOK_S)

    async def sweep(self) -> None:
        """Removes expired overrides from the store; the feed tells every server."""
        for known in self._replica.components():
            while await self._store.sweep_overrides(known.rollout.component):
                pass
