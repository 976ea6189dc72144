"""One call: its headers and messages are read, its handler runs, and its answer is sent.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md has the protocol.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from rampd_server.domain.errors import RampdError
from rampd_server.fast import headers
from rampd_server.fast.answer import Answer, Send
from rampd_server.fast.context import FastContext, Scope
from rampd_server.fast.requests import Receive, Requests
from rampd_server.fast.running import RunningCalls
from rampd_server.fast.services import Handler, Services
from rampd_server.rpc import refused_calls
from rampd_server.rpc.binding import defect
from rampd_server.rpc.call import Context
from rampd_server.rpc.call_error import CallError

_TRAILERS: Final = "http.response.trailers"


class FastCall:
    """A call from its headers to its trailers."""

    __slots__ = ("_answer", "_calls", "_head", "_method", "_receive", "_running", "_scope", "_services")

    def __init__(
        self,
        services: Services,
        calls: RunningCalls,
        scope: Scope,
        *,
        head: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        """`head` are the headers of the scope, of each name the last one. The call is in `calls` until it is answered. Create it in
        the task of the call.
        """
        self._services = services
        self._calls = calls
        self._scope = scope
        self._head = head
        self._receive = receive
        self._answer = Answer(send)
        self._running = calls.add()
        self._method = _method_of(scope)

    async def run(self) -> None:
        """Runs the handler and sends what it answers. Raises CancelledError, OSError or grpc.aio.BaseError if the caller has gone."""
        refusal = frame = None
        try:
            frame = await self._handled()
        except CallError as error:
            refusal = error
        except asyncio.CancelledError as error:
            refusal = self._running.ending(error)
        except grpc.aio.BaseError:
            raise
        except Exception as error:  # noqa: BLE001 - of a service that is not rampd's: a handler of rampd raises nothing else
            refusal = CallError.of(defect(self._method, error))
        finally:
            self._calls.remove(self._running)
        if refusal is not None:
            await self._answer.refuse(refusal)
        elif frame is not None:
            await self._answer.send_only(frame)
        else:
            await self._answer.end()

    async def _handled(self) -> bytes | None:
        """Returns the frame of the only answer. None if the answers are a stream: then they are sent. Raises CallError."""
        handler = self._services.handler(self._method, self._scope["headers"])
        request: Any
        try:
            context, requests = self._begun()
            request = requests if handler.request_streaming else await requests.only()
        except (CallError, asyncio.CancelledError) as error:
            self._count(error)
            raise
        self._running.is_handled = True
        self._answer.encode = handler.response_serializer
        request = _decoded(handler, request)
        try:
            if handler.unary_unary is not None:
                return self._answer.frame(await cast("Any", handler.unary_unary)(request, context))
            await _stream(handler, request, context)
            return None
        finally:
            context.is_done = True

    def _begun(self) -> tuple[FastContext, Requests]:
        """Reads the headers. The time of the call begins. Raises CallError."""
        head, timeout_s = self._head, None
        if (given := head.get(b"grpc-timeout")) is not None:
            try:
                timeout_s = headers.timeout_s(given)
            except ValueError as error:
                raise CallError.plain(code_pb2.INTERNAL, f"{error}.") from None
            self._calls.limit(self._running, timeout_s)
        if _TRAILERS not in self._scope["extensions"]:
            raise CallError.plain(
                code_pb2.INTERNAL, "The header `te: trailers` is missing: what is between you and this server drops it."
            )
        context = FastContext(self._scope, timeout_s, self._answer.write)
        return context, Requests(self._receive, head.get(b"grpc-encoding", b""), lambda: self._prove(context))

    async def _prove(self, context: FastContext) -> None:
        """Asks for a proof of who calls. The handler counts the call. Raises CallError."""
        door, asked = self._services.handlers.door, cast("Context", context)
        if door.known(asked) is not None:
            return
        try:
            await door.prove(asked)
        except RampdError as error:
            refused_calls.tell(error, self._method.strip("/"), None, asked)
            await refused_calls.hold(error, None, asked)
            raise CallError.of(error) from error

    def _count(self, error: CallError | asyncio.CancelledError) -> None:
        """Counts a call that ends before a handler has it: a handler counts by itself."""
        ended_by = error if isinstance(error, CallError) else self._running.ended_by
        status, reason = (grpc.StatusCode.CANCELLED.name, "") if ended_by is None else (ended_by.name, ended_by.reason)
        self._services.handlers.count(self._method, status, reason)


def _method_of(scope: Scope) -> str:
    """The name of a method as it came: an escape in it is not another way to write it."""
    query = scope["query_string"]
    return str((scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1"))


async def _stream(handler: Handler, request: Any, context: FastContext) -> None:  # noqa: ANN401
    """Runs a handler of a stream, which writes its answers or yields them."""
    behaviour: Any = handler.unary_stream or handler.stream_stream
    found = behaviour(request, context)
    if not isinstance(found, AsyncGenerator):
        await found
        return
    async with aclosing(found) as responses:
        async for response in responses:
            await context.write(response)


def _decoded(handler: Handler, request: Any) -> Any:  # noqa: ANN401
    """What a handler takes: bytes, or a message, or a stream of messages. Raises CallError."""
    if handler.request_deserializer is None:
        return request
    if handler.request_streaming:
        return (_message(handler, each) async for each in request)
    return _message(handler, request)


def _message(handler: Handler, data: bytes) -> Any:  # noqa: ANN401
    try:
        return cast("Any", handler.request_deserializer)(data)
    except (DecodeError, UnicodeDecodeError):
        raise CallError.plain(code_pb2.INTERNAL, "The message of the call can't be read.") from None
