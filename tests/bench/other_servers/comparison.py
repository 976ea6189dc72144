"""Measures both listeners of rampd, the other servers, and bare echoes, in turns.

All servers share one core, and h2load has the other. Each server has one flag, with the same 10 % and the same pinned repo. It is
asked about a repo that is not pinned. A bare echo sends a prepared answer: nothing that its library carries can be faster.
"""

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial

from rampd import v1
from tests.bench import running
from tests.bench.load import Load, median
from tests.bench.other_servers import asking, echoes, opponents
from tests.bench.report import Row, at_least, at_most, plain
from tests.bench.resolve import METHOD, SLICES
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import WHOLE, Scale

FAST, GRPCIO = "rampd, fast listener", "rampd, grpcio"
TIMES_AS_MANY = {opponents.FLIPT: 1.2, opponents.FLAGD: 5.0}
"""How many times as many calls as these servers the fast listener should answer."""
TIMES_THE_P50 = 1.5
"""How long a call that comes alone may take at the fast listener, against grpc-go's echo."""

Figures = Mapping[str, Sequence[float]]
"""The rounds of each server."""


def run(scale: Scale) -> list[Row]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        server = stack.enter_context(running.rampd(store, "--fast-listen", "127.0.0.1:0"))
        running.begin_rollout(server)
        loads = {
            name: asking.over_grpc(name, target, METHOD, _request)
            for name, target in ((FAST, server.fast_target), (GRPCIO, server.target))
        }
        for start in (*opponents.ALL, *echoes.ALL):
            loads |= stack.enter_context(start())
        slices = [partial(load.throughput, _calls_of_a_slice(load, scale)) for load in loads.values()]
        rates = in_turns(scale.rounds * SLICES, *slices)
        waits = in_turns(scale.rounds, *(partial(load.latencies_us, scale.calls // 4) for load in loads.values()))
    return report(
        {name: pooled(found, SLICES) for name, found in zip(loads, rates, strict=True)},
        {name: [median(each) for each in found] for name, found in zip(loads, waits, strict=True)},
    )


def report(rates: Figures, p50s: Figures) -> list[Row]:
    """Returns the figures of each server, and then the fast listener against each of the others."""
    rows = [plain(f"{name}: 64 at once", found, "calls/s") for name, found in rates.items()]
    for name, found in rates.items():
        against = f"  fast listener against {name}"
        if name in TIMES_AS_MANY:
            rows.append(at_least(against, ratios(rates[FAST], found), "", TIMES_AS_MANY[name]))
        elif name != FAST:
            rows.append(plain(against, ratios(rates[FAST], found), ""))
    rows += [plain(f"{name}: one by one, p50", found, "us") for name, found in p50s.items()]
    if echoes.GO in p50s:
        times = ratios(p50s[FAST], p50s[echoes.GO])
        rows.append(at_most(f"  fast listener against {echoes.GO}", times, "", TIMES_THE_P50))
    return rows


def _calls_of_a_slice(load: Load, scale: Scale) -> int:
    """Returns how many calls take a third of a second, so that other work of the machine disturbs each server for as long."""
    return round(load.throughput(scale.calls) * scale.calls / WHOLE.calls / 3)


def _request(repo: str) -> bytes:
    return v1.ResolveRequest(component=running.COMPONENT, repo=repo, job_id="4711").SerializeToString()
