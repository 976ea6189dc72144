"""Traces where there are none: without the API of OpenTelemetry, and outside of a span; and what the log says within one."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry import baggage, context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, get_current_span, use_span

from rampd_server.process import logs
from rampd_server.process.config import LogFormat, LogLevel
from rampd_server.tracing import switch
from rampd_server.tracing.trace_context import context_of
from tests.logging_as_before import logging_as_before
from tests.spans import recording

WITHOUT_API = """
import sys
sys.modules["opentelemetry"] = None  # an import raises ModuleNotFoundError
import rampd_server.app
from rampd_server.tracing import switch
from rampd_server.rpc.binding import bind
from rampd_server.rpc.door import Door, local
from rampd_server.access.rpc_roles import Role
from rampd_server.storage.link import Link

assert switch.spans() is None
assert switch.place()() == {}
assert switch.caller()([("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]) is None
handlers = bind({}, violations=lambda _: [], door=Door(local(Role.ADMIN)))
print(handlers._handlers["/rampd.v1.ResolverService/Resolve"].unary_unary.__qualname__)
assert not [name for name in sys.modules if name.startswith("opentelemetry.")]
"""


def test_a_server_without_the_api_is_as_it_is_without_traces() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_API], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("_unary.<locals>.handle\n", "")


def test_another_missing_module_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rampd_server.tracing.spans", None)
    with pytest.raises(ModuleNotFoundError):
        switch.spans()


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    written = io.StringIO()
    with logging_as_before():
        logs.configure(LogFormat.JSON, LogLevel.INFO, written)
        yield written


def test_a_line_within_a_span_names_it_whoever_wrote_the_line(out: io.StringIO) -> None:
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    with use_span(NonRecordingSpan(context)):
        structlog.get_logger("rampd_server").warning("ours")
        logging.getLogger("another.package").warning("theirs")
    structlog.get_logger("rampd_server").warning("outside")

    within, library, outside = [json.loads(line) for line in out.getvalue().splitlines()]
    for line in (within, library):
        assert (line["trace_id"], line["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert not {"trace_id", "span_id"} & outside.keys()


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WRONG = {
    "long baggage": {"baggage": "a" * 9_000},
    "baggage of many members": {"baggage": ",".join(["x"] * 500)},
    "a wrong tracestate": {"tracestate": ",".join(["x"] * 200)},
    "a wrong traceparent": {"traceparent": "x" * 3_000},
}


@pytest.mark.parametrize("how", WRONG)
def test_what_a_caller_sends_for_traces_fills_no_log(out: io.StringIO, how: str) -> None:
    context_of({"traceparent": TRACEPARENT, **WRONG[how]}.items())
    assert out.getvalue() == ""


def test_the_baggage_of_a_caller_is_in_no_context() -> None:
    found = context_of([("traceparent", TRACEPARENT), ("baggage", "repo=acme-secret")])
    assert get_current_span(found).get_span_context().is_valid
    assert not baggage.get_all(found)


def test_after_a_span_there_is_no_current_span(monkeypatch: pytest.MonkeyPatch) -> None:
    with recording(monkeypatch) as found:
        spans = switch.spans()
        assert spans is not None
        with spans.around("first", {}) as first:
            assert get_current_span() is first
        assert not get_current_span().get_span_context().is_valid
        with pytest.raises(ValueError, match="broken"), spans.around("second", {}):
            raise ValueError("broken")
        assert not get_current_span().get_span_context().is_valid
        assert [span.parent for span in found.all("*")] == [None, None]


def test_another_server_gets_the_place_in_the_trace_and_not_the_baggage(monkeypatch: pytest.MonkeyPatch) -> None:
    token = context.attach(baggage.set_baggage("repo", "acme-secret"))
    try:
        with recording(monkeypatch):
            spans = switch.spans()
            assert spans is not None
            with spans.around("call", {}):
                assert baggage.get_baggage("repo") == "acme-secret"
                assert spans.headers().keys() == {"traceparent"}
    finally:
        context.detach(token)


def test_a_server_in_another_program_names_the_span_too(caplog: pytest.LogCaptureFixture) -> None:
    with logging_as_before():
        logs.hand_to_standard_library()
        context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
        with caplog.at_level(logging.INFO), use_span(NonRecordingSpan(context)):
            structlog.get_logger("rampd_server").info("ours")
    [record] = caplog.records
    assert (record.trace_id, record.span_id) == (f"{0xABC:032x}", f"{0xDEF:016x}")  # type: ignore[attr-defined]
