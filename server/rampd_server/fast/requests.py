"""Reads the messages of a call, within bounds of size."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from google.rpc import code_pb2

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.fast.frames import Frame, FrameError, Frames, LargeFrameError, whole
from rampd_server.rpc import large
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.large import LARGE_BYTES, LargerError, NotGzipError

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

_GZIP = b"gzip"
_ENCODINGS = frozenset({b"", b"identity", _GZIP})


class Requests:
    """The messages of a call, as they come. Iterate over a stream of them, or take `only` the one that there is.

    The caller of a large message has to prove who it is before the message is read. Each step may raise CallError.
    """

    __slots__ = ("_encoding", "_frames", "_has_more", "_is_proven", "_prove", "_receive")

    def __init__(self, receive: Receive, encoding: bytes, prove: Callable[[], Awaitable[None]]) -> None:
        """`encoding` is the header grpc-encoding. `prove` asks for a proof of who calls. Raises CallError."""
        if encoding not in _ENCODINGS:
            raise CallError.plain(
                code_pb2.UNIMPLEMENTED,
                f"There is no compression {encoding.decode('latin-1')!r} here. Send identity or gzip.",
            )
        self._receive = receive
        self._encoding = encoding
        self._prove = prove
        self._is_proven = False
        self._frames = Frames(MAX_MESSAGE_BYTES)
        self._has_more = True

    async def only(self) -> bytes:
        """Returns the message of a call that has one."""
        event = await self._receive()
        body: bytes = event.get("body", b"")
        # Most calls are one small piece. Nothing else is to be looked at then.
        is_all = self._frames.is_empty and not event.get("more_body", False)
        if is_all and len(body) <= LARGE_BYTES and (message := whole(body)) is not None:
            return message
        await self._take(event)
        found = await self._next()
        if found is None:
            raise CallError.plain(code_pb2.UNIMPLEMENTED, "The call has no message, and this method takes one.")
        if await self._next() is not None:
            raise CallError.plain(code_pb2.UNIMPLEMENTED, "The call has several messages, and this method takes one.")
        return found

    def __aiter__(self) -> "Requests":
        return self

    async def __anext__(self) -> bytes:
        found = await self._next()
        if found is None:
            raise StopAsyncIteration
        return found

    async def _next(self) -> bytes | None:
        """Returns the next message; None at the end."""
        frames = self._frames
        try:
            while (frame := frames.take()) is None:
                if self._has_more:
                    await self._read()
                elif frames.is_empty:
                    return None
                else:
                    raise _wrong("is cut off: its end came before its last message was whole")
        except LargeFrameError:
            raise _too_large() from None
        except FrameError:
            raise _wrong("is not made of messages with five bytes before each") from None
        return await self._expanded(frame) if frame.is_compressed else frame.data

    async def _read(self) -> None:
        await self._take(await self._receive())

    async def _take(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.disconnect":
            raise CallError.plain(code_pb2.CANCELLED, "The caller has gone.")
        self._frames.feed(event.get("body", b""))
        self._has_more = event.get("more_body", False)
        if LARGE_BYTES < self._frames.announced <= MAX_MESSAGE_BYTES:
            await self._require_proof()

    async def _require_proof(self) -> None:
        if not self._is_proven:
            await self._prove()
            self._is_proven = True

    async def _expanded(self, frame: Frame) -> bytes:
        if self._encoding != _GZIP:
            raise _wrong("has a message that is marked as compressed, and no grpc-encoding says how")
        try:
            try:
                return large.expanded(frame.data, LARGE_BYTES)
            except LargerError:
                await self._require_proof()
            return await asyncio.to_thread(large.expanded, frame.data, MAX_MESSAGE_BYTES)
        except LargerError:
            raise _too_large() from None
        except NotGzipError:
            raise _wrong("has a message that is not whole, or not compressed with gzip") from None


def _wrong(what: str) -> CallError:
    return CallError.plain(code_pb2.INTERNAL, f"The body of the call {what}.")


def _too_large() -> CallError:
    return CallError.plain(code_pb2.RESOURCE_EXHAUSTED, f"A message has at most {MAX_MESSAGE_BYTES:,} bytes.")
