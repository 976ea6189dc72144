"""A call over HTTP: it goes through the same handlers as a call over gRPC, so that the same rules hold for both."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, NoReturn, TypeVar, cast

import grpc
from google.rpc import code_pb2
from starlette.requests import Request

from rampd_server.access.grants import Caller
from rampd_server.domain.errors import InvalidRequestError, RampdError
from rampd_server.domain.refusals import not_implemented
from rampd_server.http.context import HttpContext
from rampd_server.rpc import refused_calls
from rampd_server.rpc.binding import Handlers
from rampd_server.rpc.call import Context
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door
from rampd_server.rpc.other_context import STOPPED

_T = TypeVar("_T")

_MOST_OF_PATH: Final = 200
"""How much of a path the log has."""


class _Details(NamedTuple):
    """What `Handlers` looks at."""

    method: str
    invocation_metadata: Any


@contextmanager
def counted(handlers: Handlers, method: str) -> Iterator[None]:
    """Counts a call if it ends within the block: that is before a handler has it, and a handler counts by itself."""
    try:
        yield
    except CallError as error:
        handlers.count(method, error.name, error.reason)
        raise
    except asyncio.CancelledError:
        # Only a server that stops cancels a request: see server.py.
        handlers.count(method, code_pb2.Code.Name(code_pb2.UNAVAILABLE))
        raise


async def call(
    handlers: Handlers, method: str, data: bytes, request: Request, *, timeout_s: float | None = None
) -> bytes:
    """Calls a method that is no stream, and returns its answer; both as protobuf bytes. `method` is as gRPC writes it:
    `/rampd.v1.RolloutService/Ramp`. The call ends with its time, with its caller, and with the server. Raises CallError.
    """
    context = HttpContext(request, timeout_s=timeout_s)
    handle = _handler(handlers, method, context).unary_unary
    if handle is None:
        raise CallError.of(not_implemented(method))
    answer = await _run(cast("Any", handle)(data, context), context, request)
    return bytes(cast("bytes", answer))


async def wanted(work: Coroutine[Any, Any, _T], request: Request, timeout_s: float | None) -> _T:
    """Does work for a call. The work ends with its time, with its caller, and with the server. Raises CallError."""
    found: _T = await _run(work, HttpContext(request, timeout_s=timeout_s), request)
    return found


async def stream(
    handlers: Handlers,
    method: str,
    data: bytes,
    request: Request,
    write: Callable[[bytes], Awaitable[None]],
    *,
    timeout_s: float | None = None,
) -> None:
    """Calls a method that answers with a stream, and gives each message to `write`, as protobuf bytes. `write` waits while the
    caller does not read. Raises CallError.
    """
    context = HttpContext(request, timeout_s=timeout_s, write=write)
    found = _handler(handlers, method, context)
    # A server that stops has one handler for all methods, which refuses.
    handle = found.unary_stream or found.unary_unary
    await _run(cast("Any", handle)(data, context), context, request)


async def caller_of(door: Door, request: Request) -> Caller:
    """Who sends a request that is no call of a method. Counts it against the caller's limits. Raises CallError."""
    caller = await proven(door, request)
    if door.credentials is not None:
        try:
            door.quotas.of(caller.grant).take_call(time.monotonic())
        except RampdError as error:
            await refuse(error, request, caller)
    return caller


async def proven(door: Door, request: Request) -> Caller:
    """Who sends a request. Does not count it, because the handler of the call does. Raises CallError."""
    context = cast("Context", HttpContext(request))
    try:
        return door.known(context) or await door.prove(context)
    except RampdError as error:
        await refuse(error, request)


async def require_room(caller: Caller, door: Door, request: Request) -> None:
    """Refuses a caller over its limit before what it sends is worked on. The handler of the call counts. Raises CallError."""
    if door.credentials is not None:
        try:
            door.quotas.of(caller.grant).require_call(time.monotonic())
        except RampdError as error:
            await refuse(error, request, caller)


async def refuse(error: RampdError, request: Request, caller: Caller | None = None) -> NoReturn:
    """Refuses a request before a handler sees it, with the same log and the same pause as a handler. Raises CallError."""
    context = cast("Context", HttpContext(request))
    # A caller chooses the path of a flag.
    refused_calls.tell(error, str(request.scope["path"])[:_MOST_OF_PATH], caller, context)
    await refused_calls.hold(error, caller, context)
    raise CallError.of(error) from error


async def hold_stranger(request: Request) -> None:
    """Waits before a request is worked on that anybody may send, if there are many."""
    await refused_calls.hold_stranger(cast("Context", HttpContext(request)))


async def refuse_wrong(error: InvalidRequestError, door: Door, request: Request) -> NoReturn:
    """Refuses a request that can't be read. It counts against the limits of a caller that is known, as over gRPC. Raises CallError."""
    known = door.known(cast("Context", HttpContext(request)))
    if known is not None:
        await caller_of(door, request)
    await refuse(error, request, known)


def _handler(handlers: Handlers, method: str, context: HttpContext) -> "grpc.RpcMethodHandler[Any, Any]":
    details = _Details(method, context.invocation_metadata())
    found = handlers.service(cast("grpc.HandlerCallDetails", details))
    if found is None:
        raise CallError.of(not_implemented(method.strip("/")))
    return found


async def _run(handling: Coroutine[Any, Any, Any], context: HttpContext, request: Request) -> Any:  # noqa: ANN401
    """Runs a handler until it ends, its time is over, its caller has gone, or the server stops."""
    task = asyncio.create_task(handling)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((task, gone), timeout=context.time_remaining(), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise CallError.plain(code_pb2.CANCELLED, "The caller has gone.")
        raise CallError.late()
    except asyncio.CancelledError:
        # Only a server that stops cancels a request: see server.py.
        if (current := asyncio.current_task()) is None or not current.uncancel() == 0:
            raise
        raise CallError.of(STOPPED) from None
    finally:
        context.is_done = True
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Returns when the caller has closed the connection. The body of the request must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
