"""What traces cost a Resolve: a server without the API of OpenTelemetry, one with the API alone, and one that records each call.

All run on one core, in turns. The spans that are recorded go nowhere, so the cost of an exporter is not in the figures.
"""

import contextlib
import os
from pathlib import Path

from tests.bench import running
from tests.bench.load import Load
from tests.bench.report import Row, at_least, plain
from tests.bench.resolve import METHOD, REQUEST, SLICES
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import Scale
from tests.servers import short_directory

LEAST = 0.98
_WITHOUT_API = """
raise ModuleNotFoundError("the server is measured without the API", name="opentelemetry")
"""
_RECORDING = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Nowhere(SpanExporter):
    has_exported = False

    def export(self, spans):
        if not self.has_exported:
            self.has_exported = True
            print('{"event": "spans_exported"}', flush=True)
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Nowhere()))
trace.set_tracer_provider(provider)
"""
"""Python imports `sitecustomize` at its start, if there is one."""


def run(scale: Scale) -> list[Row]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        folders = [stack.enter_context(short_directory()) for _ in range(2)]
        without = stack.enter_context(running.rampd(store, **_finding(folders[0], "opentelemetry", _WITHOUT_API)))
        idle = stack.enter_context(running.rampd(store))
        recording = stack.enter_context(running.rampd(store, **_finding(folders[1], "sitecustomize", _RECORDING)))
        running.begin_rollout(without)
        loads = [Load(server.target, METHOD, REQUEST) for server in (without, idle, recording)]
        calls = scale.calls // SLICES
        slices = in_turns(scale.rounds * SLICES, *(lambda load=load: load.throughput(calls) for load in loads))
        # A server that has recorded nothing has cost nothing, so its figure would be wrong.
        recording.event("spans_exported")
    rates, idle_rates, recording_rates = (pooled(found, SLICES) for found in slices)
    return [
        plain("Resolve without the API of OpenTelemetry, 64 at once", rates, "calls/s"),
        plain("Resolve with the API and no provider, 64 at once", idle_rates, "calls/s"),
        at_least("ratio with the API and no provider", ratios(idle_rates, rates), "", LEAST),
        plain("Resolve with a provider that records, 64 at once", recording_rates, "calls/s"),
        plain("ratio with a provider that records", ratios(recording_rates, rates), ""),
    ]


def _finding(folder: Path, module: str, code: str) -> dict[str, str]:
    """The environment of a program that finds a module before every other one of its name."""
    (folder / f"{module}.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}
