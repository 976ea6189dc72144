"""The place in a trace: from a caller's metadata, into the log, and as a text that is kept."""

from collections.abc import Iterable, Mapping

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rampd_server.tracing import TRACEPARENT

_w3c = TraceContextTextMapPropagator()
_BAGGAGE = "baggage"


def context_of(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """The context that a caller sent, read by the propagators that the process has (OTEL_PROPAGATORS). Without one, it is empty.

    The caller's baggage is left out, because rampd does not use it. Everybody who reaches the port can send wrong baggage, and the API
    would write up to 181 lines about it into the log, or all of it.
    """
    texts = {key: value for key, value in metadata if isinstance(value, str) and key != _BAGGAGE}
    return propagate.extract(texts, Context())


def traceparent_of(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """The caller's place in a trace as a `traceparent` of W3C, whatever form it was sent in; None if there is none."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, context_of(metadata))
    return carrier.get(TRACEPARENT)


def span_context_of(traceparent: str) -> SpanContext | None:
    """The place in a trace that a `traceparent` names; None if it is not valid."""
    found = get_current_span(_w3c.extract({TRACEPARENT: traceparent}, Context())).get_span_context()
    return found if found.is_valid else None


def here() -> Mapping[str, str]:
    """The ids of the current trace and span, as W3C writes them. Empty outside of a span."""
    current = get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": format_trace_id(current.trace_id), "span_id": format_span_id(current.span_id)}
