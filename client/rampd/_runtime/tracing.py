"""Traces of OpenTelemetry, where the program has them. This library never imports OpenTelemetry where the program has not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Attributes = Mapping[str, str | bool | int | float]

_SCOPE = "rampd"
_TRACE = "opentelemetry.trace"


def tracer() -> Tracer | None:
    """The tracer of this library. None without OpenTelemetry in this program, or without a tracer provider.

    Asked at each call, because a program may set up its provider after it has made a resolver.
    """
    trace = _trace()
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    found: Tracer = provider.get_tracer(_SCOPE)
    return found


def current_span() -> Span | None:
    """The span that this code runs in, if it is recorded."""
    trace = _trace()
    if trace is None:
        return None
    span: Span = trace.get_current_span()
    return span if span.is_recording() else None


def _trace() -> ModuleType | None:
    return sys.modules.get(_TRACE)
