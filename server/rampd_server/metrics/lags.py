"""How late things are: a change of the feed, and the event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.errors import RampdError
from rampd_server.metrics.counting import Histogram
from rampd_server.ports import FeedEntry, entry_order
from rampd_server.replica.replica import Replica

_EVERY_S: Final = 0.2


class FeedLag:
    """The time from the commit of a change until the copy has it. A change that comes with a reading of everything does not count."""

    def __init__(self, replica: Replica) -> None:
        self.seconds = Histogram()
        self._replica = replica
        replica.subscribe(self)

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """The copy has a change now."""
        try:
            now_ms = self._replica.now_ms()
        except RampdError:
            return
        self.seconds.observe(max(0, now_ms - entry_order(entry.id)[0]) / 1000)

    def reloaded(self) -> None:
        """Nothing to count."""


class LoopLag:
    """By how much a timer of the event loop is late."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = Histogram()
        self._clock = clock

    async def run(self) -> None:
        """Measures for ever."""
        while True:
            due_s = self._clock() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self.seconds.observe(max(0.0, self._clock() - due_s))
