"""The page of one component while somebody looks: draws its sections again."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from google.rpc import code_pb2

from rampd._standing.clock import Clock
from rampd_server.http.context import CallError
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.known import Known
from rampd_server.page.component.reading import ComponentReading
from rampd_server.page.component.sections import SECTIONS, section
from rampd_server.page.component.view import view
from rampd_server.page.live import Patch
from rampd_server.page.turns import in_turns

WHOLE = "component"
"""The id of the element that has all sections."""


class ComponentLive:
    """Draws the sections of one component. What is the same as before is not sent."""

    def __init__(self, reading: ComponentReading, component: str, asked: Asked, may: Mapping[str, bool]) -> None:
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
        found = view(self._known, self._asked, Clock(now, is_utc=True), self._may)
        return [Patch(name, section(name, view=found, asked=self._asked)) async for name in in_turns(SECTIONS, 1)]
