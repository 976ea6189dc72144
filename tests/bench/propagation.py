"""How soon another server uses a change: the time from Ramp's answer to the first new answer of the other server."""

import contextlib
import itertools
import time

from tests.bench import cores, running
from tests.bench.load import percentile
from tests.bench.report import Row, at_most, plain
from tests.bench.scale import Scale

TARGET_MS = 50


def run(scale: Scale) -> list[Row]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        first = stack.enter_context(running.rampd(store))
        second = stack.enter_context(running.rampd(store, on=cores.LOAD))
        running.begin_rollout(first)
        write, read = stack.enter_context(running.calls(first)), stack.enter_context(running.calls(second))
        percents = itertools.cycle((10, 20))
        found = []
        for _ in range(scale.rounds * 50):
            revision = write("Ramp", component=running.COMPONENT, percent=next(percents)).revision
            answered = time.perf_counter()
            while read("Resolve", component=running.COMPONENT, repo=running.REPO).revision < revision:
                pass
            found.append((time.perf_counter() - answered) * 1000)
    found.sort()
    return [
        plain("from Ramp's answer to the first new Resolve elsewhere: p50", [percentile(found, 0.5)], "ms"),
        at_most(
            "from Ramp's answer to the first new Resolve elsewhere: p99", [percentile(found, 0.99)], "ms", TARGET_MS
        ),
    ]
