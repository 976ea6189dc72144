"""Ten thousand components, each in a rollout: the start of a server, lists and a Watch of all, and memory.

The pauses of the event loop are those of a server in this process. It reads everything twice: at its start, and after an adopt.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from structlog.testing import capture_logs

from rampd._evidence.release_counters import JobCount
from rampd_server import app
from rampd_server.domain.evidence.admission import Counted, trial_of
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import OutcomeBatch, Stored
from rampd_server.process import event_loop, memory
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from rampd_server.storage.outcomes import RedisOutcomes
from tests import filling
from tests.bench import cores, running
from tests.bench.load import percentile
from tests.bench.report import Row, at_most, plain
from tests.bench.scale import QUICK, Scale
from tests.observing import health_checks, loop_pauses, peak_memory_mb
from tests.servers import ServerProcess, Stubs, short_directory
from tests.stores import StoreServer
from tests.waiting import eventually_async

COMPONENTS = 10_000
STARTS, LISTS = 3, 5
START_S, LIST_S, PAUSE_MS = 3.0, 0.5, 10.0
_SERVES_S = 120
_COUNTED_AT_ONCE = 100


def run(scale: Scale) -> list[Row]:
    is_whole = scale.components > QUICK.components
    components, starts, lists = (COMPONENTS, STARTS, LISTS) if is_whole else (scale.components, 1, 2)
    with running.store() as store, cores.on(cores.LOAD):
        event_loop.run(_fill(store, components))
        rows = _starts(store, starts)
        with running.rampd(store) as server, running.calls(server) as call:
            rows += _lists(call, components, lists)
            rows += _watches(call, components, lists)
            rows.append(plain("peak memory of a server that has listed and sent all", [_memory_mb(server)], "MB"))
        with cores.on(cores.SERVER):
            rows += event_loop.run(_pauses(store, components))
    return rows


async def _fill(store: StoreServer, components: int) -> None:
    """Begins the rollouts, and reports a job for each."""
    own = store.store()
    await filling.begin_rollouts(own, components)
    counted = RedisOutcomes(own.link)
    names = [filling.component(number) for number in range(components)]
    for first in range(0, components, _COUNTED_AT_ONCE):
        some = own.read_many(names[first : first + _COUNTED_AT_ONCE])
        found = await counted.count_many([_job(each) async for _, each in some])
        assert None not in found
    await own.close()


def _job(stored: Stored | Exception) -> OutcomeBatch:
    assert isinstance(stored, Stored)
    assert isinstance(stored.rollout, Rollout)
    rollout, jobs = stored.rollout, JobCount(1, 0)
    job = Counted(weight=1000, is_next=False, is_failed=False, unit="acme/app", duration_ms=0)
    batch = OutcomeBatch(rollout.component, trial_of(rollout), "worker-1", 1, "d1", "ada", "1.", (job,))
    return replace(batch, by_release={rollout.current: jobs}, current_revision=rollout.current_revision, current=jobs)


def _starts(store: StoreServer, number: int) -> list[Row]:
    """Starts servers that know nothing, and each of them again on what it has kept."""
    cold, warm = [], []
    for _ in range(number):
        with short_directory() as directory:
            cold.append(_started(store, directory))
            warm.append(_started(store, directory))
    waits_ms = sorted(1000 * wait for each in cold for wait in each.waits_s)
    return [
        at_most("a server's start until it serves", [each.serves_s for each in cold], "s", START_S),
        plain("  of that, reading everything", [each.reading_s for each in cold], "s"),
        plain("  its peak memory", [each.memory_mb for each in cold], "MB"),
        plain("  wait for its health while it starts: p99", [percentile(waits_ms, 0.99)], "ms"),
        plain("  wait for its health while it starts: longest", [waits_ms[-1]], "ms"),
        plain("its next start until it serves", [each.serves_s for each in warm], "s"),
        plain("  comparing everything with the store", [each.reading_s for each in warm], "s"),
    ]


@dataclass(frozen=True, slots=True)
class _Start:
    serves_s: float
    reading_s: float
    memory_mb: float
    waits_s: list[float]
    """For its health, from when it listened."""


def _started(store: StoreServer, directory: Path) -> _Start:
    """Starts a server, and ends it in order, so that it keeps what it has served."""
    began_s = time.monotonic()
    with running.starting(store, directory=directory) as server:
        with health_checks(server.target) as waits:
            server.event("serving", within_s=_SERVES_S)
            serves_s = time.monotonic() - began_s
            reading_s = float(server.event("replica_loaded", within_s=_SERVES_S)["seconds"])
        found = _Start(serves_s, reading_s, _memory_mb(server), waits)
        server.stop()
    return found


def _memory_mb(server: ServerProcess) -> float:
    return peak_memory_mb(server.process.pid)


def _lists(call: Stubs, components: int, number: int) -> list[Row]:
    rows = []
    for what, size, outcomes in (
        ("pages of 1,000", 1_000, False),
        ("pages of 100", 100, False),
        ("pages of 1,000, with outcomes", 1_000, True),
    ):
        seconds = [_list_s(call, components, size, outcomes=outcomes) for _ in range(number + 1)]
        named = f"ListRollouts of all in {what}"
        if not rows:
            rows.append(at_most(f"{named}, for the first time", seconds[:1], "s", LIST_S))
        rows.append(at_most(named, seconds[1:], "s", LIST_S) if size == 1_000 else plain(named, seconds[1:], "s"))
    return rows


def _list_s(call: Stubs, components: int, size: int, *, outcomes: bool) -> float:
    began_s, found, token = time.perf_counter(), 0, ""
    while not found or token:
        answer = call("ListRollouts", page_size=size, page_token=token, current_outcomes=outcomes)
        found, token = found + len(answer.rollouts), answer.next_page_token
    seconds = time.perf_counter() - began_s
    assert found == components
    return seconds


def _watches(call: Stubs, components: int, number: int) -> list[Row]:
    seconds = [_watch_s(call, components) for _ in range(number + 1)]
    return [
        plain("Watch of all until everything is there, for the first time", seconds[:1], "s"),
        plain("Watch of all until everything is there", seconds[1:], "s"),
    ]


def _watch_s(call: Stubs, components: int) -> float:
    began_s, found = time.perf_counter(), 0
    messages = call("Watch")
    for message in messages:
        found += len(message.state.components)
        if message.state.last:
            break
    seconds = time.perf_counter() - began_s
    messages.cancel()
    assert found == components
    return seconds


async def _pauses(store: StoreServer, components: int) -> list[Row]:
    with short_directory() as folder, capture_logs() as lines:

        async def until_read(times: int) -> None:
            await eventually_async(lambda: sum(line["event"] == "replica_loaded" for line in lines) >= times)

        async with loop_pauses() as at_start, app.running(_config(folder), store.url, growing=memory.growing):
            await until_read(1)
            memory.settle()
            own = store.store()
            async with loop_pauses() as after_adopt:
                await own.begin_epoch(adopted=True)
                await until_read(2)
            await own.close()
    what = f"longest pause of the event loop while {components:,} components are read"
    return [
        plain(f"{what} at the start", [1000 * at_start[0]], "ms"),
        at_most(f"{what} after an adopt", [1000 * after_adopt[0]], "ms", PAUSE_MS),
    ]


def _config(folder: Path) -> Config:
    here = Address("127.0.0.1", 0)
    return Config(data_dir=folder, listen=(here,), http=here, insecure_admin=True, wait_for_store=False)
