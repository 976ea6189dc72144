"""The public call of a local resolver against the least that it needs: one murmur3 and two look-ups, in plain Python.

Both ask for the same few repos again and again. Most of these repos are not pinned. The time of the loop is subtracted.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median

from mmh3 import mmh3_32_uintdigest

from rampd import Resolver
from tests import filling
from tests.bench import running
from tests.bench.report import Row, at_most, plain
from tests.bench.rounds import in_turns, ratios
from tests.bench.scale import Scale
from tests.bench.size import filled

MOST = 6
FLAT = 1.2
FEW, MANY = 10, 100_000
MOST_COMPONENTS = 1_000
THREADS = 4
REPOS = (*(f"acme/app-{number}" for number in range(60)), *map(filling.repo, range(4)))


def run(scale: Scale) -> list[Row]:
    many, components = min(MANY, scale.overrides), min(MOST_COMPONENTS, scale.components)
    with (
        resolver(1, FEW) as small,
        resolver(components, FEW) as wide,
        resolver(1, many) as long,
    ):
        calls = scale.calls * 2
        measures = [partial(nanoseconds, each, calls) for each in (floor, *map(public, (small, wide, long)))]
        # Many calls, so that the time to start the threads does not matter.
        measures.append(partial(nanoseconds, partial(at_once, public(small)), calls * 20, goes=1))
        floors, smalls, wides, longs, threads = in_turns(scale.rounds, *measures)
    return [
        plain("the floor: one murmur3, two look-ups", floors, "ns"),
        plain(f"resolver.resolve(), 1 component, {FEW} overrides", smalls, "ns"),
        at_most("ratio", ratios(smalls, floors), "", MOST),
        plain(f"resolver.resolve(), {components:,} components", wides, "ns"),
        at_most("ratio to 1 component", ratios(wides, smalls), "", FLAT),
        plain(f"resolver.resolve(), {many:,} overrides", longs, "ns"),
        at_most(f"ratio to {FEW} overrides", ratios(longs, smalls), "", FLAT),
        plain(f"resolver.resolve(), {THREADS} threads at once, time per call", threads, "ns"),
        plain("ratio to one thread", ratios(threads, smalls), ""),
    ]


@contextlib.contextmanager
def resolver(components: int, overrides: int) -> Iterator[Resolver]:
    """A resolver that watches a server of this size, and has already answered for each repo."""
    with (
        filled(components, overrides) as store,
        running.rampd(store) as server,
        Resolver(server.target, timeout=60) as made,
    ):
        for repo in REPOS:
            made.resolve(filling.LARGE, repo=repo)
        yield made


def nanoseconds(ask_all: Callable[[Sequence[str]], None], calls: int, goes: int = 20) -> float:
    """Returns the time of one call without the loop. The calls are split into `goes` runs, and the median run counts."""
    repos = REPOS * max(1, calls // len(REPOS) // goes)
    return (median(timed(ask_all, repos) for _ in range(goes)) - timed(nothing, repos)) / len(repos)


def timed(ask_all: Callable[[Sequence[str]], None], repos: Sequence[str]) -> float:
    began = time.perf_counter_ns()
    ask_all(repos)
    return time.perf_counter_ns() - began


def nothing(repos: Sequence[str]) -> None:
    for _ in repos:
        pass


def floor(repos: Sequence[str]) -> None:
    components, overrides = {filling.LARGE: b"c0000/2:"}, {filling.repo(1): "NEXT"}
    for repo in repos:
        mmh3_32_uintdigest(components[filling.LARGE] + repo.encode())
        overrides.get(repo)


def public(resolver: Resolver) -> Callable[[Sequence[str]], None]:
    def ask_all(repos: Sequence[str]) -> None:
        for repo in repos:
            resolver.resolve(filling.LARGE, repo=repo)

    return ask_all


def at_once(ask_all: Callable[[Sequence[str]], None], repos: Sequence[str]) -> None:
    """Makes the same number of calls, shared among threads."""
    share = repos[: len(repos) // THREADS]
    threads = [threading.Thread(target=ask_all, args=(share,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
