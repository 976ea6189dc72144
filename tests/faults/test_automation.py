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
from tests.servers import ServerProcess, rampd_server, stubs
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


@pytest.fixture
def pair(directory: Path, store: StoreServer) -> Iterator[list[ServerProcess]]:
    """Starts two servers on one Redis."""
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(rampd_server(directory / name, "--insecure-admin", "--redis-url", store.url))
            for name in ("a", "b")
        ]
        for server in made:
            server.event("serving")
        yield made


def begin(server: ServerProcess) -> None:
    """Releases t2 with a plan of four steps, each with a hold of three seconds."""
    steps = [v1.Step(percent=percent, hold=Duration(seconds=HOLD_MS // 1000)) for percent in PERCENTS]
    with stubs(server.target) as call:
        call("Release", component=C, tag="t1")
        call("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True, auto_finalize=True))
        call("Release", component=C, tag="t2")


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
