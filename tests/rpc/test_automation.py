"""Automation rolls a release out, over a real channel and in real time: its holds are one second long."""

import itertools
import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from tests.servers import Stubs, reason_of
from tests.waiting import eventually

C, OTHER = "restyler", "builder"
SECOND = Duration(seconds=1)
CONFIRM_WITHIN = Duration(seconds=20)
"""Long enough for a Confirm on a machine that stands still meanwhile."""


def plan(*percents: float, hold: Duration = SECOND, **fields: object) -> v1.Policy:
    steps = [v1.Step(percent=percent, hold=hold) for percent in percents]
    return v1.Policy(steps=steps, auto_start=True, **fields)


def rollout(call: Stubs) -> v1.Rollout:
    return call("GetRollout", component=C).rollout


def decisions(call: Stubs) -> list[v1.Event]:
    """Returns the events of automation, oldest first."""
    events = call("ListEvents", component=C, page_size=1000).events
    return [event for event in reversed(events) if event.actor == "rampd"]


def test_a_release_goes_out_step_by_step_with_two_servers_and_each_step_once(call: Stubs, second: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("SetPolicy", component=C, policy=plan(5, 25, 50, 95, auto_finalize=True))
    call("Release", component=C, tag="t2")

    eventually(lambda: rollout(second).current.tag == "t2")

    events = decisions(call)
    assert [event.action for event in events] == ["Step", "Step", "Step", "Step", "Finalize"]
    assert [event.note.partition(". ")[0] for event in events[:4]] == [
        "t2 goes from 0 % to 5 %",
        "t2 goes from 5 % to 25 %",
        "t2 goes from 25 % to 50 %",
        "t2 goes from 50 % to 95 %",
    ]
    assert not any(event.actor_claimed for event in events)
    released = next(event for event in call("ListEvents", component=C).events if event.action == "Release")
    # Each of the four holds counts from a decision, and these are the times of the commits, each of which may be late.
    assert events[-1].time.ToMilliseconds() - released.time.ToMilliseconds() >= 3_000


def test_the_second_release_follows_the_first(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("SetPolicy", component=C, policy=plan(50, hold=Duration(), auto_finalize=True))
    for tag in ("t2", "t3", "t4"):
        call("Release", component=C, tag=tag)

    eventually(lambda: rollout(call).current.tag == "t4")

    assert [release.tag for release in rollout(call).previous] == ["t3", "t2", "t1"]


def test_a_pause_stops_the_plan_and_resume_continues_it(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("SetPolicy", component=C, policy=plan(5, 25, hold=Duration(seconds=3600)))
    call("Release", component=C, tag="t2")
    eventually(lambda: rollout(call).next_percent == 5)
    call("Pause", component=C)
    call("SetPolicy", component=C, policy=plan(5, 25))
    time.sleep(1.5)
    assert rollout(call).next_percent == 5

    call("Resume", component=C)

    eventually(lambda: rollout(call).next_percent == 25)


def test_an_unconfirmed_ramp_goes_back_by_itself_and_can_not_be_confirmed_any_more(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component=C, tag="t2")
    ramped = call("Ramp", component=C, percent=50, confirm_within=SECOND)
    assert ramped.message == "t2 is at 50 %. Confirm it within 1 s, otherwise it goes back to 0 %."
    assert ramped.rollout.HasField("confirm_deadline")

    eventually(lambda: rollout(call).state == v1.ROLLOUT_STATE_HELD)

    after = rollout(call)
    assert after.next_percent == 0
    assert after.held_reason == (
        "rolled back by rampd: Nobody confirmed the Ramp of t2 to 50 % in time. Everybody gets t1 instead of t2."
    )
    with pytest.raises(grpc.RpcError) as caught:
        call("Confirm", component=C)
    assert reason_of(caught.value) == "HELD"


def test_a_confirmed_ramp_stays(call: Stubs) -> None:
    """Given two ramps, of which only the first one is confirmed, expect that it stays when the time of both is over."""
    for component in (C, OTHER):
        call("Release", component=component, tag="t1")
        call("SetPolicy", component=component, policy=v1.Policy(confirm_within=CONFIRM_WITHIN))
        call("Release", component=component, tag="t2")
    call("Ramp", component=C, percent=50)
    confirmed = call("Confirm", component=C, tag="t2", note="looks good")
    assert (confirmed.changed, confirmed.message) == (True, "t2 stays at 50 %.")
    assert not confirmed.rollout.HasField("confirm_deadline")
    call("Ramp", component=OTHER, percent=50)
    eventually(lambda: call("GetRollout", component=OTHER).rollout.state == v1.ROLLOUT_STATE_HELD)

    assert rollout(call).next_percent == 50
    with pytest.raises(grpc.RpcError) as caught:
        call("Confirm", component=C)
    assert reason_of(caught.value) == "NOTHING_TO_CONFIRM"


def test_watch_release_shows_every_step(call: Stubs) -> None:
    from rampd.v1 import release_service_pb2_grpc

    call("Release", component=C, tag="t1")
    call("SetPolicy", component=C, policy=plan(5, 50, auto_finalize=True))
    number = call("Release", component=C, tag="t2").release
    stub = release_service_pb2_grpc.ReleaseServiceStub(call.channel)

    seen = list(stub.WatchRelease(v1.WatchReleaseRequest(component=C, release=number), timeout=100))

    percents = [percent for percent, _ in itertools.groupby(response.rollout.next_percent for response in seen)]
    assert percents[-3:] == [5, 50, 0]
    assert seen[-1].message == "Everybody gets t2."
