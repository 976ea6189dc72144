"""Servers and Redis fail while automation rolls a release out: the plan goes on, and no step is made twice or early."""

import contextlib
import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd_server.domain.evidence.admission import Counted, Trial
from rampd_server.ports import OutcomeBatch, Receipt
from rampd_server.process import event_loop
from rampd_server.storage.marks import RedisMarks
from rampd_server.storage.outcomes import RedisOutcomes
from tests.bench.running import command_counts
from tests.servers import IN_PRODUCTION_S, ServerProcess, rampd_server, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"
PERCENTS = (5, 25, 50, 95)
HOLD_MS = 3_000
SLACK_MS = 1_500
"""An event has the time of its script. The hold begins up to a second before that time."""


@pytest.fixture
def store(directory: Path) -> Iterator[StoreServer]:
    with store_server(REDIS, directory=directory) as running:
        yield running


def _server(directory: Path, store: StoreServer) -> "contextlib.AbstractContextManager[ServerProcess]":
    flags = ("--insecure-admin", "--redis-url", store.url)
    return rampd_server(directory, *flags, store_deadline_s=IN_PRODUCTION_S)


@pytest.fixture
def pair(directory: Path, store: StoreServer) -> Iterator[list[ServerProcess]]:
    """Starts two servers on one Redis."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(_server(directory / name, store)) for name in ("a", "b")]
        for server in made:
            server.event("serving")
        yield made


def begin(server: ServerProcess) -> None:
    """Releases t2 with a plan of four steps, each with a hold of three seconds."""
    steps = [v1.Step(percent=percent, hold=Duration(seconds=HOLD_MS // 1000)) for percent in PERCENTS]
    with stubs(server.target) as call:
        call.until_made("Release", component=C, tag="t1")
        call.until_made("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True, auto_finalize=True))
        call.until_made("Release", component=C, tag="t2")


def rollout(server: ServerProcess) -> v1.Rollout:
    with stubs(server.target) as call:
        return call("GetRollout", component=C).rollout


def check_history(server: ServerProcess) -> list[v1.Event]:
    """Checks that the history has every step once, in order, and none before its hold was over."""
    with stubs(server.target) as call:
        events = [event for event in call("ListEvents", component=C, page_size=1000).events if event.actor == "rampd"]
    events.reverse()
    steps = [event for event in events if event.action == "Step"]
    expected = [f"t2 goes from {before} % to {after} %" for before, after in itertools.pairwise((0, *PERCENTS))]
    assert [step.note.partition(". ")[0] for step in steps] == expected
    assert events[-1].action == "Finalize"
    times = [event.time.ToMilliseconds() for event in events]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= HOLD_MS - SLACK_MS
    return events


def test_if_a_server_is_killed_the_other_server_continues_the_plan(pair: list[ServerProcess]) -> None:
    victim, survivor = pair
    begin(victim)
    eventually(lambda: rollout(survivor).next_percent >= 25, suppressed=grpc.RpcError)

    victim.stop(signal.SIGKILL)

    eventually(lambda: rollout(survivor).current.tag == "t2", suppressed=grpc.RpcError)
    check_history(survivor)


def test_no_step_is_made_twice_when_redis_stops_and_continues(pair: list[ServerProcess], store: StoreServer) -> None:
    """Given a Redis that hangs for longer than a hold, expect one step when it answers again, and then a whole hold."""
    begin(pair[0])
    eventually(lambda: rollout(pair[1]).next_percent >= 5, suppressed=grpc.RpcError)

    store.signal(signal.SIGSTOP)
    time.sleep(2 * HOLD_MS / 1000)
    store.signal(signal.SIGCONT)

    eventually(lambda: rollout(pair[0]).current.tag == "t2", suppressed=grpc.RpcError)
    check_history(pair[1])


def test_servers_that_were_stopped_do_not_make_missed_steps_at_once(
    pair: list[ServerProcess], store: StoreServer
) -> None:
    """Given servers that were stopped for the time of two steps, expect one step, and then a whole hold."""
    begin(pair[0])
    eventually(lambda: rollout(pair[1]).next_percent >= 5, suppressed=grpc.RpcError)

    for server in pair:
        server.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5 * HOLD_MS / 1000)
    for server in pair:
        server.process.send_signal(signal.SIGCONT)

    eventually(lambda: rollout(pair[0]).current.tag == "t2", suppressed=grpc.RpcError)
    check_history(pair[1])


def begin_by_hand(server: ServerProcess, **ramp: object) -> v1.Rollout:
    """Ramps t2 to 50 % without a plan."""
    with stubs(server.target) as call:
        call.until_made("Release", component=C, tag="t1")
        call.until_made("Release", component=C, tag="t2")
        made: v1.Rollout = call.until_made("Ramp", component=C, percent=50, **ramp).rollout
        return made


def wait_for_rest(store: StoreServer) -> None:
    """Waits until no server has looked at a rollout for two seconds."""
    quiet_since, looks = time.monotonic(), -1

    def is_at_rest() -> bool:
        nonlocal quiet_since, looks
        found = command_counts(store)["hgetall"]
        if found != looks:
            quiet_since, looks = time.monotonic(), found
        return time.monotonic() - quiet_since > 2

    eventually(is_at_rest)


def count_and_die(store: StoreServer, begun: v1.Rollout) -> None:
    """Counts outcomes as a server does that dies before it looks: forty repos failed, and all of them ran next."""
    trial = Trial(begun.next.number, begun.trial, begun.revision)
    failed = [Counted(5000, True, True, f"acme/{number}", 0) for number in range(40)]
    batch = OutcomeBatch(C, trial, "worker-1", 1, "abc", "ada", "40.", failed)

    async def count() -> None:
        own = store.store()
        own.set_epoch(await own.client.hget(own.keys.meta, "epoch"))
        await RedisMarks(own.link).mark([C])
        assert await RedisOutcomes(own.link).count_outcomes(batch) == (Receipt.COUNTED, "40.")
        await own.close()

    event_loop.run(count())


def test_what_a_server_counted_before_it_died_is_judged_by_another_server(
    pair: list[ServerProcess], store: StoreServer
) -> None:
    """Nothing else leads to a look: no server looks at a rollout at rest."""
    begun = begin_by_hand(pair[0])
    wait_for_rest(store)

    count_and_die(store, begun)
    counted_s = time.monotonic()
    eventually(lambda: rollout(pair[1]).state == v1.ROLLOUT_STATE_HELD, suppressed=grpc.RpcError)

    assert time.monotonic() - counted_s <= 50
    assert "t2 fails more often than t1" in rollout(pair[1]).held.reason


def test_a_ramp_that_nobody_confirms_is_rolled_back_by_any_server(pair: list[ServerProcess]) -> None:
    """Given a server that is killed after it took the Ramp, expect that the other one keeps the time to confirm."""
    victim, survivor = pair
    begun = begin_by_hand(victim, confirm_within=Duration(seconds=4))
    deadline_ms = begun.confirm_deadline.ToMilliseconds()
    eventually(lambda: rollout(survivor).revision >= begun.revision, suppressed=grpc.RpcError)

    victim.stop(signal.SIGKILL)

    eventually(lambda: rollout(survivor).state == v1.ROLLOUT_STATE_HELD, suppressed=grpc.RpcError)
    with stubs(survivor.target) as call:
        [event] = [event for event in call("ListEvents", component=C).events if event.action == "Rollback"]
    assert 0 <= event.time.ToMilliseconds() - deadline_ms <= 50_000
