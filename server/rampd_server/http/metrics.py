"""`/metrics`, for Prometheus."""

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from rampd_server.domain.errors import NoSnapshotError
from rampd_server.http.call import caller_of, refuse
from rampd_server.http.errors import error_response
from rampd_server.metrics.collector import Scraped
from rampd_server.metrics.text import CONTENT_TYPE
from rampd_server.rpc.binding import PERMISSIONS
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door
from rampd_server.rpc.permissions import role_refusal

_READS: Final = PERMISSIONS["ListRollouts"]
"""Who may read rollouts may read metrics."""
_NOT_NOW: Final = NoSnapshotError(
    "The metrics of all workers can't be put together: the process that does it, or each worker, does not answer. Ask again in a "
    "moment."
)


def routes(scraped: Scraped, door: Door) -> list[BaseRoute]:
    """`/metrics`, for callers who may read."""

    async def metrics(request: Request) -> Response:
        try:
            caller = await caller_of(door, request)
            if not caller.grant.may(_READS.name, _READS.roles):
                await refuse(role_refusal(caller.grant, "read metrics", _READS.roles), request, caller)
            pieces = scraped.text(caller.grant.components)
            try:
                first = await anext(pieces)
            except (OSError, TimeoutError):
                # Of several workers, one asks for all. Its own metrics alone would make every counter go back.
                await refuse(_NOT_NOW, request, caller)
        except CallError as error:
            return error_response(error)
        return StreamingResponse(
            _all(first, pieces), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        )

    return [Route("/metrics", metrics)]


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
