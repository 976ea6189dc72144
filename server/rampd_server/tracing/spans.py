"""Makes spans, and makes each the current one while its block runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from rampd_server.tracing.trace_context import span_context_of

SCOPE: Final = "rampd_server"
ERROR_TYPE: Final = "error.type"
_FIRST_ERROR: Final = 400
"""The statuses of HTTP from here on are errors for who has asked, as the conventions of OpenTelemetry have it."""

Attributes = Mapping[str, str | bool | int | float]


class Spans:
    """Makes spans for one tracer provider."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @classmethod
    def of_provider(cls) -> Self | None:
        """For the provider of this process; None if nobody has set one up, or if it is switched off (OTEL_SDK_DISABLED)."""
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            return None
        tracer = provider.get_tracer(SCOPE)
        return None if isinstance(tracer, trace.NoOpTracer) else cls(tracer)

    @contextmanager
    def around(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
        traceparent: str | None = None,
    ) -> Iterator[Span]:
        """A span for as long as the block lasts. `parent` is the caller's context; without it the current span is the parent.
        `traceparent` is a place in another trace that the span has a link to.

        The span ends in `finally`, and not with a `with` of the API across the answers of a stream, so it ends in every case and
        in the context that it began in.
        """
        links = _links(traceparent)
        span = self._tracer.start_span(name, parent, kind=kind, attributes=attributes, links=links)
        token = contexts.attach(trace.set_span_in_context(span, parent))
        try:
            yield span
        finally:
            contexts.detach(token)
            span.end()

    @contextmanager
    def client(self, name: str, attributes: Attributes) -> Iterator[Span]:
        """A span for a request of this server to another, as a part of the current span. An error that leaves the block is its
        error. Outside of a span it makes none: periodic work belongs to no trace.
        """
        if not trace.get_current_span().is_recording():
            yield trace.INVALID_SPAN
            return
        with self.around(name, attributes, kind=SpanKind.CLIENT) as span:
            try:
                yield span
            except BaseException as error:
                self.fail(span, error)
                raise

    @staticmethod
    def fail(span: Span, error: BaseException) -> None:
        """Says that what a span stands for has ended with an error."""
        fail(span, str(getattr(error, "reason", "") or type(error).__name__))

    @staticmethod
    def answered(status: int) -> None:
        """Notes in the current span the status with which another server has answered over HTTP."""
        span = trace.get_current_span()
        span.set_attribute("http.response.status_code", status)
        if status >= _FIRST_ERROR:
            fail(span, str(status))

    @staticmethod
    def headers() -> dict[str, str]:
        """The headers that name the current span to another server. The baggage of a caller is not among them, because it may have a
        repo in it.
        """
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(trace.get_current_span(), Context()))
        return carrier


def fail(span: Span, error_type: str) -> None:
    """Says that what a span stands for has failed. The message is left out, because it may have a repo in it."""
    span.set_attribute(ERROR_TYPE, error_type)
    span.set_status(Status(StatusCode.ERROR))


def _links(traceparent: str | None) -> list[Link]:
    linked = span_context_of(traceparent) if traceparent else None
    return [] if linked is None else [Link(linked)]
