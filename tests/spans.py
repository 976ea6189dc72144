"""A tracer provider for one test, whose spans stay in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer

from tests.waiting import eventually


class Spans:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter, tracer: Tracer) -> None:
        self._exporter = exporter
        self.tracer = tracer

    def all(self, name: str, kind: SpanKind | None = None) -> list[ReadableSpan]:
        """The spans with a name, the oldest first. `*` is every name."""
        return [
            span
            for span in self._exporter.get_finished_spans()
            if name in ("*", span.name) and kind in (None, span.kind)
        ]

    def one(
        self, name: str, kind: SpanKind | None = None, *, where: Callable[[ReadableSpan], bool] = bool
    ) -> ReadableSpan:
        """The last span with a name. Waits for it, because a span of the server may end after its answer was received."""

        def found() -> ReadableSpan | None:
            return next((span for span in reversed(self.all(name, kind)) if where(span)), None)

        eventually(lambda: found() is not None)
        span = found()
        assert span is not None
        return span


@contextmanager
def recording(patch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Sets up a provider. What was bound while there was one keeps its spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # The API lets a process set its provider only once.
    patch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Spans(exporter, provider.get_tracer("test"))
    provider.shutdown()
