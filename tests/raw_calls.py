"""A connection to a fast listener that sends frames as it likes."""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.bench.http2 import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS, frame
from tests.fast import EMPTY, RESOLVE, Fast

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def text(value: str) -> bytes:
    """A string of HPACK, without compression."""
    data = value.encode()
    assert len(data) < 127
    return bytes([len(data)]) + data


def head(path: str = RESOLVE, more: bytes = b"") -> bytes:
    """The headers of a call, as HPACK, with more of them behind."""
    pairs = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(b"\0" + text(name) + text(value) for name, value in pairs.items()) + more


def call(stream: int, path: str = RESOLVE) -> bytes:
    """A call with a message without fields."""
    return frame(HEADERS, END_HEADERS, stream, head(path)) + frame(DATA, END_STREAM, stream, EMPTY)


@dataclass
class Raw:
    """A connection that sends frames as it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: list[tuple[int, int, bytes]] = field(default_factory=list)
    """What the server has sent: kind, stream, payload."""

    async def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def read(self) -> tuple[int, int, bytes]:
        """Reads the next frame. Raises IncompleteReadError or ConnectionError at the end of the connection."""
        start = await self.reader.readexactly(9)
        length, kind, stream = int.from_bytes(start[:3]), start[3], int.from_bytes(start[5:9])
        found = kind, stream, await self.reader.readexactly(length)
        self.frames.append(found)
        return found

    async def until(self, *kinds: int) -> bytes:
        """Reads until a frame of one of these kinds comes. Returns its payload."""
        async with asyncio.timeout(60):
            while True:
                kind, _, payload = await self.read()
                if kind in kinds:
                    return payload

    async def until_end(self) -> None:
        """Reads until the server has closed the connection."""
        async with asyncio.timeout(60):
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self.read()

    async def sends_on(self) -> None:
        """Sends calls, although the server has said where to go, until it would know that the connection is gone. Raises
        ConnectionError then. Without TLS the server may have closed its side.
        """
        for stream in (11, 13, 15):
            await self.send(call(stream))
            with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(0.1):
                    while True:
                        await self.read()

    @property
    def error(self) -> int | None:
        """The error with which the server has ended the connection."""
        found = [int.from_bytes(payload[4:8]) for kind, _, payload in self.frames if kind == GOAWAY]
        return next(filter(None, found), None)


@contextlib.asynccontextmanager
async def connection(served: Fast, *settings: tuple[int, int], tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A connection until the end of the block, over TLS if there is a context for it."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", served.address.port, ssl=tls, server_hostname=tls and "localhost"
    )
    raw = Raw(reader, writer)
    try:
        await raw.send(PREFACE, frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in settings)))
        yield raw
    finally:
        writer.transport.abort()
