"""The services that every server of gRPC has beside those of rampd: health and reflection."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from rampd_server.domain.errors import NoSnapshotError
from rampd_server.rpc.binding import SERVICES
from rampd_server.rpc.call import Context
from rampd_server.rpc.error_status import abort
from rampd_server.rpc.reflection import WrittenFiles
from rampd_server.rpc.streams import Streams

MAX_HEALTH_STREAMS = 1_000
"""The number of streams of health's Watch. Nobody has to prove anything for them, so they have places of their own."""
MAX_REFLECTION_STREAMS = 100
"""The number of streams of reflection, for which nobody has to prove anything either. grpcurl has one for a moment."""

_NAMES = tuple(service.full_name for service in SERVICES.values())
_RESOLVER = SERVICES["ResolverService"].full_name
_COMPONENTS = "rampd.v1.components"
"""A name for health alone. It has no names of components, because health answers everybody."""
_HEALTH_NAMES = ("", *_NAMES, _COMPONENTS)
_Status = health_pb2.HealthCheckResponse


class TakesHandlers(Protocol):
    """What generated code adds the handlers of a service to."""

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler], /) -> None:
        """Takes handlers that are found by the name of a method."""

    def add_registered_method_handlers(
        self, service: str, handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]", /
    ) -> None:
        """Takes the same handlers by their names. Newer code calls both."""


class _Health(health.HealthServicer):  # type: ignore[misc]  # it has no types
    """Adds `List`, which gRPC's servicer for asyncio lacks at least up to 1.85, and a limit for `Watch`.

    Nobody waits for a watcher that does not read. gRPC's servicer holds a lock while it writes to a watcher, and sets a status under
    the same lock: one watcher could keep the health as it is, and the server from its end.
    """

    def __init__(self, streams: Streams) -> None:
        super().__init__()
        self._streams = streams
        self._changed = asyncio.Event()
        """Set at the next change. Then another one takes its place."""

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802 - as gRPC names it
        try:
            with self._streams.one_more():
                await self._tell(request.service, context)
        except NoSnapshotError as error:
            await abort(context, error)

    async def _tell(self, service: str, context: Context) -> None:
        told = None
        while True:
            changed = self._changed
            status = self._server_status.get(service, _Status.SERVICE_UNKNOWN)
            if status != told:
                await context.write(_Status(status=status))
                told = status
            await changed.wait()

    async def _set(self, service: str, status: int) -> None:
        self._server_status[service] = status
        self._changed.set()
        self._changed = asyncio.Event()

    async def List(self, _request: object, context: object) -> object:  # noqa: N802 - as gRPC names it
        statuses = {
            name: await self.Check(health_pb2.HealthCheckRequest(service=name), context) for name in _HEALTH_NAMES
        }
        return health_pb2.HealthListResponse(statuses=statuses)


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # it has no types
    """Adds a limit."""

    def __init__(self, names: Sequence[str], streams: Streams) -> None:
        super().__init__(names, pool=WrittenFiles())
        self._streams = streams

    async def ServerReflectionInfo(self, requests: object, context: Context) -> AsyncGenerator[object]:  # noqa: N802 - as gRPC names it
        try:
            with self._streams.one_more():
                async for response in super().ServerReflectionInfo(requests, context):
                    yield response
        except NoSnapshotError as error:
            await abort(context, error)


class StandardServices:
    """Health, and reflection if `reflect`, of one server. Health says NOT_SERVING until `set_health` changes it."""

    def __init__(self, *, reflect: bool) -> None:
        self._health = _Health(Streams(MAX_HEALTH_STREAMS))
        names = (*_NAMES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        self._reflection = _Reflection(names, Streams(MAX_REFLECTION_STREAMS)) if reflect else None

    def add_to(self, server: TakesHandlers) -> None:
        """Adds the handlers of both to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._reflection is not None:
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(self._reflection, server)

    async def set_health(self, *, resolves: bool, writes: bool, damaged: bool = False) -> None:
        """Sets the answers of the health service. ResolverService is SERVING while there is a state to answer from. The
        other services, and the server as a whole, are SERVING while changes can be expected to work.
        `rampd.v1.components` is SERVING while there is a state and no component of it is damaged.
        """
        serving = {_RESOLVER: resolves, _COMPONENTS: resolves and not damaged}
        for name in _HEALTH_NAMES:
            is_serving = serving.get(name, writes)
            await self._health.set(name, _Status.SERVING if is_serving else _Status.NOT_SERVING)

    async def stop(self) -> None:
        """Sets NOT_SERVING for good."""
        await self._health.enter_graceful_shutdown()
