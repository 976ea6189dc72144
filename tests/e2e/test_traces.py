"""Traces of a server that the environment sets up, as docs/observability/traces.md says."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from rampd import v1
from tests.servers import short_directory, stubs
from tests.waiting import eventually

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
RELEASE = "/rampd.v1.ReleaseService/Release"
SET_UP = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


@contextlib.contextmanager
def instrumented(directory: Path, *flags: str, **environment: str) -> Iterator[Path]:
    """A server under `opentelemetry-instrument`. Its spans go to the file `spans`, its log to the file `log`."""
    bin_directory = Path(sys.executable).parent
    with (directory / "spans").open("w") as spans, (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(bin_directory / "opentelemetry-instrument", bin_directory / "rampd-server"),
                *("--listen", "127.0.0.1:0", "--data-dir", directory / "data", "--log-format", "json"),
                *("--insecure-admin", *flags),
            ],
            stdout=spans,
            stderr=log,
            env={key: value for key, value in os.environ.items() if not key.startswith(("RAMPD_", "OTEL_"))}
            | environment,
        )
        try:
            yield directory
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def log_of(directory: Path) -> list[dict[str, Any]]:
    # The last line may not be whole yet.
    whole = (directory / "log").read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def spans_of(directory: Path) -> list[dict[str, Any]]:
    """The spans that the console exporter has printed, beside other lines."""
    text, spans = (directory / "spans").read_text(), []
    decoder = json.JSONDecoder()
    while (begin := text.find("{\n")) >= 0:
        span, end = decoder.raw_decode(text, begin)
        spans.append(span)
        text = text[end:]
    return spans


def event(directory: Path, name: str) -> dict[str, Any]:
    eventually(lambda: any(line["event"] == name for line in log_of(directory)))
    return next(line for line in reversed(log_of(directory)) if line["event"] == name)


def release(directory: Path, tag: str) -> None:
    target = event(directory, "listening")["address"]
    event(directory, "serving")
    with stubs(target) as call:
        stub = call.channel.unary_unary(RELEASE, v1.ReleaseRequest.SerializeToString, v1.ReleaseResponse.FromString)
        request = v1.ReleaseRequest(component="restyler", tag=tag, request_id="build-1")
        metadata = [("traceparent", TRACEPARENT)]
        # Another worker may have served first.
        eventually(lambda: stub(request, metadata=metadata, timeout=60), suppressed=grpc.RpcError)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((), id="one process"),
        pytest.param(
            ("--workers", "2"),
            id="workers",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has --workers"),
        ),
    ],
)
def test_the_environment_alone_sets_up_traces(flags: tuple[str, ...]) -> None:
    with short_directory() as directory:
        with instrumented(directory, *flags, **SET_UP):
            release(directory, "t1")
            committed = event(directory, "change_committed")
        spans = spans_of(directory)

    commit = next(span for span in spans if span["name"] == "commit_rollout")
    # A call before it may have found a worker that was not ready.
    [call] = [span for span in spans if span["context"]["span_id"] == commit["parent_id"]]
    assert call["name"] == RELEASE[1:]
    assert call["context"]["trace_id"] == f"0x{TRACE}"
    assert call["parent_id"] == "0xb7ad6b7169203331"
    # The line was written within the call's span, and names it.
    assert committed["trace_id"] == TRACE
    assert f"0x{committed['span_id']}" == call["context"]["span_id"]


def test_without_an_exporter_there_is_no_trace_in_spans_or_log() -> None:
    with short_directory() as directory:
        with instrumented(directory, OTEL_SDK_DISABLED="true"):
            release(directory, "t1")
            committed = event(directory, "change_committed")
        assert spans_of(directory) == []
    assert "trace_id" not in committed
