"""An honest launcher beside a hostile client of each kind: the p99 of its Resolve, before and during the attack.

The server has one core. The attacker and the honest launcher share the other core. The honest launcher has a token of its own,
and makes one call after the other.
"""

import time

from rampd_server.access.grants import Limits
from tests.bench import cores, running
from tests.bench.load import Load, percentile
from tests.bench.report import Row, plain
from tests.bench.resolve import METHOD, REQUEST
from tests.bench.scale import Scale
from tests.hostile import ISSUER, KINDS, attacking
from tests.servers import short_directory

SETTLE_S = 2.0
LIMITS = f"calls_per_s = 200, burst = 200, streams = 50, outcomes_per_s = {Limits().outcomes_per_s}"


def run(scale: Scale) -> list[Row]:
    calls = scale.calls // 4
    rows: list[Row] = []
    with short_directory() as folder, running.store() as store:
        access = running.Access.of(folder, honest="", hostile=LIMITS)
        access.trust(ISSUER)
        with running.rampd(store) as open_:
            running.begin_rollout(open_)
        for kind in KINDS:
            with running.guarded(store, access) as server:
                honest = Load(server.target, METHOD, REQUEST, access.tokens["honest"])
                honest.latencies_us(calls)
                before = honest.latencies_us(calls)
                with cores.on(cores.LOAD), attacking(kind, server.target, access.tokens["hostile"]):
                    time.sleep(SETTLE_S)
                    during = honest.latencies_us(calls)
            rows += rows_of(kind, before, during)
    return rows


def rows_of(kind: str, before: list[int], during: list[int]) -> list[Row]:
    p99s = [percentile(each, 0.99) / 1000 for each in (before, during)]
    return [
        plain(f"{kind}: p99 before", p99s[:1], "ms"),
        plain("  p99 during", p99s[1:], "ms"),
        plain("  ratio", [p99s[1] / p99s[0]], ""),
    ]
