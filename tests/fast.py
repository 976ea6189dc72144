"""A fast listener in the process of a test, with small servicers, and requests that no client of gRPC sends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from rampd import v1
from rampd_server.access.rpc_roles import Role
from rampd_server.fast.server import FastServer
from rampd_server.process.address import Address
from rampd_server.rpc.binding import Call, bind
from rampd_server.rpc.certificates import Certificates
from rampd_server.rpc.door import Door, local
from tests.servers import require

ANY_PORT = Address("127.0.0.1", 0)
RESOLVE, WATCH = "/rampd.v1.ResolverService/Resolve", "/rampd.v1.ResolverService/Watch"
GET_ROLLOUT = "/rampd.v1.RolloutService/GetRollout"
EMPTY = b"\0\0\0\0\0"
"""The frame of a message without fields."""


@dataclass
class Servicers:
    """Resolve answers at once, GetRollout waits, and Watch sends one message and waits."""

    calls: list[Call] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    answer: bytes = b""

    async def resolve(self, request: v1.ResolveRequest, call: Call) -> bytes:
        self.calls.append(call)
        return self.answer or v1.ResolveResponse(tag=str(len(request.job_id))).SerializeToString()

    async def get_rollout(self, request: v1.GetRolloutRequest, call: Call) -> v1.GetRolloutResponse:
        self.calls.append(call)
        await self._wait()
        return v1.GetRolloutResponse(rollout=v1.Rollout(component=request.component))

    async def watch(self, request: v1.WatchRequest, call: Call) -> AsyncGenerator[bytes]:
        self.calls.append(call)
        yield self.answer or v1.WatchResponse().SerializeToString()
        await self._wait()

    async def _wait(self) -> None:
        self.begun.set()
        try:
            await self.goes_on.wait()
        finally:
            self.ended.set()


@dataclass
class Fast:
    """A fast listener that serves."""

    server: FastServer
    address: Address
    servicers: Any
    """`Servicers`, or those of the test."""
    counted: list[tuple[str, str, str]]
    """The calls that ended before a handler had them: method, status, reason."""

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.address.port}"

    def channel(self, **options: Any) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self.target, options=[("grpc.use_local_subchannel_pool", 1)], **options)


@contextlib.asynccontextmanager
async def fast(
    door: Door | None = None,
    certificates: Certificates | None = None,
    servicers: Any = None,
    **options: Any,
) -> AsyncIterator[Fast]:
    """Serves until the end of the block."""
    servicers = servicers or Servicers()
    of_services = {"ResolverService": servicers, "RolloutService": servicers}
    handlers = bind(of_services, violations=lambda _: [], door=door or Door(local(Role.VIEWER)))
    server = FastServer(handlers, **options)
    counted: list[tuple[str, str, str]] = []
    handlers.count = lambda method, status, reason="": counted.append((method, status, reason))  # type: ignore[method-assign]
    address = server.listen(ANY_PORT, certificates)
    await server.start()
    await server.set_health(resolves=True, writes=True)
    try:
        yield Fast(server, address, servicers, counted)
    finally:
        await server.stop(0)


async def require_served(served: Fast) -> None:
    """A call of another caller is answered."""
    async with served.channel() as channel:
        request = v1.ResolveRequest(job_id="four").SerializeToString()
        answer = await channel.unary_unary(RESOLVE)(request, timeout=60)
    assert v1.ResolveResponse.FromString(answer).tag == "4"


@dataclass
class Answered:
    """What a request got: the status of HTTP, and all headers and trailers."""

    status: int
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """The status of gRPC."""
        return int(self.headers["grpc-status"])

    @property
    def message(self) -> str:
        return self.headers.get("grpc-message", "").replace("%20", " ")


async def sent(url: str, body: bytes = EMPTY, *flags: str, **headers: str) -> Answered:
    """Sends a request by curl, with the headers of a call unless `headers` say otherwise: `grpc_timeout="1S"`.

    What a server refuses by its headers needs a body of nothing. A server may then say at once that it wants no body, by a reset
    with NO_ERROR. While curl up to 7.88 has a body to send, it takes that for an error.
    """
    given = {"content-type": "application/grpc", "te": "trailers"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    process = await asyncio.create_subprocess_exec(
        *(require("curl"), "-sS", "--max-time", "60", "--http2-prior-knowledge", "--path-as-is"),
        *("-D", "-", "-o", "/dev/null", "--data-binary", "@-", *flags),
        *(word for name, value in given.items() for word in ("-H", f"{name}: {value}" if value else f"{name}:")),
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(body)
    assert process.returncode == 0, errors.decode()
    first, *lines = output.decode().splitlines()
    pairs = [line.partition(": ") for line in lines if ": " in line]
    return Answered(int(first.split()[1]), {name.lower(): value for name, _, value in pairs})
