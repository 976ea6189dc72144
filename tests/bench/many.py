"""What many servers cost their one Redis, at some rates of changes. The servers have no callers and no launchers: they follow the
feed, and their automation looks at what has changed.

A process holds several of them: `python -m tests.bench.many URL SERVERS FIRST LAST CHANGES_A_SECOND`. It prints a line once all of
them have read the store, and changes its own components, from FIRST to before LAST, until it is ended.
"""

import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rampd._contract.wording import counted
from rampd_server.automation.controller import Controller
from rampd_server.automation.marks import Marks
from rampd_server.domain.rollout import commands
from rampd_server.ports import Author
from rampd_server.process import event_loop
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.followers import name_of_server
from rampd_server.storage.link import Link
from rampd_server.storage.marks import RedisMarks
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests import filling
from tests.bench import cores, running
from tests.bench.commands import OWN
from tests.bench.report import Row, plain
from tests.bench.scale import QUICK, Scale
from tests.stores import StoreServer

SERVERS = 20
RATES = (0, 1, 10, 100)
"""Changes a second, over all servers."""
MODEL_RATE = 10
"""From this rate the others are computed. At the highest one, twenty servers need more processors than a small machine has."""
LAUNCHERS = 10_000
STREAMS = 4_000
"""How many streams a server accepts."""
WINDOW_S = 20.0
_A_PROCESS = 5
_SETTLE_S = 4.0
"""By then servers have looked at what they found at their start."""
_START_S = 120
_STOP_S = 30
_DEADLINE_S = 10.0
ADA = Author("ada", "Ramp")


@dataclass(frozen=True, slots=True)
class Load:
    """What Redis does in a second."""

    commands: float
    """Also those within scripts."""
    scripts: float
    kilobytes: float
    """In both directions."""
    processor: float
    """Percent of a core."""


@dataclass(frozen=True, slots=True)
class Model:
    """How one kind of load grows: by servers, by changes, and by changes that each server follows."""

    alone: float
    """Of a Redis that nobody uses."""
    server: float
    change: float
    change_of_server: float

    @classmethod
    def of(cls, few: int, of_few: tuple[float, float], many: int, of_many: tuple[float, float], rate: float) -> "Model":
        """`of_few` and `of_many` are the loads of so many servers without changes, and with `rate` changes a second."""
        few_s, many_s = ((loaded - rest) / rate for rest, loaded in (of_few, of_many))
        change_of_server = (many_s - few_s) / (many - few)
        server = (of_many[0] - of_few[0]) / (many - few)
        return cls(of_few[0] - few * server, server, few_s - few * change_of_server, change_of_server)

    def row(self, what: str, unit: str, servers: int, rate: int) -> Row:
        """The load of so many servers and changes a second, with the arithmetic."""
        value = self.alone + servers * self.server + rate * (self.change + servers * self.change_of_server)
        sum_ = f"{self.alone:.3g} + {servers} × {self.server:.3g} + {rate} × ({self.change:.3g} + {servers} × {self.change_of_server:.3g})"
        return plain(f"{what}, {rate} changes a second: {sum_}", [value], unit)


def run(scale: Scale) -> list[Row]:
    is_whole = scale.components > QUICK.components
    few, many = (2, SERVERS) if is_whole else (1, 2)
    rates, window_s = (RATES, WINDOW_S) if is_whole else ((0, MODEL_RATE), 3.0)
    found = {(many, rate): measured(many, rate, scale.components, window_s) for rate in rates}
    found |= {(few, rate): measured(few, rate, scale.components, window_s) for rate in (0, MODEL_RATE)}
    rows = []
    for (servers, rate), load in found.items():
        what = f"{counted(servers, 'server')}, {counted(rate, 'change')} a second: "
        rows += [
            plain(f"{what}commands a second", [load.commands], ""),
            plain(f"{what}scripts a second", [load.scripts], ""),
            plain(f"{what}to and from Redis", [load.kilobytes], "KB/s"),
            plain(f"{what}processor of Redis", [load.processor], "% of a core"),
        ]
    return rows + _extrapolated(found, few, many)


def _extrapolated(found: dict[tuple[int, int], Load], few: int, many: int) -> list[Row]:
    rows = [
        plain(
            f"{LAUNCHERS:,} launchers over {SERVERS} servers, which take {STREAMS:,} each: streams of a server",
            [LAUNCHERS / SERVERS],
            "",
        )
    ]
    for what, unit in (("commands", "a second"), ("kilobytes", "KB/s"), ("processor", "% of a core")):
        of_few, of_many = (
            (getattr(found[servers, 0], what), getattr(found[servers, MODEL_RATE], what)) for servers in (few, many)
        )
        model = Model.of(few, of_few, many, of_many, MODEL_RATE)
        rows += [model.row(what, unit, SERVERS, each) for each in RATES]
    return rows


def measured(servers: int, rate: int, components: int, window_s: float) -> Load:
    """Starts a Redis and servers, and returns what Redis does."""
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        event_loop.run(_fill(store, components))
        for first in range(0, servers, _A_PROCESS):
            last = min(first + _A_PROCESS, servers)
            own = range(components * first // servers, components * last // servers)
            stack.enter_context(_following(store.url, last - first, own, rate * (last - first) / servers))
        time.sleep(_SETTLE_S)
        before, began_s = event_loop.run(_counted(store)), time.monotonic()
        time.sleep(window_s)
        after, lasted_s = event_loop.run(_counted(store)), time.monotonic() - began_s
    return Load(*((new - old) / lasted_s for old, new in zip(before, after, strict=True)))


async def _fill(store: StoreServer, components: int) -> None:
    own = store.store()
    await filling.fill(own, components=components, overrides=0)
    await own.close()


async def _counted(store: StoreServer) -> Sequence[float]:
    """What Redis has done so far, as in Load; the processor in hundredths of a second."""
    client = store.client()
    stats, clients, processor = [await client.info(section) for section in ("commandstats", "stats", "cpu")]
    await client.aclose()
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    return (
        sum(number for name, number in calls.items() if name not in OWN),
        calls.get("evalsha", 0),
        (clients["total_net_input_bytes"] + clients["total_net_output_bytes"]) / 1000,
        100 * (processor["used_cpu_sys"] + processor["used_cpu_user"]),
    )


@contextlib.contextmanager
def _following(url: str, servers: int, own: range, rate: float) -> Iterator[None]:
    """A process with some servers, until the block ends."""
    arguments = map(str, (url, servers, own.start, own.stop, rate))
    with cores.on(cores.SERVER):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.many", *arguments], stdout=subprocess.PIPE, text=True
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                break
        else:
            raise RuntimeError(f"the servers ended with {process.wait()}")
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=_STOP_S)


class _Follower:
    """What a server has, apart from callers."""

    def __init__(self, url: str) -> None:
        link = Link.connect(url, name=name_of_server("default"), deadline_s=_DEADLINE_S)
        store = RedisStore(link)
        self.replica = Replica(store)
        self.service = Service(store, self.replica)
        controller = Controller(self.service, self.replica, RedisOutcomes(link))
        marks = Marks(RedisMarks(link), self.replica)
        self.runs = (self.replica.run, controller.run, marks.run, partial(controller.follow, marks.counted))


async def _serve(url: str, servers: int, own: range, rate: float) -> None:
    followers = [_Follower(url) for _ in range(servers)]
    async with asyncio.TaskGroup() as tasks:
        for each in followers:
            for run in each.runs:
                tasks.create_task(run())
        async with asyncio.timeout(_START_S):
            for each in followers:
                await each.replica.loaded.wait()
        print("ready", flush=True)
        if rate:
            tasks.create_task(_change(followers, own, rate))


async def _change(followers: Sequence[_Follower], own: range, rate: float) -> None:
    """Ramps one component after the other, each by the next server. A change does not wait for the one before."""
    async with asyncio.TaskGroup() as tasks:
        began_s = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(began_s + number / rate - time.monotonic())
            turn, place = divmod(number, len(own))
            service = followers[number % len(followers)].service
            ramp = commands.Ramp(2000 if turn % 2 == 0 else 1000)
            tasks.create_task(service.execute(filling.component(own[place]), ramp, ADA))


if __name__ == "__main__":
    event_loop.run(_serve(sys.argv[1], int(sys.argv[2]), range(*map(int, sys.argv[3:5])), float(sys.argv[5])))
