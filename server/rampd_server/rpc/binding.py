"""Makes handlers of grpc.aio for the services of `rampd.v1` from their descriptors.

Every call passes the same steps: parse, check the fields, check the caller's role, call the servicer, and answer or
map the error. The steps are put together once per method. There are no interceptors, because each would cost time on
every Resolve.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rampd.v1 import release_service_pb2, resolver_service_pb2, rollout_service_pb2
from rampd_server.access.grants import Caller
from rampd_server.access.rpc_roles import REQUEST_FLAGS, least
from rampd_server.domain.errors import DeadlineError, InvalidRequestError, NoSnapshotError, RampdError
from rampd_server.domain.refusals import internal, not_implemented, role_required
from rampd_server.rpc import call_log, refused_calls
from rampd_server.rpc.call import Call, Context, actor_violations
from rampd_server.rpc.call_counts import Calls, MethodCalls
from rampd_server.rpc.door import Door, authorization_of
from rampd_server.rpc.error_status import STATUS_CODES, abort
from rampd_server.rpc.permissions import Permission
from rampd_server.rpc.streams import Streams
from rampd_server.tracing import switch

if TYPE_CHECKING:
    from rampd_server.rpc.call_spans import CallSpans

__all__ = ["SERVICES", "Call", "Violations", "bind", "defect"]

SERVICES: Mapping[str, ServiceDescriptor] = {
    service.name: service
    for file in (resolver_service_pb2, release_service_pb2, rollout_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}
"""The services of rampd.v1 by their short names."""

PERMISSIONS: Mapping[str, Permission] = {
    method.name: Permission.of(method) for service in SERVICES.values() for method in service.methods
}
"""What each method asks of its caller, by its short name."""
NAMES = frozenset({*PERMISSIONS, *REQUEST_FLAGS})
"""What a grant may allow and deny: methods, and flags of requests."""

Violations = Callable[[Message], list[tuple[str, str]]]
"""Returns the violations of a request: (field, text) for every wrong field."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Known: TypeAlias = Callable[[Context], Caller | None]
_Handle: TypeAlias = Callable[[bytes, Context], Awaitable[Any]]
_Binding: TypeAlias = Callable[[_Known], _Handler]
"""Makes the handler of a method. The argument is a function that returns the caller if it is known."""

_CALLS = "/rampd.v1."
"""How the names of all methods begin."""
_MOST_BOUND = 4_096
"""How many handlers are kept, each for one method and one credential."""

_STOPS = NoSnapshotError(
    "This server stops and has not handled this call, so nothing was changed. Send the call again, to another server or to "
    "this one after it has started again."
)

_log = structlog.get_logger(__name__)


def bind(
    servicers: Mapping[str, object],
    *,
    violations: Violations,
    door: Door,
    streams: Streams | None = None,
    calls: Calls | None = None,
    system: str = "grpc",
    logs_calls: bool = False,
) -> "Handlers":
    """Returns the handlers of all methods of all services. `calls` counts their calls. `system` is the name by which spans call
    the protocol. `logs_calls` writes a line for each call.

    `servicers` has an object by a service's short name (`RolloutService`). Its method for `GetRollout` is
    `get_rollout(request, call)`: a coroutine function that returns the response, or for a stream an async generator of
    responses. A response may be bytes that are serialised already. A plain function may return such bytes if it awaits
    nothing. A missing method answers UNIMPLEMENTED. A RampdError or DeadlineError gives its own status. Any other error
    gives INTERNAL with a request id that the log has, too.
    """
    if unknown := servicers.keys() - SERVICES.keys():
        raise ValueError(f"no such service in rampd.v1: {', '.join(sorted(unknown))}")
    streams = streams or Streams()
    return Handlers(
        {
            f"/{_full_name(method)}": _bind_method(
                method,
                servicers.get(name),
                violations,
                door,
                streams,
                calls=calls,
                system=system,
                logs_calls=logs_calls,
            )
            for name, service in SERVICES.items()
            for method in service.methods
        },
        streams,
        door,
        calls,
    )


class Handlers(grpc.GenericRpcHandler):
    """The handlers of all methods, until the server stops."""

    def __init__(
        self, bindings: Mapping[str, _Binding], streams: Streams, door: Door, calls: Calls | None = None
    ) -> None:
        self._calls = calls
        self.streams = streams
        """The open streams of all methods."""
        self.door = door
        self._bindings = bindings
        self._handlers = {method: make(door.known) for method, make in bindings.items()}
        self._remembered = None if door.credentials is None else door.credentials.known
        self._of_credentials: dict[tuple[str, str], _Handler] = {}
        self._refuses = asyncio.Event()
        self.held = 0
        """The number of calls that have come since `hold`."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Handler | None":
        method = handler_call_details.method
        if method not in self._handlers:
            self.count(method, grpc.StatusCode.UNIMPLEMENTED.name)
            return None
        if self._remembered is None:
            return self._handlers[method]
        # gRPC makes a list of all metadata here, and another list whenever a handler asks for them. That costs more than the
        # rest of the check. So each known credential has handlers of its own, which need not ask.
        authorization = authorization_of(handler_call_details.invocation_metadata)
        if authorization is None:
            return self._handlers.get(method)
        handler = self._of_credentials.get((authorization, method))
        return self._bound(authorization, method, self._remembered) if handler is None else handler

    def _bound(self, authorization: str, method: str, remembered: Callable[[str], Caller | None]) -> "_Handler | None":
        if method not in self._bindings or remembered(authorization) is None:
            return self._handlers.get(method)
        if len(self._of_credentials) >= _MOST_BOUND:
            self._of_credentials.clear()
        handler = self._bindings[method](lambda _context: remembered(authorization))
        self._of_credentials[authorization, method] = handler
        return handler

    def hold(self) -> None:
        """Answers no new call: from now on, each call waits for `refuse`."""
        self._remembered = None
        self._handlers = {
            method: grpc.unary_unary_rpc_method_handler(partial(self._hold, method)) for method in self._handlers
        }

    def refuse(self) -> None:
        """Refuses the held calls, and all further calls, with UNAVAILABLE."""
        self._refuses.set()

    def count(self, method: str, status: str, reason: str = "") -> None:
        """Counts a call that ends before a handler has it. `method` is as gRPC writes it; what is no call of rampd does not count."""
        if self._calls is not None and method.startswith(_CALLS):
            name = method.rpartition("/")[2] if method in self._handlers else ""
            self._calls.without_handler(name, status, reason)

    async def _hold(self, method: str, _data: bytes, context: Context) -> bytes:
        self.held += 1
        await self._refuses.wait()
        self.count(method, STATUS_CODES[_STOPS.reason].name, _STOPS.reason)
        await abort(context, _STOPS)
        raise AssertionError


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of every call of one method, before and after its servicer."""

    name: str
    read: Callable[[bytes, Context], Any]
    door: Door
    count: Callable[[Caller], None]
    """Counts a call of a caller. Raises LimitExceededError."""
    admit: Callable[[Any, Context, Caller], Call]
    encode: Callable[[Any], bytes]
    calls: MethodCalls | None
    """None: nobody asks how many calls there are."""
    abort: Callable[[Context, RampdError | DeadlineError], Awaitable[None]] = abort
    """Ends a call with a refusal."""


def _bind_method(
    method: MethodDescriptor,
    servicer: object,
    violations: Violations,
    door: Door,
    streams: Streams,
    *,
    calls: Calls | None,
    system: str,
    logs_calls: bool,
) -> _Binding:
    steps = _Steps(
        _full_name(method),
        _reader(method, violations),
        door,
        _count(door),
        _admission(method, door),
        _encoder(method),
        None if calls is None else calls.of(method.name, is_stream=method.server_streaming),
    )
    answer = getattr(servicer, _snake_case(method.name), None)
    # A handler has a line for the log or a span only where somebody wants them.
    around: list[Callable[[_Handle], _Handle]] = []
    spans = _spans(method, system)
    if spans is not None:
        steps = replace(steps, abort=spans.abort)
    if logs_calls:
        count, refuse = call_log.noting_caller(steps.count), call_log.noting_refusal(steps.abort)
        steps = replace(steps, count=count, abort=refuse)
        around.append(partial(call_log.around, steps.name))
    if spans is not None:
        around.append(spans.around)
    # Bytes go in and out of gRPC, so that a request that does not parse ends here as well, not in gRPC.
    if method.server_streaming:
        stream = answer or _not_there_stream(method.name)
        stream = stream if spans is None else spans.noting_stream(stream)
        return lambda known: grpc.unary_stream_rpc_method_handler(
            _wrapped(_streaming(steps, stream, streams, known), around)
        )
    unary = answer or _not_there(method.name)
    unary = unary if spans is None else spans.noting(unary)
    return lambda known: grpc.unary_unary_rpc_method_handler(_wrapped(_unary(steps, unary, known), around))


def _wrapped(handle: "_Handle", around: Iterable[Callable[["_Handle"], "_Handle"]]) -> "_Handle":
    for wrap in around:
        handle = wrap(handle)
    return handle


def _spans(method: MethodDescriptor, system: str) -> "CallSpans | None":
    """The spans of a method; None where there are no traces. Then a handler has no line for them."""
    spans = switch.spans()
    if spans is None:
        return None
    from rampd_server.rpc.call_spans import CallSpans  # noqa: PLC0415 - it needs the API of OpenTelemetry

    return CallSpans(method, system, spans)


def _unary(
    steps: _Steps, answer: Callable[[Any, Call], Awaitable[Any] | bytes], known: _Known
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    read, door, count, admit, encode = steps.read, steps.door, steps.count, steps.admit, steps.encode
    calls, clock = steps.calls, time.perf_counter
    observe = None if calls is None else calls.observe

    async def handle(data: bytes, context: Context) -> bytes:
        caller, began_s = None, clock()
        try:
            # If the caller is known, count the call before reading the request: a call over the limit is then cheap.
            if (caller := known(context)) is None and refused_calls.is_flooded():
                caller = await door.prove(context)
            if caller is not None:
                count(caller)
            request = read(data, context)
            if caller is None:
                count(caller := await door.prove(context))
            response = answer(request, admit(request, context, caller))
            encoded = response if isinstance(response, bytes) else encode(await response)
        except (RampdError, DeadlineError) as error:
            refusal: RampdError | DeadlineError = error
        except BaseException as error:
            if _is_call_over(error, context):
                if calls is not None:
                    calls.cancelled(context.time_remaining())
                raise
            refusal = defect(steps.name, error)
        else:
            if observe is not None:
                observe(clock() - began_s)
            return encoded
        if calls is not None:
            calls.refused(refusal, began_s)
        refused_calls.tell(refusal, steps.name, caller, context)
        await refused_calls.hold(refusal, caller, context)
        await steps.abort(context, refusal)
        raise AssertionError

    return handle


def _streaming(
    steps: _Steps, answer: Callable[[Any, Call], AsyncGenerator[Any]], streams: Streams, known: _Known
) -> Callable[[bytes, Context], Awaitable[None]]:
    door, count, encode, calls = steps.door, steps.count, steps.encode, steps.calls

    async def handle(data: bytes, context: Context) -> None:
        caller, began_s = None, time.perf_counter()
        try:
            if (caller := known(context)) is None and refused_calls.is_flooded():
                caller = await door.prove(context)
            if caller is not None:
                count(caller)
            request = steps.read(data, context)
            if caller is None:
                count(caller := await door.prove(context))
            # The stream counts only after the caller is proven. So other clients can't use up the streams of proven callers.
            with streams.one_more():
                call = steps.admit(request, context, caller)
                # A cancelled call closes the generator here, not later when it is garbage-collected.
                async with door.while_proven(context, caller), aclosing(answer(request, call)) as responses:
                    async for response in responses:
                        await context.write(encode(response))
        except RampdError as error:
            refusal = error
        except BaseException as error:
            if _is_call_over(error, context):
                if calls is not None:
                    calls.cancelled(context.time_remaining())
                raise
            refusal = defect(steps.name, error)
        else:
            if calls is not None:
                calls.ended()
            return
        if calls is not None:
            calls.refused(refusal, began_s)
        refused_calls.tell(refusal, steps.name, caller, context)
        await refused_calls.hold(refusal, caller, context)
        await steps.abort(context, refusal)

    return handle


def _reader(method: MethodDescriptor, violations: Violations) -> Callable[[bytes, Context], Any]:
    parse = _parser(method)
    is_change = "request_id" in method.input_type.fields_by_name

    def read(data: bytes, _context: Context) -> Message:
        request = parse(data)
        if found := violations(request):
            raise InvalidRequestError(found)
        return request

    def read_change(data: bytes, context: Context) -> Message:
        request = parse(data)
        if found := [*violations(request), *actor_violations(context)]:
            raise InvalidRequestError(found)
        return request

    return read_change if is_change else read


def _admission(method: MethodDescriptor, door: Door) -> Callable[[Any, Context, Caller], Call]:
    name = _full_name(method)
    permission = PERMISSIONS[method.name]
    fields = method.input_type.fields_by_name
    if not door.has(permission.roles):

        def refuse(_request: Any, _context: Context, _caller: Caller) -> Call:  # noqa: ANN401 - any message
            raise role_required(door.how_else(name), role=least(permission.roles) or "")

        return refuse

    how_else = partial(door.how_else, name)

    def admit(request: Any, context: Context, caller: Caller) -> Call:  # noqa: ANN401 - any message
        permission.require(caller.grant, request, how_else)
        return Call(name, request, context, caller)

    def admit_outcomes(request: Any, context: Context, caller: Caller) -> Call:  # noqa: ANN401
        call = admit(request, context, caller)
        door.quotas.of(caller.grant).take_outcomes(len(request.outcomes), time.monotonic())
        return call

    def admit_jobs(request: Any, context: Context, caller: Caller) -> Call:  # noqa: ANN401
        call = admit(request, context, caller)
        door.quotas.of(caller.grant).add_jobs(len(request.requests), time.monotonic())
        return call

    if door.credentials is None:
        return admit
    return admit_outcomes if "outcomes" in fields else admit_jobs if "requests" in fields else admit


def _count(door: Door) -> Callable[[Caller], None]:
    quotas, clock = door.quotas, time.monotonic

    def count(caller: Caller) -> None:
        quotas.of(caller.grant).take_call(clock())

    return (lambda _caller: None) if door.credentials is None else count


def _parser(method: MethodDescriptor) -> Callable[[bytes], Message]:
    parse = GetMessageClass(method.input_type).FromString
    wrong = [("request", f"is not a {method.input_type.full_name} message")]

    def parsed(data: bytes) -> Message:
        try:
            return parse(data)
        except (DecodeError, UnicodeDecodeError):
            raise InvalidRequestError(wrong) from None

    return parsed


def _encoder(method: MethodDescriptor) -> Callable[[Any], bytes]:
    expected = GetMessageClass(method.output_type)

    def encode(response: object) -> bytes:
        if isinstance(response, expected):
            return response.SerializeToString()
        if isinstance(response, bytes):
            return response
        raise TypeError(f"{method.full_name} answered {type(response).__name__}")

    return encode


def _is_call_over(error: BaseException, context: Context) -> bool:
    """Whether an error only says that the caller has gone or that the server stops, so that no answer is needed.

    If something that the servicer waited for was cancelled, the call itself was not cancelled. gRPC can't tell the two
    apart, so without this check the caller would wait for ever.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, grpc.aio.BaseError) and context.done()


def defect(name: str, error: BaseException) -> RampdError:
    """Logs an error that nobody expects. Returns the refusal for the caller, which has its number."""
    request_id = secrets.token_hex(8)
    _log.error("call_failed", method=name, request_id=request_id, exc_info=error)
    return internal(request_id=request_id)


def _not_there(method: str) -> Callable[[Any, Call], Awaitable[Any]]:
    async def answer(_request: Message, _call: Call) -> Message:
        raise not_implemented(method)

    return answer


def _not_there_stream(method: str) -> Callable[[Any, Call], AsyncGenerator[Any]]:
    async def answer(_request: Message, _call: Call) -> AsyncGenerator[Any]:
        raise not_implemented(method)
        yield

    return answer


def _full_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
