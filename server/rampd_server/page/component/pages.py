"""The addresses of one component."""

from typing import TYPE_CHECKING

from starlette.responses import Response

from rampd_server.page.component.asked import Asked
from rampd_server.page.component.live import WHOLE, ComponentLive, shown
from rampd_server.page.component.reading import ComponentReading
from rampd_server.page.component.sections import SECTIONS
from rampd_server.page.live import Live

if TYPE_CHECKING:
    from rampd_server.page.routes import Visit

PATH = "/components/{component}"


async def show(visit: "Visit") -> Response:
    """Shows the component. Raises CallError."""
    cursor, asked = visit.cursor, _asked(visit)
    known = await _reading(visit, asked).read(visit.now)
    found = await shown(known, asked, visit.clock, visit.may)
    return await visit.page(
        "component.html",
        view=found,
        icon=found.head.icon,
        asked=asked,
        sections=SECTIONS,
        whole=WHOLE,
        stream=f"/components/{_name(visit)}/live{asked.link()}",
        cursor=cursor,
    )


async def follow(visit: "Visit") -> Response:
    """Follows the component while somebody looks."""
    asked, name = _asked(visit), _name(visit)
    drawing = ComponentLive(_reading(visit, asked), name, asked, visit.may)
    # No element stands for the whole component where Watch says that it is gone: the next drawing says so.
    return Live(visit.person, visit.asked_cursor, drawing.draw, lambda _component: WHOLE, (name,)).response()


def _name(visit: "Visit") -> str:
    return str(visit.request.path_params["component"])


def _asked(visit: "Visit") -> Asked:
    return Asked.of(visit.request.query_params)


def _reading(visit: "Visit", asked: Asked) -> ComponentReading:
    served = visit.served
    return ComponentReading(
        visit.person, _name(visit), asked, replica=served.replica, samples=served.samples, seen=served.seen
    )
