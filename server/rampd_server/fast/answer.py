"""The answer of a call, as gRPC writes it: messages in frames, and at the end trailers that say how the call has ended."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from google.rpc import code_pb2

from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.fast import headers
from rampd_server.fast.frames import framed
from rampd_server.fast.headers import KIND, Headers
from rampd_server.rpc.call_error import CallError

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEAD: Final[Headers] = [(b"content-type", KIND)]
_BEGIN: Final = {"type": "http.response.start", "status": 200, "headers": _HEAD, "trailers": True}
_LAST: Final = {"type": "http.response.body", "body": b"", "more_body": False}
_DONE: Final = {"type": "http.response.trailers", "headers": headers.ending(code_pb2.OK)}
# Who sends another compression learns from a refusal which ones there are.
_REFUSED: Final[Headers] = [*_HEAD, (b"grpc-accept-encoding", b"identity,gzip")]


class Answer:
    """An answer on its way. Each method may raise OSError: the caller has gone."""

    __slots__ = ("_has_begun", "_send", "encode")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_begun = False
        self.encode: Callable[[Any], bytes] | None = None
        """Turns a message into bytes. None: messages are bytes."""

    def frame(self, message: Any) -> bytes:  # noqa: ANN401 - bytes, or what `encode` takes
        """Returns a message as it is sent. Raises CallError if it is too large."""
        data: bytes = message if self.encode is None else self.encode(message)
        if len(data) > MAX_MESSAGE_BYTES:
            raise CallError.plain(
                code_pb2.RESOURCE_EXHAUSTED,
                f"The answer has {len(data):,} bytes. A message has at most {MAX_MESSAGE_BYTES:,}.",
            )
        return framed(data)

    async def write(self, message: Any) -> None:  # noqa: ANN401
        """Sends a message of a stream. Waits while the caller does not read. Raises CallError."""
        data = self.frame(message)
        if not self._has_begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def send_only(self, frame: bytes) -> None:
        """Sends the only message of a call, and ends the call."""
        await self._send(_BEGIN)
        await self._send({"type": "http.response.body", "body": frame, "more_body": False})
        await self._send(_DONE)

    async def end(self) -> None:
        """Ends a stream in order."""
        if not self._has_begun:
            await self._begin()
        await self._send(_LAST)
        await self._send(_DONE)

    async def refuse(self, error: CallError) -> None:
        """Ends the call with an error. Where nothing was sent before, the headers are the trailers, too."""
        status = error.status
        trailers = headers.ending(status.code, status.message, status.SerializeToString() if status.details else b"")
        if self._has_begun:
            await self._send(_LAST)
            await self._send({"type": "http.response.trailers", "headers": trailers})
        else:
            await self._send({"type": "http.response.start", "status": 200, "headers": [*_REFUSED, *trailers]})
            await self._send(_LAST)

    async def _begin(self) -> None:
        self._has_begun = True
        await self._send(_BEGIN)
