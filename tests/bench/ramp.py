"""Ramp against the least that a write needs: a bare server that runs one small script and answers.

The bare server sends it through redis-py. The same over rampd's connection for scripts, and the bare echo, are measured as well. One
client makes all calls, one after the other.
"""

import itertools
import time
from collections.abc import Callable
from functools import partial

import grpc

from rampd.v1 import resolver_service_pb2_grpc as generated
from tests.bench import cores, running
from tests.bench.load import median, percentile
from tests.bench.report import Row, at_most, plain
from tests.bench.resolve import REQUEST
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale

MOST = 1.7


def run(scale: Scale) -> list[Row]:
    with (
        running.store() as store,
        running.rampd(store) as server,
        running.bare("echo_server", "uvloop") as echo,
        running.bare("script_server", "redis-py", store.url) as script,
        running.bare("script_server", "rampd", store.url) as shared,
        running.calls(server) as call,
        grpc.insecure_channel(echo.target) as echo_channel,
        grpc.insecure_channel(script.target) as script_channel,
        grpc.insecure_channel(shared.target) as shared_channel,
        cores.on(cores.LOAD),
    ):
        running.begin_rollout(server)
        percents = itertools.cycle((10, 20))
        measures = (
            lambda: call("Ramp", component=running.COMPONENT, percent=next(percents)),
            partial(generated.ResolverServiceStub(script_channel).Resolve, REQUEST),
            partial(generated.ResolverServiceStub(shared_channel).Resolve, REQUEST),
            partial(generated.ResolverServiceStub(echo_channel).Resolve, REQUEST),
        )
        calls = scale.calls // 20
        found = in_turns(scale.rounds, *(partial(latencies_us, measure, calls) for measure in measures))
    ramps, scripts, shares, echoes = ([median(each) for each in rounds] for rounds in found)
    return [
        plain("Ramp: p50", ramps, "us"),
        plain("Ramp: p99", [percentile(each, 0.99) for each in found[0]], "us"),
        plain("bare EVALSHA and echo: p50", scripts, "us"),
        plain("bare EVALSHA and echo: p99", [percentile(each, 0.99) for each in found[1]], "us"),
        plain("the same over rampd's connection: p50", shares, "us"),
        plain("bare echo alone: p50", echoes, "us"),
        at_most("ratio of p50", ratios(ramps, scripts), "", MOST),
        plain("ratio of p50 to the same over rampd's connection", ratios(ramps, shares), ""),
    ]


def latencies_us(call: Callable[[], object], calls: int) -> list[float]:
    """Makes calls one after the other. Returns their times, sorted."""
    found = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        found.append((time.perf_counter() - began) * 1e6)
    return sorted(found)
