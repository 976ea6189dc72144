"""The span of each call. Only imported where there are traces."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from opentelemetry.trace import Span, SpanKind, get_current_span

from rampd import v1
from rampd_server.domain.errors import DeadlineError, RampdError
from rampd_server.rpc.call import Call, Context
from rampd_server.rpc.error_status import abort, ending_of, status_without_answer
from rampd_server.tracing.spans import ERROR_TYPE, Attributes, Spans, fail
from rampd_server.tracing.trace_context import context_of

GRPC: Final = "grpc"
"""The name of the system in the conventions of OpenTelemetry. The calls over HTTP have another one."""

_DEFECTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The statuses with which the server has failed. With another one the caller has: then the conventions set no error."""

Handle = Callable[[bytes, Context], Awaitable[Any]]


class CallSpans:
    """The spans of the calls of one method.

    `around` makes the span. `noting` and `noting_stream` put into it what the request names and what the answer says. `abort` puts
    the refusal into it. A repo, a job and a note are in none of them.
    """

    def __init__(self, method: MethodDescriptor, system: str, spans: Spans) -> None:
        service = method.containing_service.full_name
        self._name = f"{service}/{method.name}"
        self._attributes: Attributes = {"rpc.system": system, "rpc.service": service, "rpc.method": method.name}
        self._is_grpc = system == GRPC
        self._spans = spans

    def around(self, handle: Handle) -> Handle:
        """The handler of a method with a span around each call. The context that the caller sends is the parent."""

        async def traced(data: bytes, context: Context) -> Any:  # noqa: ANN401 - what `handle` returns
            parent = context_of(context.invocation_metadata() or ())
            with self._spans.around(self._name, self._attributes, kind=SpanKind.SERVER, parent=parent) as span:
                try:
                    answer = await handle(data, context)
                except BaseException as error:
                    if _is_without_answer(error):
                        status = status_without_answer(context.time_remaining())
                        self._end(span, status, status.name)
                    raise
                if self._is_grpc:
                    span.set_attribute("rpc.grpc.status_code", 0)
                return answer

        return traced

    async def abort(self, context: Context, error: RampdError | DeadlineError) -> None:
        """Ends the call with the error, as `error_status.abort` does."""
        status, reason = ending_of(error)
        self._end(get_current_span(), status, reason or status.name)
        await abort(context, error)

    def noting(self, answer: Callable[[Any, Call], Awaitable[Any] | bytes]) -> Callable[[Any, Call], Any]:
        """A method of a servicer that answers once."""

        def noted(request: Message, call: Call) -> Awaitable[Any] | bytes:
            span = get_current_span()
            if not span.is_recording():
                return answer(request, call)
            _note(span, request)
            response = answer(request, call)
            if isinstance(response, bytes):
                _note_answer(span, request, response)
                return response
            return later(span, request, response)

        async def later(span: Span, request: Message, waiting: Awaitable[Any]) -> Any:  # noqa: ANN401
            response = await waiting
            _note_answer(span, request, response)
            return response

        return noted

    def noting_stream(self, answer: Callable[[Any, Call], AsyncGenerator[Any]]) -> Callable[[Any, Call], Any]:
        """A method of a servicer that answers with a stream."""

        def noted(request: Message, call: Call) -> AsyncGenerator[Any]:
            _note(get_current_span(), request)
            return answer(request, call)

        return noted

    def _end(self, span: Span, status: grpc.StatusCode, error_type: str) -> None:
        if self._is_grpc:
            span.set_attribute("rpc.grpc.status_code", status.value[0])
        else:
            span.set_attribute("rpc.connect_rpc.error_code", status.name.lower())
        if status in _DEFECTS:
            fail(span, error_type)
        else:
            span.set_attribute(ERROR_TYPE, error_type)


def _is_without_answer(error: BaseException) -> bool:
    """Whether the caller has gone, its time is over, or the server stops. A call that is refused ends with another error, and `abort`
    has noted it.
    """
    if isinstance(error, grpc.aio.BaseError):
        return not isinstance(error, grpc.aio.AbortError)
    return isinstance(error, asyncio.CancelledError)


def _note(span: Span, request: Message) -> None:
    """What a request names."""
    fields = request.DESCRIPTOR.fields_by_name
    for name in ("component", "tag", "release", "percent"):
        if name in fields and (value := getattr(request, name)):
            span.set_attribute(f"rampd.{name}", value)
    for name in ("requests", "outcomes", "overrides"):
        if name in fields:
            span.set_attribute(f"rampd.{name}", len(getattr(request, name)))


def _note_answer(span: Span, request: Message, response: object) -> None:
    """What an answer says: the decision of Resolve, or the release and the revision of a change."""
    if isinstance(request, v1.ResolveRequest) and isinstance(response, bytes):
        found = v1.ResolveResponse.FromString(response)
        span.set_attribute("rampd.tag", found.tag)
        if found.channel:
            span.set_attribute("rampd.channel", v1.Channel.Name(found.channel).removeprefix("CHANNEL_"))
        span.set_attribute("rampd.reason", v1.ResolveReason.Name(found.reason).removeprefix("RESOLVE_REASON_"))
        span.set_attribute("rampd.release", found.release)
        span.set_attribute("rampd.revision", found.revision)
        span.set_attribute("rampd.stale", found.stale)
    elif isinstance(request, v1.ReleaseRequest) and isinstance(response, v1.ReleaseResponse):
        span.set_attribute("rampd.release", response.release)
        span.set_attribute("rampd.disposition", v1.Disposition.Name(response.disposition).removeprefix("DISPOSITION_"))
        span.set_attribute("rampd.revision", response.revision)
    elif "request_id" in request.DESCRIPTOR.fields_by_name and (revision := getattr(response, "revision", 0)):
        span.set_attribute("rampd.revision", revision)
