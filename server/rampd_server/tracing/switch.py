"""Whether there are traces. Each part asks once, when it is made. Without traces it does nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rampd_server.tracing.spans import Spans

_API = "opentelemetry"


def spans() -> Spans | None:
    """Returns what makes spans. None without the API of OpenTelemetry, or without a tracer provider: then nobody looks at spans."""
    try:
        from rampd_server.tracing.spans import Spans  # noqa: PLC0415 - the API may be missing
    except ModuleNotFoundError as error:
        _require_api_missing(error)
        return None
    return Spans.of_provider()


def place() -> Callable[[], Mapping[str, str]]:
    """Returns a function that returns the trace and the span of the running code, for the log. It returns nothing without the API of
    OpenTelemetry.
    """
    try:
        from rampd_server.tracing.trace_context import here  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _require_api_missing(error)
        return dict
    return here


def caller() -> Callable[[Iterable[tuple[str, str | bytes]]], str | None]:
    """Returns a function that finds a caller's place in a trace in the metadata of a call, as a `traceparent`. It finds nothing without
    the API.
    """
    try:
        from rampd_server.tracing.trace_context import traceparent_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        _require_api_missing(error)
        return lambda _metadata: None
    return traceparent_of


def _require_api_missing(error: ModuleNotFoundError) -> None:
    """Raises the error again if another module is missing than the API."""
    if (error.name or "").partition(".")[0] != _API:
        raise error
