"""The page of one component while somebody looks: draws its sections again."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

from google.rpc import code_pb2

from rampd._standing.clock import Clock
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.figure import figure
from rampd_server.page.component.known import Known
from rampd_server.page.component.reading import ComponentReading
from rampd_server.page.component.sections import SECTIONS, section
from rampd_server.page.component.view import View, view
from rampd_server.page.live import Patch
from rampd_server.page.turns import in_turns
from rampd_server.page.verbs import May
from rampd_server.rpc.call_error import CallError

WHOLE = "component"
"""The id of the element that has all sections."""


async def shown(known: Known, asked: Asked, clock: Clock, may: May) -> View:
    """Returns what the page shows. Other tasks have a turn after the charts, which may take some milliseconds."""
    charts = figure(known, asked, clock) if known.rollout.HasField("current") else None
    await asyncio.sleep(0)
    return view(known, charts, asked, clock, may)


class ComponentLive:
    """Draws the sections of one component. What is the same as before is not sent."""

    def __init__(self, reading: ComponentReading, component: str, asked: Asked, may: May) -> None:
        self._reading = reading
        self._component = component
        self._asked = asked
        self._may = may
        self._known: Known | None = None

    async def draw(self, changed: Collection[str] | None) -> list[Patch]:
        """Draws everything; if nothing has changed, from less that is read. Raises CallError."""
        now = datetime.now(UTC)
        try:
            self._known = await self._reading.read(now, None if changed else self._known)
        except CallError as error:
            if error.status.code != code_pb2.NOT_FOUND:
                raise
            return [Patch(WHOLE, section("gone", component=self._component))]
        found = await shown(self._known, self._asked, Clock.of_page(now), self._may)
        return [Patch(name, section(name, view=found, asked=self._asked)) async for name in in_turns(SECTIONS, 1)]
