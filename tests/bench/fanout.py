"""The time from Ramp's answer to the last of many watchers, against a bare server that sends the same bytes to as many streams.

Both servers run on one core. The watchers of both are the same program, which runs on the other core.
"""

import itertools
from contextlib import closing

from rampd import v1
from tests.bench import cores, fan_server, running
from tests.bench.load import median, percentile
from tests.bench.report import Row, at_most, plain
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale
from tests.bench.watchers import Watchers

WATCH, RAMP = "/rampd.v1.ResolverService/Watch", "/rampd.v1.RolloutService/Ramp"
NUMBERS = (1, 100, 1000)
MOST = 1.5
CHANGES = 20
"""The number of changes in a round. Each round has new watchers."""
SETTLE_S = 0.3
_percents = itertools.cycle((20, 10))


def run(scale: Scale) -> list[Row]:
    with running.store() as store, running.rampd(store) as server, running.bare("fan_server") as bare:
        running.begin_rollout(server)
        with cores.on(cores.LOAD):
            message = ramp(server.target, 1)[0][2][5:]
            return [
                row
                for number in NUMBERS
                for row in compared(
                    number,
                    *in_turns(
                        max(2, scale.rounds // 2),
                        lambda number=number: ramp(server.target, number),
                        lambda number=number: push(bare.target, number, message),
                    ),
                )
            ]


Change = tuple[float, float, bytes]
"""The result of `Watchers.change`."""


def ramp(target: str, number: int) -> list[Change]:
    with closing(Watchers(target, WATCH, v1.WatchRequest().SerializeToString(), number)) as watchers:
        watchers.until_each_has(1)
        watchers.drain(SETTLE_S)
        return [
            watchers.change(
                RAMP,
                v1.RampRequest(component=running.COMPONENT, percent=next(_percents)).SerializeToString(),
                running.COMPONENT.encode(),
            )
            for _ in range(CHANGES)
        ]


def push(target: str, number: int, message: bytes) -> list[Change]:
    with closing(Watchers(target, fan_server.WATCH, b"", number)) as watchers:
        watchers.until_each_has(1)
        watchers.drain(SETTLE_S)
        return [watchers.change(fan_server.PUSH, message, message) for _ in range(CHANGES)]


def compared(number: int, ours: list[list[Change]], bare: list[list[Change]]) -> list[Row]:
    name = f"{number:,} watchers" if number > 1 else "1 watcher"
    p50s, bare_p50s = medians_ms(ours), medians_ms(bare)
    return [
        plain(f"{name}: from Ramp's answer to the last watcher, p50", p50s, "ms"),
        plain(f"{name}: the same, p99 of all changes", [p99_ms(ours)], "ms"),
        plain(f"{name}, bare: p50", bare_p50s, "ms"),
        plain(f"{name}, bare: p99 of all changes", [p99_ms(bare)], "ms"),
        at_most("  ratio of p50", ratios(p50s, bare_p50s), "", MOST),
        plain("  Ramp itself: p50", medians_ms(ours, 0), "ms"),
        plain("  the bare call itself: p50", medians_ms(bare, 0), "ms"),
    ]


def medians_ms(rounds: list[list[Change]], part: int = 1) -> list[float]:
    return [1000 * median([change[part] for change in changes]) for changes in rounds]


def p99_ms(rounds: list[list[Change]]) -> float:
    return 1000 * percentile(sorted(after for changes in rounds for _, after, _ in changes), 0.99)
