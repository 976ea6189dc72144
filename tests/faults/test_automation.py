"""Servers and Redis fail while releases go out by themselves: the plan goes on, and no step is made twice or early."""

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
"""The time of an event is its script's; the hold began up to a second before that."""


@pytest.fixture
def store(directory: Path) -> Iterator[StoreServer]:
    with store_server(REDIS, directory=directory) as running:
        yield running


@pytest.fixture
def pair(directory: Path, store: StoreServer) -> Iterator[list[ServerProcess]]:
    """Two servers on one Redis."""
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(rampd_server(directory / name, "--insecure-admin", "--redis-url", store.url))
            for name in ("a", "b")
        ]
        for server in made:
            server.event("serving")
        yield made


def begin(server: ServerProcess) -> None:
    """t2 goes out by itself, in four steps of three seconds."""
    steps = [v1.Step(percent=percent, hold=Duration(seconds=HOLD_MS // 1000)) for percent in PERCENTS]
    with stubs(server.target) as call:
        call("Release", component=C, tag="t1")
        call("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True, auto_finalize=True))
        call("Release", component=C, tag="t2")


def rollout(server: ServerProcess) -> v1.Rollout:
    with stubs(server.target) as call:
        return call("GetRollout", component=C).rollout


def check_story(server: ServerProcess) -> list[v1.Event]:
    """Every step once, in order, none before its hold was over."""
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


def test_a_server_that_is_killed_in_mid_plan_leaves_it_to_the_other(pair: list[ServerProcess]) -> None:
    victim, survivor = pair
    begin(victim)
    eventually(lambda: rollout(survivor).next_percent >= 25, suppressed=grpc.RpcError)

    victim.stop(signal.SIGKILL)

    eventually(lambda: rollout(survivor).current.tag == "t2", suppressed=grpc.RpcError)
    check_story(survivor)


def test_a_redis_that_stops_and_goes_on_makes_no_step_twice(pair: list[ServerProcess], store: StoreServer) -> None:
    """Given a Redis that hangs for longer than a hold, expect one step when it is back, and then a whole hold."""
    begin(pair[0])
    eventually(lambda: rollout(pair[1]).next_percent >= 5, suppressed=grpc.RpcError)

    store.signal(signal.SIGSTOP)
    time.sleep(2 * HOLD_MS / 1000)
    store.signal(signal.SIGCONT)

    eventually(lambda: rollout(pair[0]).current.tag == "t2", suppressed=grpc.RpcError)
    check_story(pair[1])


def test_a_server_that_hangs_and_comes_back_does_not_race_through_the_steps(
    pair: list[ServerProcess], store: StoreServer
) -> None:
    """Given both servers stopped for the time of two steps, expect them to make one and to hold again."""
    begin(pair[0])
    eventually(lambda: rollout(pair[1]).next_percent >= 5, suppressed=grpc.RpcError)

    for server in pair:
        server.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5 * HOLD_MS / 1000)
    for server in pair:
        server.process.send_signal(signal.SIGCONT)

    eventually(lambda: rollout(pair[0]).current.tag == "t2", suppressed=grpc.RpcError)
    check_story(pair[1])
