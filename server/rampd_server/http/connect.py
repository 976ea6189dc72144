"""The methods of the API by Connect's protocol: a POST with JSON, for any language, and streams of messages in envelopes.

https://connectrpc.com/docs/protocol has the protocol. A call goes through the same handlers as one over gRPC.
"""

import asyncio
import base64
import binascii
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NamedTuple, NoReturn

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from rampd_server.domain.errors import InvalidRequestError
from rampd_server.http import body, messages
from rampd_server.http.call import call, counted, proven, refuse_wrong, require_room, stream, wanted
from rampd_server.http.errors import error_content, error_response
from rampd_server.rpc import refused_calls
from rampd_server.rpc.binding import SERVICES, Handlers
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door
from rampd_server.rpc.large import LARGE_BYTES

JSON, PROTO = "application/json", "application/proto"
STREAM_JSON, STREAM_PROTO = "application/connect+json", "application/connect+proto"
_IN_QUERY: Final = {"json": JSON, "proto": PROTO}
_NOT_STORED: Final = {"cache-control": "no-store"}
_WORTH_COMPRESSING: Final = 1024
_MAX_TIMEOUT_DIGITS: Final = 10
_ENVELOPE: Final = struct.Struct(">BI")
_COMPRESSED, _END = 0b01, 0b10


def routes(handlers: Handlers, door: Door) -> list[BaseRoute]:
    """One for each method. Methods that only read also have GET, as the protocol has it."""
    return [
        _Method(f"/{service.full_name}/{method.name}", method, handlers, door).route()
        for service in SERVICES.values()
        for method in service.methods
    ]


def has_get(method: MethodDescriptor) -> bool:
    """Whether a method has GET as well."""
    has_no_effect = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    return has_no_effect and not method.server_streaming


@dataclass(frozen=True, slots=True)
class _Method:
    path: str
    descriptor: MethodDescriptor
    handlers: Handlers
    door: Door

    def route(self) -> Route:
        if self.descriptor.server_streaming:
            return Route(self.path, _answering(self._stream), methods=["POST"])
        http_methods = ["GET", "POST"] if has_get(self.descriptor) else ["POST"]
        return Route(self.path, _answering(self._unary), methods=http_methods)

    async def _unary(self, request: Request) -> Response:
        with counted(self.handlers, self.path):
            is_post = request.method == "POST"
            kind = _content_type(request) if is_post else _IN_QUERY.get(request.query_params.get("encoding", ""), "")
            if kind not in {JSON, PROTO}:
                if is_post:
                    return self._unsupported("content-type", JSON, PROTO)
                return self._unsupported(
                    "encoding", *_IN_QUERY, then=" Write ?encoding=json&message=… behind the path, or POST the message."
                )
            ends_s = await _ends_s(request, self.door)
            async with _in_time(ends_s):
                data = await (_posted if is_post else _query)(request, self.door)
            if kind == JSON:
                data = await self.from_json(data, request, ends_s)
        answer = await call(self.handlers, self.path, data, request, timeout_s=_left_s(ends_s))
        if kind == JSON:
            answer = await messages.to_json(self.descriptor.output_type, answer)
        headers = dict(_NOT_STORED)
        if len(answer) >= _WORTH_COMPRESSING and _takes_gzip(request, "accept-encoding"):
            answer = await messages.compressed(answer)
            headers["content-encoding"] = body.GZIP
        return Response(answer, headers=headers, media_type=kind)

    async def _stream(self, request: Request) -> Response:
        kind = _content_type(request)
        if kind not in {STREAM_JSON, STREAM_PROTO}:
            return self._unsupported("content-type", STREAM_JSON, STREAM_PROTO)
        return _Stream(self, request, kind)

    def _unsupported(self, what: str, *kinds: str, then: str = "") -> Response:
        self.handlers.count(self.path, code_pb2.Code.Name(code_pb2.UNKNOWN))
        return JSONResponse(
            {"code": "unknown", "message": f"The {what} of this request has to be {' or '.join(kinds)}.{then}"},
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            {"accept-post": ", ".join(kinds)} if what == "content-type" else None,
        )

    async def from_json(self, data: bytes, request: Request, ends_s: float | None) -> bytes:
        """The message of JSON, as protobuf bytes. Who sends much of it has to be proven first; in a flood, everybody. Raises
        CallError.
        """
        is_large = len(data) > LARGE_BYTES
        if is_large or refused_calls.is_flooded():
            async with _in_time(ends_s):
                await require_room(await proven(self.door, request), self.door, request)
        reading = messages.from_json(self.descriptor.input_type, data)
        try:
            # What is large waits for its turn, and callers that have gone must not make the others wait.
            return await (wanted(reading, request, _left_s(ends_s)) if is_large else reading)
        except InvalidRequestError as error:
            await refuse_wrong(error, self.door, request)


class _Stream(Response):
    """The answer of a method that answers with a stream. Its status is 200 also for a refusal, which is in its last message."""

    def __init__(self, method: _Method, request: Request, kind: str) -> None:
        self._method = method
        self._request = request
        self._json_of: Descriptor | None = method.descriptor.output_type if kind == STREAM_JSON else None
        self._is_compressed = _takes_gzip(request, "connect-accept-encoding")
        encoding = {"connect-content-encoding": body.GZIP} if self._is_compressed else {}
        super().__init__(None, HTTPStatus.OK, {**_NOT_STORED, **encoding}, kind)
        del self.headers["content-length"]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Sends the messages as they come. `send` waits while the caller does not read."""

        async def write(message: bytes) -> None:
            if self._json_of is not None:
                message = await messages.to_json(self._json_of, message)
            await send_envelope(message)

        async def send_envelope(data: bytes, flags: int = 0) -> None:
            if self._is_compressed and len(data) >= _WORTH_COMPRESSING:
                data, flags = await messages.compressed(data), flags | _COMPRESSED
            envelope = _ENVELOPE.pack(flags, len(data)) + data
            await send({"type": "http.response.body", "body": envelope, "more_body": not flags & _END})

        begin = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        end: dict[str, Any] = {}
        asked = None
        # First the request. Some clients of HTTP/1.1 close the connection if the answer begins before they have sent all of it.
        try:
            asked = await self._asked()
        except CallError as error:
            end = {"error": error_content(error.status)}
        await send(begin)
        if asked is not None:
            method, left_s = self._method, _left_s(asked.ends_s)
            try:
                await stream(method.handlers, method.path, asked.data, self._request, write, timeout_s=left_s)
            except CallError as error:
                end = {"error": error_content(error.status)}
        await send_envelope(json.dumps(end, ensure_ascii=False).encode(), _END)

    async def _asked(self) -> "_Asked":
        """The message of the request. Raises CallError."""
        method, request = self._method, self._request
        with counted(method.handlers, method.path):
            ends_s = await _ends_s(request, method.door)
            async with _in_time(ends_s):
                data = await _one_message(request, method.door)
            if self._json_of is not None:
                data = await method.from_json(data, request, ends_s)
        return _Asked(data, ends_s)


class _Asked(NamedTuple):
    """The message of a stream's request, as protobuf bytes."""

    data: bytes
    ends_s: float | None
    """When the caller's time is over, by the clock of the loop."""


def _answering(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await handle(request)
        except CallError as error:
            return error_response(error)

    return endpoint


async def _ends_s(request: Request, door: Door) -> float | None:
    """When the time is over that the caller gives the call, by the clock of the loop. It counts from the head of the request on.
    Raises CallError, also for another version of the protocol.
    """
    version = request.headers.get("connect-protocol-version", "1")
    if version != "1":
        await _refuse(request, door, "connect-protocol-version", "must be 1")
    text = request.headers.get("connect-timeout-ms")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_TIMEOUT_DIGITS):
        await _refuse(
            request,
            door,
            "connect-timeout-ms",
            f"is not a number of milliseconds of at most {_MAX_TIMEOUT_DIGITS} digits",
        )
    return asyncio.get_running_loop().time() + int(text) / 1000


def _left_s(ends_s: float | None) -> float | None:
    return None if ends_s is None else max(0.0, ends_s - asyncio.get_running_loop().time())


@asynccontextmanager
async def _in_time(ends_s: float | None) -> AsyncIterator[None]:
    """Ends what is done before a handler has the call, if its time is over. Raises CallError."""
    try:
        async with asyncio.timeout_at(ends_s):
            yield
    except TimeoutError:
        raise CallError.late(was_handled=False) from None


async def _refuse(request: Request, door: Door, field: str, wrong: str) -> NoReturn:
    await refuse_wrong(InvalidRequestError([(field, wrong)]), door, request)


def _content_type(request: Request) -> str:
    """Without its parameters; empty where these say that the text is not UTF-8."""
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    return kind.strip() if charset in {"", "utf-8", "utf8"} else ""


def _encoding(given: str | None) -> str:
    """Raises CallError: it is a compression that this server does not have."""
    encoding = (given or "").strip().lower() or "identity"
    if encoding not in body.ENCODINGS:
        raise CallError.plain(
            code_pb2.UNIMPLEMENTED, f"There is no compression {encoding!r} here. Send {' or '.join(body.ENCODINGS)}."
        )
    return encoding


def _takes_gzip(request: Request, header: str) -> bool:
    for each in request.headers.get(header, "").lower().split(","):
        name, _, weight = each.replace(" ", "").partition(";q=")
        if name == body.GZIP:
            return weight.strip("0.") != "" or not weight
    return False


async def _posted(request: Request, door: Door) -> bytes:
    """The message of a POST. Raises CallError."""
    return await body.read(request, door, _encoding(request.headers.get("content-encoding")))


async def _query(request: Request, door: Door) -> bytes:
    """The message of a GET. Raises CallError."""
    query = request.query_params
    if query.get("connect", "v1") != "v1":
        await _refuse(request, door, "connect", "must be v1")
    text = query.get("message", "")
    data = text.encode()
    if query.get("base64") == "1":
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            await _refuse(request, door, "message", "is not base64 in the alphabet for URLs")
    return await body.expanded(data, request, door, _encoding(query.get("compression")))


async def _one_message(request: Request, door: Door) -> bytes:
    """The only message of a stream of requests. Raises CallError."""
    encoding = _encoding(request.headers.get("connect-content-encoding"))
    data = await body.read(request, door)
    flags, length = _ENVELOPE.unpack_from(data) if len(data) >= _ENVELOPE.size else (_END, 0)
    if len(data) != _ENVELOPE.size + length or flags & ~_COMPRESSED:
        await _refuse(
            request,
            door,
            "request",
            "is not one message in an envelope: a byte of flags, four bytes of length, and the message",
        )
    if flags and encoding == "identity":
        await _refuse(request, door, "request", "is marked as compressed, and no connect-content-encoding says how")
    return await body.expanded(data[_ENVELOPE.size :], request, door, encoding if flags else "identity")
