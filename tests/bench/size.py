"""One component with a million overrides, and a thousand components: the start of a server on them, and calls to it.

Calls are measured in turns with a small store: ten components, one of which has ten overrides.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial

import redis

from rampd import v1
from rampd_server.process import event_loop
from tests import filling
from tests.bench import cores, running
from tests.bench.load import Load, median, percentile
from tests.bench.ramp import latencies_us
from tests.bench.report import Row, at_most, plain
from tests.bench.resolve import METHOD, SLICES
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import Scale
from tests.observing import health_checks, peak_memory_mb, pings
from tests.servers import ServerProcess, Stubs
from tests.stores import StoreServer

FEW_COMPONENTS, FEW_OVERRIDES = 10, 10
START_S, START_MB, BLOCK_MS, FLAT = 15, 600, 50, 1.2


def run(scale: Scale) -> list[Row]:
    with filled(scale.components, scale.overrides) as large, filled(FEW_COMPONENTS, FEW_OVERRIDES) as small:
        rows = start(large)
        with running.rampd(large) as on_large, running.rampd(small) as on_small:
            rows += flatness(scale, on_large, on_small)
            rows += changes(scale, (large, on_large), (small, on_small))
            with running.calls(on_large) as call:
                rows += bulk(scale, call)
    return rows


@contextlib.contextmanager
def filled(components: int, overrides: int) -> Iterator[StoreServer]:
    """Starts a store and fills it with this many components and overrides."""
    with running.store() as server:

        async def fill() -> None:
            store = server.store()
            try:
                await filling.fill(store, components=components, overrides=overrides)
            finally:
                await store.close()

        event_loop.run(fill())
        yield server


def start(store: StoreServer) -> list[Row]:
    """Measures one server's start from the store, from callers, and from the system."""
    with redis.Redis.from_url(store.url) as client, cores.on(cores.LOAD):
        client.config_set("slowlog-max-len", 10_000)
        client.config_set("slowlog-log-slower-than", 100)
        client.slowlog_reset()
        began = time.monotonic()
        with (
            pings(store.url.removeprefix("unix://")) as store_waits,
            running.starting(store) as server,
            health_checks(server.target) as server_waits,
        ):
            server.event("serving", within_s=120)
            seconds = time.monotonic() - began
            load_s = float(server.event("replica_loaded")["seconds"])
            memory_mb = peak_memory_mb(server.process.pid)
        commands_us = [entry["duration"] for entry in client.slowlog_get(10_000)]
        client.config_set("slowlog-log-slower-than", -1)
    waits_ms = sorted(1000 * wait for wait in server_waits)
    return [
        at_most("a server's start until it serves", [seconds], "s", START_S),
        plain("  of that, reading everything", [load_s], "s"),
        at_most("  its peak memory", [memory_mb], "MB", START_MB),
        at_most("  longest wait for Redis of another client", [max(store_waits) * 1000], "ms", BLOCK_MS),
        plain("  longest command by Redis' own clock", [max(commands_us, default=0) / 1000], "ms"),
        plain("  wait for the new server's health: p50", [percentile(waits_ms, 0.5)], "ms"),
        plain("  wait for the new server's health: p99", [percentile(waits_ms, 0.99)], "ms"),
        plain("  wait for the new server's health: longest", [waits_ms[-1]], "ms"),
    ]


def flatness(scale: Scale, large: ServerProcess, small: ServerProcess) -> list[Row]:
    """Measures Resolve of a repo that has an override, in the large component and in a small component."""
    request = v1.ResolveRequest(component=filling.LARGE, repo=filling.repo(1))
    loads = [Load(server.target, METHOD, request) for server in (large, small)]
    calls = scale.calls // SLICES
    slices = in_turns(scale.rounds * SLICES, *(partial(load.throughput, calls) for load in loads))
    rates = [pooled(found, SLICES) for found in slices]
    return [
        plain("Resolve in the large store", rates[0], "calls/s"),
        plain(f"Resolve with {FEW_COMPONENTS} components and {FEW_OVERRIDES} overrides", rates[1], "calls/s"),
        at_most("ratio of time", ratios(rates[1], rates[0]), "", FLAT),
    ]


def changes(scale: Scale, *places: tuple[StoreServer, ServerProcess]) -> list[Row]:
    """Sets one override again and again. Measures until the answer, and until another server uses the override."""
    with contextlib.ExitStack() as stack:
        measures: list[Callable[[], list[float]]] = []
        for store, server in places:
            write = stack.enter_context(running.calls(server))
            other = stack.enter_context(running.rampd(store, on=cores.LOAD))
            read = stack.enter_context(running.calls(other))
            channels = itertools.cycle((v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT))
            measures.append(partial(latencies_us, partial(change, write, channels), scale.calls // 60))
            measures.append(partial(latencies_us, partial(change, write, channels, read), scale.calls // 60))
        found = in_turns(scale.rounds, *measures)
    answers, elsewhere, few_answers, few_elsewhere = ([median(each) for each in rounds] for rounds in found)
    return [
        plain("SetOverride in the large store: p50", answers, "us"),
        plain(f"SetOverride with {FEW_OVERRIDES} overrides: p50", few_answers, "us"),
        at_most("ratio of p50", ratios(answers, few_answers), "", FLAT),
        plain("the same until another server uses it: p50", elsewhere, "us"),
        plain(f"the same with {FEW_OVERRIDES} overrides: p50", few_elsewhere, "us"),
        at_most("ratio of p50", ratios(elsewhere, few_elsewhere), "", FLAT),
    ]


def change(write: Stubs, channels: Iterator[int], read: Stubs | None = None) -> None:
    revision = write("SetOverride", component=filling.LARGE, repo=filling.repo(1), channel=next(channels)).revision
    if read is not None:
        while read("Resolve", component=filling.LARGE, repo=filling.repo(1)).revision < revision:
            pass


def bulk(scale: Scale, call: Stubs) -> list[Row]:
    """Measures a thousand overrides at once: writing and listing."""
    tags = itertools.count()

    def write() -> None:
        tag = f"pb/bulk-{next(tags)}"
        overrides = [v1.OverrideChange(repo=filling.repo(number), tag=tag) for number in range(filling.BATCH)]
        call("BatchSetOverrides", component=filling.LARGE, overrides=overrides)

    def list_page(prefix: str) -> None:
        call("ListOverrides", component=filling.LARGE, prefix=prefix, page_size=1000)

    calls = scale.rounds * 5
    return [
        plain("BatchSetOverrides of 1,000 in the large store: p50", [median(latencies_us(write, calls)) / 1000], "ms"),
        plain(
            "ListOverrides, a page of 1,000: p50", [median(latencies_us(partial(list_page, ""), calls)) / 1000], "ms"
        ),
        plain(
            "ListOverrides of one owner: p50",
            [median(latencies_us(partial(list_page, "owner-0042/"), calls)) / 1000],
            "ms",
        ),
    ]
