"""Hears of the outcomes that any server has counted, by the marks in the store.

The server that counts outcomes looks at them at once. All servers look a moment later, because that server may have died.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog

from rampd_server.domain.automation.clock import Look
from rampd_server.domain.errors import RampdError
from rampd_server.ports import MarkStore
from rampd_server.replica.replica import Replica
from rampd_server.service.announced import Announced
from rampd_server.service.marking import COVERS_S

_READ_S: Final = 1.0
_COUNTED_S: Final = COVERS_S + 1.0
"""After this time everything that a mark stands for is counted: the last count begins when the mark ends, and takes at most a second."""
_AT_LATEST_S: Final = 30.0
"""The longest time without a look at a component that is marked again and again. The servers that mark it look at once."""
_MARGIN_MS: Final = 1_000
"""How far this server's idea of the store's time may be off."""

log = structlog.get_logger()


class _Due(NamedTuple):
    """The look that is due at a marked component."""

    due_s: float
    latest_s: float


class Marks:
    """Reads the marks. `counted` announces a component once its outcomes are counted."""

    def __init__(self, store: MarkStore, replica: Replica, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._replica = replica
        self._monotonic = monotonic
        self._read: Look | None = None
        """When the marks were read last, by both clocks."""
        self._known: Mapping[str, float] = {}
        """What was read last."""
        self._looks: dict[str, _Due] = {}
        self.counted = Announced()

    async def run(self) -> None:
        """Reads the marks for ever. A reading that fails is tried again, and misses nothing."""
        await self._replica.loaded.wait()
        while True:
            if self._replica.is_confirmed:
                try:
                    await self.read()
                except RampdError as error:
                    log.debug("marks_wait", error=error.message)
                except Exception:
                    log.exception("marks_failed")
            await asyncio.sleep(_READ_S)

    async def read(self) -> None:
        """Reads the marks since the last reading, and announces the components that are due. Raises the errors of the store."""
        now_ms, now_s = self._replica.now_ms(), self._monotonic()
        marked = await self._store.marked(self._since_ms(now_ms, now_s))
        for component, marked_ms in marked.items():
            if self._known.get(component) != marked_ms:
                self._plan(component, now_s)
        self._known, self._read = marked, Look(now_ms, round(now_s * 1000))
        for component in [name for name, look in self._looks.items() if look.due_s <= now_s]:
            del self._looks[component]
            self.counted.announce(component)

    def _since_ms(self, now_ms: int, now_s: float) -> int:
        if self._read is None:
            # What is counted after the start may stand under a mark from before it.
            return now_ms - _MARGIN_MS - round(_COUNTED_S * 1000)
        # If the store's clock was set since, marks may have the time of before or of after that.
        passed_ms = round(now_s * 1000) - self._read.monotonic_ms
        return min(self._read.store_ms, now_ms - passed_ms) - _MARGIN_MS

    def _plan(self, component: str, now_s: float) -> None:
        known = self._looks.get(component)
        latest_s = now_s + _AT_LATEST_S if known is None else known.latest_s
        self._looks[component] = _Due(min(now_s + _COUNTED_S, latest_s), latest_s)
