"""Resolve against a bare echo: the same kind of gRPC server with the same messages, whose answer is ready in advance.

Both servers run on one core at the same time, and the load generator runs on the other. They are measured in turns.
"""

from rampd import v1
from tests.bench import running
from tests.bench.load import Load, median, percentile
from tests.bench.report import Row, Spread, at_most, plain
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import Scale

METHOD = "rampd.v1.ResolverService/Resolve"
REQUEST = v1.ResolveRequest(component=running.COMPONENT, repo=running.REPO, job_id="4711")
SLICES = 5
LEAST_THROUGHPUT = 0.85
MOST_LATENCY = 1.15


def run(scale: Scale) -> list[Row]:
    with running.store() as store, running.rampd(store) as server, running.bare("echo_server", "uvloop") as echo:
        running.begin_rollout(server)
        resolve, bare = Load(server.target, METHOD, REQUEST), Load(echo.target, METHOD, REQUEST)
        slice_calls = scale.calls // SLICES
        slices = in_turns(
            scale.rounds * SLICES, lambda: resolve.throughput(slice_calls), lambda: bare.throughput(slice_calls)
        )
        rates, bare_rates = (pooled(found, SLICES) for found in slices)
        latencies, bare_latencies = in_turns(
            scale.rounds, lambda: resolve.latencies_us(scale.calls // 4), lambda: bare.latencies_us(scale.calls // 4)
        )
    ratio = Spread.of(ratios(rates, bare_rates))
    p50s, bare_p50s = ([median(each) for each in found] for found in (latencies, bare_latencies))
    p99s, bare_p99s = ([percentile(each, 0.99) for each in found] for found in (latencies, bare_latencies))
    target = f"lower quartile at least {LEAST_THROUGHPUT}"
    return [
        plain("Resolve, 64 at once", rates, "calls/s"),
        plain("bare echo, 64 at once", bare_rates, "calls/s"),
        Row("ratio of throughput", ratio, "", target, ratio.lower >= LEAST_THROUGHPUT),
        plain("Resolve, one by one: p50", p50s, "us"),
        plain("bare echo, one by one: p50", bare_p50s, "us"),
        at_most("ratio of p50", ratios(p50s, bare_p50s), "", MOST_LATENCY),
        plain("Resolve, one by one: p99", p99s, "us"),
        plain("bare echo, one by one: p99", bare_p99s, "us"),
        plain("ratio of p99", ratios(p99s, bare_p99s), ""),
    ]
