"""The application of the HTTP port: puts the routes together, behind what every request passes."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.types import ASGIApp

from rampd_server.http import health, ofrep
from rampd_server.http.guard import Guard
from rampd_server.http.health import Health
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.door import Door


@dataclass(frozen=True)
class Parts:
    """What the routes need of a server."""

    handlers: Handlers
    """The same methods as over gRPC."""
    door: Door
    """What is asked of a caller."""
    replica: Replica
    health: Health
    is_local: bool
    """Whether the address is on the loopback, and whoever can reach it needs no credential."""

    def stop(self) -> None:
        """Refuses what comes from now on."""
        self.health.is_stopping = True
        self.handlers.hold()
        self.handlers.refuse()


def application(parts: Parts) -> ASGIApp:
    """The application."""
    routes = [*health.routes(parts.health), *ofrep.routes(parts.handlers, parts.door, parts.replica)]
    return Guard(Starlette(routes=routes), parts.health, is_local=parts.is_local)
