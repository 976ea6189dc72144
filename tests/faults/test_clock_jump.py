"""The store's clock is set by an hour: holds begin again, the history says so, and an unconfirmed Ramp goes back in time."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from tests.servers import rampd_server, stubs
from tests.settable_clock import SettableClock
from tests.stores import VALKEY, StoreServer, store_server

C = "restyler"
HOLD_S = 6
LONG_HOLD_S = 20
"""The hold during which the clock jumps. It must not be over before that on a busy machine."""


@pytest.fixture
def clock(directory: Path) -> SettableClock:
    return SettableClock(directory / "clock")


@pytest.fixture
def store(directory: Path, clock: SettableClock) -> Iterator[StoreServer]:
    """Starts a Valkey with a clock that the test sets."""
    # Only the store must get this environment. The store starts when its block is entered.
    running = store_server(VALKEY, directory=directory)
    with mock.patch.dict(os.environ, clock.environment()):
        entered = running.__enter__()
    yield entered
    running.__exit__(None, None, None)


async def store_time_s(store: StoreServer) -> float:
    client = store.client()
    try:
        seconds, microseconds = await client.time()
    finally:
        await client.aclose()
    return seconds + microseconds / 1e6


@pytest.mark.parametrize("hours", [1, -1])
def test_a_hold_begins_again_when_the_clock_jumps_and_the_history_says_so(
    directory: Path, store: StoreServer, clock: SettableClock, hours: int
) -> None:
    with rampd_server(directory / "a", "--insecure-admin", "--redis-url", store.url) as server:
        server.event("serving")
        with stubs(server.target) as call:
            steps = [
                v1.Step(percent=percent, hold=Duration(seconds=hold_s))
                for percent, hold_s in ((5, LONG_HOLD_S), (50, HOLD_S))
            ]
            call("Release", component=C, tag="t1")
            call("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True, auto_finalize=True))
            call("Release", component=C, tag="t2")
            _until(lambda: call("GetRollout", component=C).rollout.next_percent == 5)
            time.sleep(HOLD_S / 2)
            before_s = asyncio.run(store_time_s(store))

            clock.set_by_s(hours * 3600)

            jumped_s = asyncio.run(store_time_s(store)) - before_s
            assert abs(jumped_s - hours * 3600) < 600, "the clock was not set"
            _until(lambda: any(event.action == "Hold" for event in _decisions(call)))
            _until(lambda: call("GetRollout", component=C).rollout.current.tag == "t2")
            events = _decisions(call)
            revisions = [event.revision for event in call("ListEvents", component=C, page_size=1000).events]

    assert [event.action for event in events] == ["Step", "Hold", "Step", "Finalize"]
    assert events[1].note.startswith("The store's clock was set by ")
    assert events[1].note.endswith(", so the hold of t2 at 5 % begins again.")
    times = [event.time.ToMilliseconds() / 1000 for event in events[1:]]
    held_s = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert held_s[0] > LONG_HOLD_S - 1.5
    assert held_s[1] > HOLD_S - 1.5
    assert revisions == sorted(revisions, reverse=True)


def test_setting_the_clock_back_does_not_delay_the_confirm_deadline(
    directory: Path, store: StoreServer, clock: SettableClock
) -> None:
    with rampd_server(directory / "a", "--insecure-admin", "--redis-url", store.url) as server:
        server.event("serving")
        with stubs(server.target) as call:
            for tag in ("t1", "t2"):
                call("Release", component=C, tag=tag)
            began_s = time.monotonic()
            call("Ramp", component=C, percent=50, confirm_within=Duration(seconds=HOLD_S))

            clock.set_by_s(-3600)

            _until(lambda: call("GetRollout", component=C).rollout.held_reason)
            assert time.monotonic() - began_s > HOLD_S / 2
            [event] = _decisions(call)
    assert event.note == "Nobody confirmed the Ramp of t2 to 50 % in time. Everybody gets t1 instead of t2."


def test_waiting_outcomes_are_counted_although_the_clock_was_set_back(
    directory: Path, store: StoreServer, clock: SettableClock
) -> None:
    clock.set_by_s(3600)
    with rampd_server(directory / "a", "--insecure-admin", "--redis-url", store.url) as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            policy = v1.Policy(maturation=Duration(seconds=60), on_regression=v1.ON_REGRESSION_NOTIFY)
            call("SetPolicy", component=C, policy=policy)
            call("Release", component=C, tag="t2")
            revision = call("Ramp", component=C, percent=100).revision
            failed = v1.Outcome(
                component=C,
                release=2,
                revision=revision,
                channel=v1.CHANNEL_NEXT,
                reason=v1.RESOLVE_REASON_WEIGHT,
                repo="acme/app",
                result=v1.OUTCOME_RESULT_FAILED,
            )
            call("ReportOutcomes", client_id="w1", sequence=1, outcomes=[failed])
            assert _failures(call) == 0

            clock.set_by_s(0)

            _until(lambda: _failures(call) == 1)


def test_expiries_follow_the_clock_and_an_override_that_expired_by_a_wrong_clock_comes_back(
    directory: Path, store: StoreServer, clock: SettableClock
) -> None:
    with rampd_server(directory / "a", "--insecure-admin", "--redis-url", store.url) as server:
        server.event("serving")
        with stubs(server.target) as call:
            expires = Timestamp(seconds=int(asyncio.run(store_time_s(store))) + 1800)
            for tag in ("t1", "t2"):
                call("Release", component=C, tag=tag)
            call("Ramp", component=C, percent=100)
            call("SetOverride", component=C, repo="acme/app", channel=v1.CHANNEL_CURRENT, expire_time=expires)
            call("Freeze", component=C, expire_time=expires)

            def seen() -> tuple[str, bool]:
                is_frozen = call("GetRollout", component=C).rollout.frozen
                return call("Resolve", component=C, repo="acme/app").tag, is_frozen

            assert seen() == ("t1", True)
            clock.set_by_s(-3600)
            _until(lambda: abs(asyncio.run(store_time_s(store)) + 5400 - expires.seconds) < 60)
            assert seen() == ("t1", True)
            clock.set_by_s(3600)
            _until(lambda: seen() == ("t2", False))
            clock.set_by_s(0)
            _until(lambda: seen()[0] == "t1")


def _failures(call) -> int:
    return call("GetRollout", component=C).rollout.evidence.next_failures


def _decisions(call) -> list[v1.Event]:
    events = call("ListEvents", component=C, page_size=1000).events
    return [event for event in reversed(events) if event.actor == "rampd"]


def _until(condition, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
        except grpc.RpcError:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)
