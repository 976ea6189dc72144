"""The application of the HTTP port: puts the routes together, behind what every request passes."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from rampd._contract.wording import one_line
from rampd_server.http import connect, health, metrics, ofrep, openapi
from rampd_server.http.guard import Guard, words_of
from rampd_server.http.health import Health
from rampd_server.metrics.collector import Scraped
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.door import Door

_KIND_OF_PAGES: Final = "text/html"


@dataclass(frozen=True)
class Pages:
    """What people see in a browser."""

    routes: Sequence[BaseRoute]
    not_there: Callable[[str, HTTPStatus], Awaitable[Response]]
    """Makes the answer to a browser that asked for what there is not. Its arguments: a sentence, and the status."""


@dataclass(frozen=True)
class Parts:
    """What the routes need of a server."""

    handlers: Handlers
    """The same methods as over gRPC."""
    door: Door
    """What is asked of a caller."""
    replica: Replica
    health: Health
    scraped: Scraped
    """What answers a scrape of metrics."""
    pages: Pages
    is_local: bool
    """Whether the address is on the loopback, and whoever can reach it needs no credential."""
    describes: bool = True
    """Whether the API is described to everybody."""

    def stop(self) -> None:
        """Refuses every request from now on."""
        self.health.is_stopping = True
        self.handlers.hold()
        self.handlers.refuse()


def application(parts: Parts) -> ASGIApp:
    """The application."""
    routes = [
        *health.routes(parts.health),
        *metrics.routes(parts.scraped, parts.door),
        *connect.routes(parts.handlers, parts.door),
        *ofrep.routes(parts.handlers, parts.door, parts.replica),
        *parts.pages.routes,
        *(openapi.routes() if parts.describes else []),
    ]
    for route in routes:
        if isinstance(route, Route):
            # Starlette's `$` also fits before a line feed at the end, and its `.` is no line feed.
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)

    async def not_there(request: Request, error: Exception) -> Response:
        parts.handlers.count(request.scope["path"], "UNIMPLEMENTED")
        return await _not_there(request, error, parts.pages)

    inner = Starlette(routes=routes, exception_handlers={404: not_there, 405: not_there, Exception: _leave_to_guard})
    inner.router.redirect_slashes = False
    return Guard(
        inner,
        parts.health,
        is_local=parts.is_local,
        takes_everybody=lambda: parts.door.without_credentials() is not None,
        count=parts.handlers.count,
    )


async def _leave_to_guard(_request: Request, error: Exception) -> Response:
    """Without this, a defect is answered with a text that is no JSON."""
    raise error


async def _not_there(request: Request, error: Exception, pages: Pages) -> Response:
    """For a path, or a method of HTTP, that there is not."""
    path, is_method = request.scope["path"], False
    if isinstance(error, HTTPException):
        is_method = error.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    what = (
        f"{one_line(path)} does not take {request.method}." if is_method else f"There is nothing at {one_line(path)}."
    )
    status = HTTPStatus.METHOD_NOT_ALLOWED if is_method else HTTPStatus.NOT_FOUND
    headers = error.headers if isinstance(error, HTTPException) else None
    if _KIND_OF_PAGES in request.headers.get("accept", ""):
        answer = await pages.not_there(what, status)
        answer.headers.update(headers or {})
        return answer
    then = "A call of the API is a POST." if is_method else "/openapi.json describes what there is."
    return JSONResponse(words_of(path, "unimplemented", f"{what} {then}"), status, headers)
