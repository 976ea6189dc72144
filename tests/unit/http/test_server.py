"""The server of HTTP on both event loops: connections that say nothing, and callers that go."""

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from rampd_server.http import call, server
from rampd_server.http.context import HttpContext
from rampd_server.http.server import HttpServer
from rampd_server.process.address import Address
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.certificates import Certificates
from tests.authority import Authority
from tests.in_background import in_background
from tests.waiting import eventually_async

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
HEAD = b"POST / HTTP/1.1\r\nhost: localhost\r\n"
WHOLE = HEAD + b"content-length: 2\r\n\r\n{}"
SERVED = b"HTTP/1.1 200 "

Run = Callable[[Coroutine[Any, Any, None]], None]
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main)

    return run


async def answers(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def serving(application: ASGIApp, **options: Any) -> AsyncIterator[Address]:
    served = HttpServer(application, **options)
    address = served.listen(Address("127.0.0.1", 0))
    await served.start()
    try:
        yield address
    finally:
        await served.stop(0.1)


async def opened(address: Address, tls: ssl.SSLContext | None = None) -> Connection:
    name = "localhost" if tls else None
    return await asyncio.open_connection(address.host, address.port, ssl=tls, server_hostname=name)


async def is_served(address: Address, tls: ssl.SSLContext | None = None) -> bool:
    try:
        reader, writer = await opened(address, tls)
        writer.write(WHOLE)
        answer = await reader.read(len(SERVED))
        writer.close()
    except OSError:
        return False
    return answer == SERVED


def tls_of(directory: Path) -> tuple[Callable[[], ssl.SSLContext], ssl.SSLContext]:
    """For the server, and for who trusts it."""
    authority = Authority()
    certificates = Certificates(*authority.issue("localhost").write(directory, "server"))
    return certificates.context, ssl.create_default_context(cadata=authority.certificate.decode())


# Connections that say nothing


@pytest.mark.parametrize("has_tls", [False, True])
def test_connections_count_before_their_handshake_has_ended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_tls: bool
) -> None:
    """Given as many connections as there may be, none of which says a word, expect the next one to be closed at once."""
    # On a busy machine, they must not end before the next one comes.
    monkeypatch.setattr(server, "HEAD_S", 120)
    monkeypatch.setattr(server, "HANDSHAKE_MS", 120_000)
    own, trusting = tls_of(tmp_path) if has_tls else (None, None)

    async def main() -> None:
        async with serving(answers, tls=own, max_connections=3) as address:
            assert await is_served(address, trusting)
            held = [await opened(address) for _ in range(3)]
            await eventually_async(lambda: refused(address))
            assert not await is_served(address, trusting)
            for _, writer in held:
                writer.close()
            await eventually_async(lambda: is_served(address, trusting))

    run(main())


async def refused(address: Address) -> bool:
    """Whether a connection is closed although it did nothing wrong."""
    reader, writer = await opened(address)
    try:
        async with asyncio.timeout(1):
            return await reader.read(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02"])
def test_a_handshake_is_waited_for_only_so_long(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_MS", 300)
    # Without this limit, the next one would end the connection only after two minutes.
    monkeypatch.setattr(server, "HEAD_S", 120)
    own, trusting = tls_of(tmp_path)

    async def main() -> None:
        async with serving(answers, tls=own, max_connections=1) as address:
            reader, writer = await opened(address)
            writer.write(sent)
            async with asyncio.timeout(server.HEAD_S / 2):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
            await eventually_async(lambda: is_served(address, trusting))

    run(main())


def test_who_speaks_no_tls_leaves_its_place_at_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_MS", 120_000)
    own, trusting = tls_of(tmp_path)

    async def main() -> None:
        async with serving(answers, tls=own, max_connections=1) as address:
            for _ in range(3):
                reader, writer = await opened(address)
                writer.write(WHOLE)
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.close()
            await eventually_async(lambda: is_served(address, trusting), server.HANDSHAKE_MS / 1000 / 2)

    run(main())


# Callers that go


class Calls:
    """An application whose calls wait until their callers have gone. `write` is what a call does meanwhile."""

    def __init__(self, write: Callable[[Send], Awaitable[None]]) -> None:
        self._write = write
        self.began = 0
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.began += 1
        try:
            await request.body()
            await call._run(self._handle(send), HttpContext(request), request)
        except ClientDisconnect:
            self.ended.append("before its body was whole")
        except CallError as error:
            self.ended.append(error.status.message)

    async def _handle(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self._write(send)
        await asyncio.Event().wait()


async def nothing(_send: Send) -> None:
    pass


async def one(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})


async def without_end(send: Send) -> None:
    while True:
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        # As a stream, which waits for its next message.
        await asyncio.sleep(0)


WAYS = {
    "before the body is whole": (HEAD + b"content-length: 20\r\n\r\n{", b"", nothing),
    "before the first message": (WHOLE, b"", nothing),
    "after a message": (WHOLE, b"", one),
    "while a message waits for it": (WHOLE, b"", without_end),
    "after the next request": (WHOLE + WHOLE, b"", nothing),
    "after a later request": (WHOLE, WHOLE * 3, nothing),
    "in the middle of a later request": (WHOLE, HEAD, one),
}


@pytest.mark.parametrize("is_aborted", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_caller_that_goes_ends_its_call(run: Run, way: str, is_aborted: bool) -> None:
    first, later, write = WAYS[way]

    async def main() -> None:
        calls = Calls(write)
        async with serving(calls, max_connections=2) as address:
            for number in range(1, 4):
                _, writer = await opened(address)
                writer.write(first)
                await eventually_async(lambda number=number: calls.began == number)
                await asyncio.sleep(0.05)
                if later:
                    writer.write(later)
                    await asyncio.sleep(0.05)
                if is_aborted:
                    writer.transport.abort()
                else:
                    writer.close()
                await eventually_async(lambda number=number: len(calls.ended) == number)
            expected = "before its body was whole" if "body" in way else "The caller has gone."
            assert calls.ended == [expected] * 3

    run(main())


def test_a_caller_may_send_only_so_much_ahead(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a caller that sends requests without an end while its first one is not answered, expect the server to stop reading."""
    sent, protocols = 0, list[server._Protocol]()
    connection_made = server._Protocol.connection_made

    def noted(self: server._Protocol, transport: asyncio.Transport) -> None:
        connection_made(self, transport)
        protocols.append(self)

    monkeypatch.setattr(server._Protocol, "connection_made", noted)

    def reads_no_more() -> bool:
        return protocols[0].flow.read_paused and not protocols[0]._waiting

    async def main() -> None:
        nonlocal sent
        async with serving(Calls(nothing)) as address:
            _, writer = await opened(address)
            writer.write(WHOLE)
            await eventually_async(lambda: bool(protocols))
            async with asyncio.timeout(100):
                while sent < 1 << 26 and not reads_no_more():
                    if writer.transport.get_write_buffer_size() < 1 << 20:
                        writer.write(WHOLE * 5_000)
                        sent += len(WHOLE) * 5_000
                    await asyncio.sleep(0)
            writer.transport.abort()

    run(main())
    assert sent < 1 << 26


@pytest.mark.parametrize("has_tls", [False, True])
def test_what_comes_at_once_is_parsed_in_pieces_and_in_its_order(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_tls: bool
) -> None:
    """Given bodies that come as fast as the connection takes them, expect the loop to have a turn after each piece."""
    own, trusting = tls_of(tmp_path) if has_tls else (None, None)
    body, bodies, rounds, pieces = secrets.token_bytes(1024 * 1024), list[bytes](), 0, Counter[int]()
    taken = H11Protocol.data_received

    def take(self: H11Protocol, data: bytes) -> None:
        assert len(data) <= server._PIECE
        pieces[rounds] += len(data)
        taken(self, data)

    async def keeps(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await Request(scope, receive).body())
        await answers(scope, receive, send)

    async def go_round() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(H11Protocol, "data_received", take)

    async def main() -> None:
        async with serving(keeps, tls=own) as address, in_background(go_round()):
            reader, writer = await opened(address, trusting)
            for _ in range(3):
                writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
                assert await reader.readexactly(len(SERVED)) == SERVED
                await reader.readuntil(b"\r\n\r\n")
            writer.close()

    run(main())
    assert bodies == [body] * 3
    # The parts of the loop that bring data and those that take pieces have turns in the same round.
    assert max(pieces.values()) <= 2 * server._PIECE


def test_what_comes_while_a_piece_waits_stays_behind_it(run: Run) -> None:
    """Given a small part that comes while a large one waits, as TLS and a resumed flow bring it, expect the body as it was sent."""
    body, bodies = secrets.token_bytes(10 * server._PIECE), list[bytes]()

    async def keeps(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await Request(scope, receive).body())
        await answers(scope, receive, send)

    async def main() -> None:
        here, there = socket.socketpair()
        served = HttpServer(keeps)
        loop = asyncio.get_running_loop()
        protocol = server._Protocol(served._uvicorn, served._state, lambda: None)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, here)
        protocol.data_received(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:-4])
        protocol.data_received(body[-4:])
        await eventually_async(lambda: bool(bodies))
        transport.close()
        there.close()

    run(main())
    assert bodies == [body]


def test_a_stopping_server_answers_on_the_connections_that_are_open(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller whose connection is closed does not know whether its call was carried out. The application hears of the end first, so
    that it refuses these calls.
    """
    monkeypatch.setattr(server, "KEPT_S", 60.0)

    async def main() -> None:
        begun = asyncio.Event()
        served = HttpServer(answers, stops=begun.set)
        address = served.listen(Address("127.0.0.1", 0))
        await served.start()
        reader, writer = await opened(address)
        writer.write(WHOLE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(SERVED)
        stopping = asyncio.create_task(served.stop(0.1))
        # Longer than several looks of the server.
        await asyncio.sleep(0.2)
        assert begun.is_set()
        writer.write(WHOLE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(SERVED)
        writer.close()
        async with asyncio.timeout(60):
            await stopping

    run(main())


def test_a_call_under_way_when_the_server_stops_ends_with_unavailable(run: Run) -> None:
    async def main() -> None:
        calls = Calls(one)
        async with serving(calls) as address:
            _, writer = await opened(address)
            writer.write(WHOLE)
            await eventually_async(lambda: calls.began == 1)
        assert len(calls.ended) == 1
        assert "This server stopped" in calls.ended[0]
        writer.close()

    run(main())
