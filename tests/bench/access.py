"""How much the check of a token slows Resolve: a server without an access file and one with tokens, in turns on one core."""

from tests.bench import running
from tests.bench.load import Load
from tests.bench.report import Row, at_least, plain
from tests.bench.resolve import METHOD, REQUEST, SLICES
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import Scale
from tests.servers import short_directory

LEAST = 0.95
ENDLESS = "calls_per_s = 1e9, burst = 1e9"
"""The load generator sends more calls than the default limits allow one launcher."""


def run(scale: Scale) -> list[Row]:
    with short_directory() as folder, running.store() as store:
        access = running.Access.of(folder, launcher=ENDLESS)
        with running.rampd(store) as open_, running.guarded(store, access) as guarded:
            running.begin_rollout(open_)
            without = Load(open_.target, METHOD, REQUEST)
            with_token = Load(guarded.target, METHOD, REQUEST, access.tokens["launcher"])
            calls = scale.calls // SLICES
            slices = in_turns(
                scale.rounds * SLICES, lambda: without.throughput(calls), lambda: with_token.throughput(calls)
            )
    rates, checked_rates = (pooled(found, SLICES) for found in slices)
    return [
        plain("Resolve without an access file, 64 at once", rates, "calls/s"),
        plain("Resolve with a token, 64 at once", checked_rates, "calls/s"),
        at_least("ratio", ratios(checked_rates, rates), "", LEAST),
    ]
