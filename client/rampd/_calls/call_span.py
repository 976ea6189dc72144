"""The span of a call to a server, and the metadata by which the server continues the trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import grpc

from rampd._calls.methods import Method
from rampd._runtime.tracing import tracer
from rampd.errors import RampdError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Metadata: TypeAlias = tuple[tuple[str, str], ...]


@contextmanager
def call_span(method: Method, target: str) -> Iterator[Metadata]:
    """A span for all tries of one call. Gives the metadata to send. Where there are no traces, it is empty.

    It does not become the current span: the block of a stream may end in another context than it began in.
    """
    found = tracer()
    if found is None:
        yield ()
        return
    span = _start(found, method, target)
    try:
        yield _metadata(span)
    except BaseException as error:
        _fail(span, error)
        raise
    else:
        span.set_attribute("rpc.grpc.status_code", 0)
    finally:
        span.end()


def _start(found: Tracer, method: Method, target: str) -> Span:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the program has imported it, as there is a tracer

    service, _, name = method.path[1:].partition("/")
    attributes: dict[str, str | int] = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
    host, _, port = target.removeprefix("https://").rpartition(":")
    if port.isdecimal():
        attributes |= {"server.address": host.strip("[]"), "server.port": int(port)}
    else:
        attributes["server.address"] = target
    return found.start_span(method.path[1:], kind=SpanKind.CLIENT, attributes=attributes)


def _metadata(span: Span) -> Metadata:
    from opentelemetry import propagate, trace  # noqa: PLC0415

    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    return tuple((key.lower(), value) for key, value in carrier.items())


def _fail(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    if isinstance(error, GeneratorExit):
        return  # the reader of a stream has read enough
    if isinstance(cause := error.__cause__, grpc.Call):
        span.set_attribute("rpc.grpc.status_code", cause.code().value[0])
    span.set_attribute("error.type", error.reason if isinstance(error, RampdError) else type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))
