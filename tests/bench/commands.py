"""How many commands a Resolve costs Redis, by Redis' own count: none. The commands that follow the feed are subtracted."""

import time
from collections.abc import Callable

from tests.bench import running
from tests.bench.load import Load
from tests.bench.report import Row, Spread, plain
from tests.bench.resolve import METHOD, REQUEST
from tests.bench.scale import Scale
from tests.stores import StoreServer

# Commands of the measurement itself and of the connection that it opens.
OWN = frozenset({"info", "hello", "client|setinfo", "client|setname", "select", "ping"})
SETTLE_S = 3.0
"""By then the server's automation has looked at the new rollout, and its sweep has run."""
IDLE_WINDOWS = 2
BY_CHANCE = 8
"""Commands that the server sends by itself fall into either window by chance: so many may differ."""
OF_THE_REPO = 14
"""The server tells the store once an hour that it has seen the repo of these calls: so many commands in a script."""


def run(scale: Scale) -> list[Row]:
    with running.store() as store, running.rampd(store) as server:
        running.begin_rollout(server)
        load = Load(server.target, METHOD, REQUEST)
        calls = scale.calls * 4
        time.sleep(SETTLE_S)
        began = time.monotonic()
        during = counted(store, lambda: load.throughput(calls))
        seconds = time.monotonic() - began
        idle = max(counted(store, lambda: time.sleep(seconds)) for _ in range(IDLE_WINDOWS))
    per_call = max(0, during - idle - BY_CHANCE - OF_THE_REPO) / calls
    return [
        plain(f"commands while {calls:,} Resolves were answered", [during], ""),
        plain("commands in the same time without Resolves", [idle], ""),
        Row("commands per Resolve", Spread.of([per_call]), "", "0", per_call == 0),
    ]


def counted(store: StoreServer, work: Callable[[], object]) -> int:
    """Returns how many commands Redis ran during the work."""
    before = total(store)
    work()
    return total(store) - before


def total(store: StoreServer) -> int:
    return sum(calls for name, calls in running.command_counts(store).items() if name not in OWN)
