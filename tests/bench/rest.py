"""What rollouts under way cost Redis and each server while nothing happens to them. The number of rollouts must not matter."""

import contextlib
import time

from rampd_server.process import event_loop
from tests import filling
from tests.bench import running
from tests.bench.commands import total
from tests.bench.report import Row, at_most
from tests.bench.scale import QUICK, Scale
from tests.observing import cpu_us
from tests.stores import StoreServer

SERVERS = 10
ROLLOUTS = 10_000
WINDOW_S = 20.0
PER_SERVER = 10
"""The goal: commands a second for each server."""
PROCESSOR = 2.0
"""The goal: percent of a core for each server."""
_START_S = 900
_REST_S = 5.0
"""A server that has looked at all rollouts does not look for this time."""


def run(scale: Scale) -> list[Row]:
    is_whole = scale.components > QUICK.components
    servers, window_s = (SERVERS, WINDOW_S) if is_whole else (2, 5.0)
    rows = []
    for rollouts in (scale.components // 10, ROLLOUTS if is_whole else scale.components):
        commands, processor = measured(servers, rollouts, window_s)
        what = f"{servers} servers, {rollouts:,} rollouts under way"
        rows += [
            at_most(f"commands a second: {what}", [commands], "", PER_SERVER * servers),
            at_most(f"processor of a server: {what}", processor, "% of a core", PROCESSOR),
        ]
    return rows


def measured(servers: int, rollouts: int, window_s: float) -> tuple[float, list[float]]:
    """Returns the commands a second that all servers send, and the percent of a core that each server takes."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        event_loop.run(_fill(store, rollouts))
        started = [stack.enter_context(running.starting(store)) for _ in range(servers)]
        for server in started:
            server.event("serving", within_s=_START_S)
        _wait_for_rest(store)
        before, began_s = [cpu_us(each.process.pid) for each in started], time.monotonic()
        sent = total(store)
        time.sleep(window_s)
        sent = total(store) - sent
        lasted_s = time.monotonic() - began_s
        used = [cpu_us(each.process.pid) - earlier for each, earlier in zip(started, before, strict=True)]
    return sent / lasted_s, [each / lasted_s / 1e4 for each in used]


async def _fill(store: StoreServer, rollouts: int) -> None:
    own = store.store()
    await filling.begin_rollouts(own, rollouts)
    await own.close()


def _wait_for_rest(store: StoreServer) -> None:
    """Waits until no server has looked at a rollout for a while. Servers look at all of them once after their start."""
    looks, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < _REST_S:
        found = running.command_counts(store).get("hgetall", 0)
        if found != looks:
            looks, since_s = found, time.monotonic()
        time.sleep(0.5)
