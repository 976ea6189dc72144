"""How many commands a Resolve costs Redis, by its own count: none. What follows the feed goes on beside it, and is taken off."""

import time
from collections.abc import Callable

from tests.bench import running
from tests.bench.load import Load
from tests.bench.report import Row, Spread, plain
from tests.bench.resolve import METHOD, REQUEST
from tests.bench.scale import Scale
from tests.stores import StoreServer

# The measuring itself, and the connection it opens.
OWN = frozenset({"info", "hello", "client|setinfo", "client|setname", "select", "ping"})
SETTLE_S = 3.0
"""By then the server has looked at the rollout that was made, and swept."""
IDLE_WINDOWS = 2


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
    # What goes on by itself may begin in the one window or the other.
    per_call = max(0, during - idle - 8) / calls
    return [
        plain(f"commands while {calls:,} Resolves were answered", [during], ""),
        plain("commands in as long a time with none", [idle], ""),
        Row("commands per Resolve", Spread.of([per_call]), "", "0", per_call == 0),
    ]


def counted(store: StoreServer, work: Callable[[], object]) -> int:
    """Commands that Redis ran meanwhile."""
    before = total(store)
    work()
    return total(store) - before


def total(store: StoreServer) -> int:
    return sum(calls for name, calls in running.command_counts(store).items() if name not in OWN)
