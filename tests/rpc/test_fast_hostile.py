"""Hostile and slow callers of the fast listener: each bound ends them, and calls of others go on."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import pytest

from rampd_server.fast import server as fast_server
from rampd_server.rpc.server import MAX_CALLS_OF_A_CONNECTION, MAX_HEADERS_BYTES
from tests.bench.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WIDEST,
    WINDOW_UPDATE,
    frame,
)
from tests.fast import EMPTY, GET_ROLLOUT, RESOLVE, WATCH, Fast, Servicers, fast, require_served
from tests.raw_calls import call, connection, head, text
from tests.waiting import PATIENCE_S, eventually_async

REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11
_MAX_CONCURRENT_STREAMS, _MAX_HEADER_LIST, _WINDOW = 3, 6, 4
WIDE = frame(WINDOW_UPDATE, 0, 0, (WIDEST - 65_535).to_bytes(4))
"""Lets the server send as much as it likes, over all calls of the connection."""


@pytest.fixture
async def served() -> AsyncIterator[Fast]:
    async with fast() as found:
        yield found


async def test_a_connection_is_told_its_bounds(served: Fast) -> None:
    async with connection(served) as raw:
        settings = dict(struct.iter_unpack(">HI", await raw.until(SETTINGS)))
    assert settings[_MAX_CONCURRENT_STREAMS] == MAX_CALLS_OF_A_CONNECTION
    assert settings[_MAX_HEADER_LIST] == MAX_HEADERS_BYTES
    assert settings[_WINDOW] == fast_server._CALL_WINDOW


async def test_calls_that_are_cancelled_at_once_end_their_connection(served: Fast) -> None:
    """Rapid reset, CVE-2023-44487."""
    async with connection(served) as raw:
        with contextlib.suppress(ConnectionError):
            for first in range(1, 2001, 100):
                await raw.send(
                    *(
                        frame(HEADERS, END_HEADERS, first + 2 * each, head())
                        + frame(RST_STREAM, 0, first + 2 * each, CANCEL.to_bytes(4))
                        for each in range(50)
                    )
                )
        await raw.until_end()
        assert raw.error == ENHANCE_YOUR_CALM
    await require_served(served)
    assert served.server._run is not None
    await eventually_async(lambda: not served.server._run._app.calls._running)  # type: ignore[union-attr]


async def test_headers_that_go_on_for_ever_end_their_connection(served: Fast) -> None:
    """A flood of CONTINUATION, of the kind of CVE-2024-27316."""
    more = b"\0" + text("x") + text("y" * 100)
    async with connection(served) as raw:
        with contextlib.suppress(ConnectionError):
            await raw.send(frame(HEADERS, 0, 1, head()))
            for _ in range(1000):
                await raw.send(frame(CONTINUATION, 0, 1, more))
            await raw.send(frame(CONTINUATION, END_HEADERS, 1, more))
        await raw.until(GOAWAY, HEADERS)
        assert raw.error == COMPRESSION_ERROR
    assert served.servicers.calls == []
    await require_served(served)


async def test_headers_without_an_end_are_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_server, "HEAD_S", 0.3)
    async with fast() as served, connection(served) as raw:
        await raw.send(frame(HEADERS, 0, 1, head()))
        await raw.until_end()


async def test_headers_that_grow_while_they_are_decompressed_do_not_reach_a_method(served: Fast) -> None:
    """A bomb of HPACK: a header of 100 bytes, and then one byte for each time that it comes again."""
    again = b"\xbe"
    bomb = b"\x40" + text("x") + text("y" * 100) + again * 10_000
    async with connection(served) as raw:
        await raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, head(more=bomb)))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await raw.until(HEADERS)
    assert served.servicers.calls == []
    await require_served(served)


@pytest.mark.parametrize(
    ("header", "status"),
    [(("x", "y" * 18_000), grpc.StatusCode.UNKNOWN), (("authorization", "Bearer "), grpc.StatusCode.INTERNAL)],
    ids=["too large", "ends with a blank"],
)
async def test_a_call_with_wrong_headers_is_refused_and_the_others_of_its_connection_go_on(
    served: Fast, header: tuple[str, str], status: grpc.StatusCode
) -> None:
    """Behind a proxy, the calls of many callers share a connection."""
    async with served.channel() as channel:
        other = channel.unary_unary(GET_ROLLOUT)(b"", timeout=60)
        await served.servicers.begun.wait()
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(RESOLVE)(b"", metadata=[header], timeout=60)
            assert caught.value.code() is status
        assert len(served.servicers.calls) == 1
        served.servicers.goes_on.set()
        assert await other


@pytest.mark.parametrize("first", [b"", b"PRI * HTTP/2.0\r\n"])
async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    monkeypatch.setattr(fast_server, "HANDSHAKE_MS", 300)
    async with fast() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.address.port)
        writer.write(first)
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                while await reader.read(1000):
                    pass
        writer.close()


async def test_a_connection_without_a_call_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "IDLE_S", 0.3)
    async with fast() as served, connection(served) as raw:
        await raw.until_end()
        assert raw.error is None


async def test_a_message_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "BODY_S", 0.3)
    async with fast() as served, connection(served) as raw:
        await raw.send(frame(HEADERS, END_HEADERS, 1, head()), frame(DATA, 0, 1, EMPTY[:3]))
        assert await raw.until(RST_STREAM) == CANCEL.to_bytes(4)
        assert served.servicers.calls == []


async def test_an_answer_is_kept_only_so_long_for_a_caller_who_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "UNREAD_S", 0.3)
    async with fast() as served, connection(served, (_WINDOW, 10)) as raw:
        served.servicers.answer = bytes(100_000)
        await raw.send(call(1, WATCH))
        assert await raw.until(RST_STREAM) == CANCEL.to_bytes(4)
        async with asyncio.timeout(60):
            await served.servicers.ended.wait()
        served.servicers.answer = b""
        await require_served(served)


async def test_a_caller_who_does_not_read_holds_up_only_its_connection_and_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answers of a connection share 2 MiB in h2corn."""
    monkeypatch.setattr(fast_server, "UNREAD_S", 0.5)
    async with fast() as served, connection(served) as raw:
        served.servicers.answer = bytes(3 * 1024 * 1024)
        await raw.send(WIDE, call(1, WATCH))
        await served.servicers.begun.wait()
        served.servicers.answer = b""
        await require_served(served)
        await raw.send(call(3))
        async with asyncio.timeout(PATIENCE_S):
            while (await raw.read())[:2] != (DATA, 3):
                pass
            await served.servicers.ended.wait()
    assert (RST_STREAM, 1, CANCEL.to_bytes(4)) in raw.frames


async def test_a_caller_who_reads_slowly_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a caller that needs more time than an answer may wait, and reads on, expect the whole answer."""
    monkeypatch.setattr(fast_server, "UNREAD_S", 2.0)
    async with fast() as served, connection(served, (_WINDOW, 1)) as raw:
        served.servicers.answer = bytes(40)
        served.servicers.goes_on.set()
        await raw.send(call(1, WATCH))
        for _ in range(45):
            await asyncio.sleep(0.06)
            await raw.send(frame(WINDOW_UPDATE, 0, 1, (1).to_bytes(4)))
        async with asyncio.timeout(PATIENCE_S):
            while sum(len(payload) for kind, _, payload in raw.frames if kind == DATA) < 45:
                await raw.read()
        assert RST_STREAM not in {kind for kind, *_ in raw.frames}


async def test_a_connection_that_takes_nothing_from_the_network_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "WRITE_S", 0.5)

    class Endless(Servicers):
        async def watch(self, _request: object, _call: object) -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield bytes(1024 * 1024)
            finally:
                self.ended.set()

    async with fast(servicers=Endless()) as served, connection(served, (_WINDOW, WIDEST)) as raw:
        await raw.send(WIDE, call(1, WATCH))
        async with asyncio.timeout(PATIENCE_S):
            await served.servicers.ended.wait()
        await require_served(served)


async def test_a_call_sends_no_more_than_its_window(served: Fast) -> None:
    """Who sends more than allowed is ended, and rampd keeps no more in memory than it has said."""
    async with connection(served) as raw:
        await raw.send(frame(HEADERS, END_HEADERS, 1, head()))
        piece = frame(DATA, 0, 1, bytes(fast_server._FRAME_BYTES))
        with contextlib.suppress(ConnectionError):
            await raw.send(*[piece] * (2 * fast_server._CONNECTION_WINDOW // fast_server._FRAME_BYTES))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await raw.until(RST_STREAM)
    await require_served(served)


async def test_a_further_connection_waits_until_another_one_ends() -> None:
    async with fast(max_connections=2) as served, connection(served) as one, connection(served) as other:
        await one.until(SETTINGS)
        await other.until(SETTINGS)
        async with connection(served) as third:
            reading = asyncio.ensure_future(third.until(SETTINGS))
            await asyncio.sleep(0.2)
            assert not reading.done()
            one.writer.transport.abort()
            await reading


async def test_calls_of_all_connections_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "MAX_WAITING_CALLS", 3)
    async with fast() as served, served.channel() as channel:
        streams = [channel.unary_stream(WATCH)(b"") for _ in range(3)]
        for each in streams:
            assert await each.read() == b""
        async with served.channel() as other:
            resolve = other.unary_unary(RESOLVE)
            assert await resolve(b"", timeout=60).code() is grpc.StatusCode.UNAVAILABLE
            streams[0].cancel()

            async def is_answered() -> bool:
                return await resolve(b"", timeout=60).code() is grpc.StatusCode.OK

            await eventually_async(is_answered)
        for each in streams[1:]:
            each.cancel()


async def test_calls_above_the_bound_are_refused_so_that_clients_send_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_server, "MAX_CALLS_OF_A_CONNECTION", 3)
    async with fast() as served, connection(served) as raw:
        await raw.until(SETTINGS)
        for stream in (1, 3, 5, 7):
            await raw.send(call(stream, WATCH))
        assert await raw.until(RST_STREAM) == REFUSED_STREAM.to_bytes(4)
        # A client of gRPC knows the bound and waits.
        async with served.channel() as channel:
            streams = [channel.unary_stream(WATCH)(b"") for _ in range(3)]
            for each in streams:
                assert await each.read() == b""
            waiting = channel.unary_unary(RESOLVE)(b"", timeout=60)
            streams[0].cancel()
            assert await waiting.code() is grpc.StatusCode.OK
            for each in streams[1:]:
                each.cancel()
