"""WatchRelease, and waiting for a release with both faces of the client, against real servers."""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import (
    Admin,
    AsyncAdmin,
    DeadlineExceededError,
    NotFoundError,
    RampdError,
    ReleaseFailedError,
    UnavailableError,
    v1,
)
from rampd._verbs.release_wait import Waiting
from rampd.v1 import release_service_pb2_grpc
from rampd_server import testing
from rampd_server.rpc.watch import release as watch_release
from tests.ports import free_address
from tests.servers import Stubs, reason_of, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
NO_STEPS = " The policy has no steps: Ramp and Finalize move it."


class Following(threading.Thread):
    """A thread that reads one WatchRelease stream."""

    def __init__(self, call: Stubs, release: int, **fields: object) -> None:
        super().__init__(daemon=True)
        stub = release_service_pb2_grpc.ReleaseServiceStub(call.channel)
        self.stream = stub.WatchRelease(v1.WatchReleaseRequest(component=C, release=release, **fields), timeout=100)
        self.seen: list[v1.WatchReleaseResponse] = []
        self.error: grpc.RpcError | None = None
        self.start()

    def run(self) -> None:
        try:
            for response in self.stream:
                self.seen.append(response)
        except grpc.RpcError as error:
            self.error = error

    def messages(self) -> list[str]:
        return [response.message for response in self.seen]

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.seen) >= count or self.error is not None)
        assert self.error is None

    def end(self) -> list[str]:
        self.join(60)
        assert not self.is_alive()
        return self.messages()


@pytest.fixture
def second_target(store_process: StoreServer, namespace: str, target: str) -> Iterator[str]:
    with short_directory() as directory, testing.run(directory, store_process.url, namespace=namespace) as running:
        yield running


@pytest.fixture(autouse=True)
def component(call: Stubs) -> None:
    """Current is t1, next is t2 (release 2), t3 (release 3) waits."""
    for tag in ("t1", "t2", "t3"):
        call("Release", component=C, tag=tag)


def test_a_release_is_followed_from_the_queue_until_it_is_current(call: Stubs) -> None:
    third = Following(call, 3)
    third.wait_for(1)
    is_rolled_out = "t3 waits at position 1: t2 is being rolled out. "
    assert third.messages() == [f"{is_rolled_out}Ramp and Finalize, or Abandon, end that."]
    call("Ramp", component=C, percent=50)
    third.wait_for(2)
    assert third.messages()[1:] == [f"{is_rolled_out}Finalize or Abandon ends that."]
    call("Finalize", component=C)
    third.wait_for(3)
    call("Ramp", component=C, percent=12.5)
    eventually(lambda: "12.5" in third.messages()[-1])
    call("Finalize", component=C)

    # A message may go on with what automation waits for.
    firsts = dict.fromkeys(message.removesuffix(NO_STEPS) for message in third.end()[2:])
    assert list(firsts) == ["t3 is at 0 %.", "t3 is at 12.5 %.", "Everybody gets t3."]
    states = [response.release.state for response in third.seen]
    assert states[:2] == [v1.RELEASE_STATE_QUEUED, v1.RELEASE_STATE_QUEUED]
    assert set(states[2:-1]) == {v1.RELEASE_STATE_NEXT}
    assert states[-1] == v1.RELEASE_STATE_CURRENT
    assert third.seen[-2].rollout.next_percent == 12.5
    assert third.error is None


def test_the_message_of_a_release_held_by_a_quarantine_says_how_to_lift_it(call: Stubs) -> None:
    call("Quarantine", component=C, tag="t2", note="Slow.")
    assert Following(call, 2).end() == [
        "t2 is held, and everybody gets t1: quarantined by anonymous: Slow. To try it again: Unquarantine t2, then Ramp. "
        "Abandon drops it."
    ]


def test_the_message_of_a_release_held_by_a_quarantine_says_so_when_the_quarantine_is_lifted(call: Stubs) -> None:
    call("Quarantine", component=C, tag="t2", note="Slow.")
    call("Unquarantine", component=C, tag="t2")
    reason = "quarantined by anonymous: Slow; the quarantine is lifted"
    assert Following(call, 2).end() == [
        f"t2 is held, and everybody gets t1: {reason}. Ramp tries it again, Abandon drops it."
    ]
    assert call("GetRollout", component=C).rollout.held.reason == reason
    call("Quarantine", component=C, tag="t2", note="Slow again.")
    assert call("GetRollout", component=C).rollout.held.reason == "quarantined by anonymous: Slow"


def test_the_message_of_a_release_that_waits_for_a_freeze_names_the_actor(call: Stubs) -> None:
    call("Freeze", all=True)
    call("Abandon", component=C)
    third = Following(call, 3)
    third.wait_for(1)
    call("Unfreeze", all=True)
    eventually(lambda: third.seen[-1].release.state == v1.RELEASE_STATE_NEXT)
    waiting = [message for message in third.messages() if "waits" in message]
    assert waiting[0] == "t3 waits at position 1: frozen by anonymous. Unfreeze with `all` starts it."
    # There may be a moment between the end of the freeze and the start, in which no actor can be named.
    assert set(waiting[1:]) <= {"t3 waits at position 1: the freeze has ended, and it starts in a moment."}


def test_watch_release_ends_when_the_release_is_held_and_says_why(call: Stubs) -> None:
    second = Following(call, 2)
    second.wait_for(1)
    call("Rollback", component=C, note="error rate")
    assert second.end()[-1] == (
        "t2 is held, and everybody gets t1: rolled back by anonymous: error rate. Ramp tries it again, Abandon drops it."
    )
    assert second.error is None
    assert Following(call, 2).end() == second.messages()[-1:]


def test_without_until_held_watch_release_goes_on_until_the_release_ends(call: Stubs) -> None:
    second, third = Following(call, 2, until_held=False), Following(call, 3, until_held=True)
    second.wait_for(1)
    third.wait_for(1)
    call("Rollback", component=C, note="error rate")
    second.wait_for(2)
    third.wait_for(2)
    assert "t2 is held (rolled back by anonymous: error rate)." in third.messages()[1]
    call("Abandon", component=C)
    assert second.end()[-1] == "t2 is ABANDONED: abandoned by anonymous."
    call("Rollback", component=C)
    assert third.end()[-1].startswith("t3 is held")


def broken_check() -> v1.Policy:
    """Returns a policy with a check. The server has no source for checks, so that the check gets an error and pauses."""
    check = v1.Check(name="slow", query="up", max=1, interval=Duration(seconds=1), errors_allowed=0)
    return v1.Policy(checks=[check])


def approved_at_5() -> v1.Policy:
    return v1.Policy(steps=[v1.Step(percent=5, approval=True)], auto_start=True, auto_finalize=True)


def test_watch_release_ends_when_automation_has_paused_and_says_why_and_since_when(call: Stubs) -> None:
    second, patient = Following(call, 2), Following(call, 2, until_paused=False)
    call("SetPolicy", component=C, policy=broken_check())
    call("Ramp", component=C, percent=5)

    last = second.end()[-1]

    assert last.startswith("t2 is at 5 %. Paused by rampd: The check slow got no answer 1 time in a row")
    assert last.endswith("Resume goes on.")
    pause = second.seen[-1].rollout.pause
    assert (pause.actor, pause.cause) == ("rampd", v1.PAUSE_CAUSE_CHECK_BROKEN)
    assert pause.reason in last
    assert call("GetRollout", component=C).rollout.pause == pause
    assert call("ListRollouts").rollouts[0].pause == pause
    [event] = [e for e in call("ListEvents", component=C).events if e.action == "Pause"]
    assert abs(event.time.ToMilliseconds() - pause.create_time.ToMilliseconds()) < 60_000
    eventually(lambda: patient.messages()[-1:] == [last])
    third = Following(call, 3)
    third.wait_for(1)
    assert third.messages()[0].startswith("t3 waits at position 1: t2 is being rolled out. Paused by rampd: The check")
    call("Abandon", component=C)
    patient.end()


def test_the_pause_of_a_person_ends_only_streams_with_until_paused(call: Stubs) -> None:
    patient, hasty = Following(call, 2), Following(call, 2, until_paused=True)
    patient.wait_for(1)
    hasty.wait_for(1)
    call("Pause", component=C, note="lunch")

    assert hasty.end()[-1] == "t2 is at 0 %. Paused by anonymous: lunch. Resume goes on."
    eventually(lambda: patient.messages()[-1:] == hasty.messages()[-1:])
    pause = call("GetRollout", component=C).rollout.pause
    assert (pause.reason, pause.actor, pause.cause) == ("lunch", "anonymous", v1.PAUSE_CAUSE_UNSPECIFIED)
    call("Resume", component=C)
    assert not call("GetRollout", component=C).rollout.HasField("pause")
    call("Rollback", component=C, note="enough")
    patient.end()
    held = call("GetRollout", component=C).rollout.held
    assert (held.reason, held.actor) == ("rolled back by anonymous: enough", "anonymous")
    assert held.create_time.ToMilliseconds() >= pause.create_time.ToMilliseconds()
    call("SetPolicy", component=C, policy=v1.Policy(alpha=0.02))
    assert call("GetRollout", component=C).rollout.held == held


def test_a_step_waits_for_approval_and_resume_passes_it(call: Stubs) -> None:
    patient, hasty = Following(call, 2), Following(call, 2, until_paused=True)
    call("SetPolicy", component=C, policy=approved_at_5())

    assert "t2 waits for approval at 5 %, as the plan says." in hasty.end()[-1]
    assert hasty.messages()[-1].endswith("Resume passes it.")
    assert call("GetRollout", component=C).rollout.pause.cause == v1.PAUSE_CAUSE_APPROVAL
    assert call("GetPolicy", component=C).policy.steps[0].approval
    answer = call("Resume", component=C, note="looks good")

    assert answer.message == "t2 is approved at 5 %. The plan goes on."
    assert patient.end()[-1] == "Everybody gets t2."


@pytest.mark.parametrize("tag", ["t1", "t2"])
def test_the_stream_of_a_release_that_was_current_ends_at_once(call: Stubs, tag: str) -> None:
    call("Finalize", component=C, force=True)
    number = int(tag[1:])
    [message] = Following(call, number).end()
    assert message == (
        "Everybody gets t2." if tag == "t2" else "t1 is RETIRED: replaced by t2, finalized by anonymous."
    )


def test_changes_that_do_not_affect_the_release_send_nothing(call: Stubs) -> None:
    second = Following(call, 2)
    eventually(lambda: second.messages()[-1:] == ["t2 is at 0 %." + NO_STEPS])
    before = len(second.seen)
    for number in range(20):
        call("SetOverride", component=C, repo=f"acme/{number}", tag="x")
        call("Release", component=C, tag=f"later{number}")
    call("Abandon", component=C)
    assert len(second.end()) == before + 1


def test_what_automation_waits_for_is_sent_at_once_and_then_at_intervals(
    call: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(hold_s: int) -> None:
        steps = [v1.Step(percent=5, hold=Duration(seconds=hold_s))]
        call("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True))

    plan(100)
    second = Following(call, 2)
    countdown = re.compile(r"t2 is at 5 %\. t2 holds at 5 %: 1 min \d+ s to go\.")

    def countdowns() -> list[str]:
        return [message for message in second.messages() if countdown.fullmatch(message)]

    eventually(countdowns)
    call("Release", component=C, tag="t4")
    time.sleep(1.5)  # a second countdown would come in this time, but must not
    assert len(countdowns()) == 1
    monkeypatch.setattr(watch_release, "_PROGRESS_S", 0.5)
    plan(110)
    eventually(lambda: len(countdowns()) > 1)


def test_an_unknown_release_is_refused(call: Stubs) -> None:
    for fields, reason in (((C, 99), "RELEASE_NOT_FOUND"), (("other", 1), "COMPONENT_NOT_FOUND")):
        stub = release_service_pb2_grpc.ReleaseServiceStub(call.channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.WatchRelease(v1.WatchReleaseRequest(component=fields[0], release=fields[1]), timeout=10))
        assert reason_of(caught.value) == reason


def test_deleting_the_component_ends_the_stream(call: Stubs) -> None:
    second = Following(call, 2)
    second.wait_for(1)
    call("DeleteComponent", component=C, confirm=C)
    second.join(60)
    assert second.error is not None
    assert reason_of(second.error) == "COMPONENT_NOT_FOUND"


@pytest.mark.usefixtures("catches_up")
def test_another_server_knows_a_release_that_was_made_a_moment_ago(call: Stubs, second_target: str) -> None:
    with stubs(second_target) as other:
        for number in range(4, 24):
            assert call("Release", component=C, tag=f"t{number}").release == number
            following = Following(other, number)
            following.wait_for(1)
            following.stream.cancel()


def test_a_server_that_stops_ends_the_stream_with_an_error_that_says_so(
    call: Stubs, store_process: StoreServer, namespace: str
) -> None:
    with contextlib.ExitStack() as stack, short_directory() as directory:
        with testing.run(directory, store_process.url, namespace=namespace) as other:
            following = Following(stack.enter_context(stubs(other)), 2)
            following.wait_for(1)
        following.join(60)
    assert following.error is not None
    assert following.error.code() is grpc.StatusCode.UNAVAILABLE
    assert "Watch the release again" in (following.error.details() or "")


# Waiting with the clients.

KINDS = ["Admin", "AsyncAdmin"]


def waiting(kind: str, target: str, release: int, **options: Any) -> "Future[v1.Release]":
    """Waits for a release in another thread."""

    def wait() -> v1.Release:
        if kind == "Admin":
            with Admin(target) as admin:
                return admin.wait_for_release(C, release, **options)

        async def wait_async() -> v1.Release:
            async with AsyncAdmin(target) as admin:
                return await admin.wait_for_release(C, release, **options)

        return asyncio.run(wait_async())

    pool = ThreadPoolExecutor(1)
    future = pool.submit(wait)
    pool.shutdown(wait=False)
    return future


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_ends_when_the_release_is_current(kind: str, call: Stubs, target: str) -> None:
    done = waiting(kind, target, 2, timeout=100)
    call("Ramp", component=C, percent=50)
    assert not done.done()
    call("Finalize", component=C)
    release = done.result(60)
    assert (release.tag, release.state) == ("t2", v1.RELEASE_STATE_CURRENT)
    assert waiting(kind, target, 1).result(60).state == v1.RELEASE_STATE_RETIRED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("verb", "release", "reason"),
    [("Rollback", 2, "HELD"), ("Abandon", 2, "ABANDONED"), ("CancelRelease", 3, "CANCELLED")],
)
def test_waiting_raises_why_the_release_was_not_rolled_out(  # noqa: PLR0917
    kind: str, verb: str, release: int, reason: str, call: Stubs, target: str
) -> None:
    fields = {"release": release} if verb == "CancelRelease" else {}
    done = waiting(kind, target, release)
    call(verb, component=C, note="error rate", **fields)
    with pytest.raises(ReleaseFailedError) as caught:
        done.result(60)
    error = caught.value
    assert (error.reason, error.release.number, error.rollout.component) == (reason, release, C)
    assert error.metadata == {"component": C, "release": str(release), "tag": f"t{release}"}
    assert not error.retryable
    assert "error rate" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_for_a_release_that_was_reverted_raises(kind: str, call: Stubs, target: str) -> None:
    """Given a release that was current when nobody looked, expect no success after people have gone back from it."""
    call("Finalize", component=C, force=True)
    call("Revert", component=C, note="error rate")

    with pytest.raises(ReleaseFailedError, match="t2 is RETIRED: reverted to t1 by anonymous: error rate") as caught:
        waiting(kind, target, 2).result(60)

    assert caught.value.reason == "REVERTED"


@pytest.mark.parametrize("kind", KINDS)
def test_without_until_held_waiting_goes_on_after_a_rollback(kind: str, call: Stubs, target: str) -> None:
    done = waiting(kind, target, 2, until_held=False)
    call("Rollback", component=C)
    call("Ramp", component=C, percent=5)
    call("Finalize", component=C)
    assert done.result(60).state == v1.RELEASE_STATE_CURRENT


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_ends_when_automation_has_paused(kind: str, call: Stubs, target: str) -> None:
    """By default, waiting ends when automation pauses. With `until_paused=False` it goes on. With `until_paused=True` it also ends
    for a person's pause and for an approval.
    """
    done, patient = waiting(kind, target, 2), waiting(kind, target, 2, until_paused=False)
    call("SetPolicy", component=C, policy=broken_check())
    call("Ramp", component=C, percent=5)

    with pytest.raises(ReleaseFailedError, match="The check slow got no answer") as caught:
        done.result(60)

    error = caught.value
    assert (error.reason, error.metadata["cause"], error.rollout.pause.actor) == ("PAUSED", "CHECK_BROKEN", "rampd")
    assert not patient.done()
    call("Abandon", component=C)
    with pytest.raises(ReleaseFailedError, match="ABANDONED"):
        patient.result(60)
    call("Pause", component=C, note="lunch")
    with pytest.raises(ReleaseFailedError, match="Paused by anonymous: lunch") as caught:
        waiting(kind, target, 3, until_paused=True).result(60)
    assert (caught.value.reason, "cause" in caught.value.metadata) == ("PAUSED", False)


def test_waiting_for_too_long_raises_an_error_with_the_last_message(target: str) -> None:
    """Given both faces of the client at the same time, because each of them waits for long enough to hear something first."""
    for done in [waiting(kind, target, 2, timeout=20) for kind in KINDS]:
        with pytest.raises(DeadlineExceededError) as caught:
            done.result(80)
        assert str(caught.value).removesuffix(NO_STEPS) == (
            "Release 2 of restyler has not ended in 20 s. Last: t2 is at 0 %."
        )


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_for_an_unknown_release_fails_at_once(kind: str, target: str) -> None:
    with pytest.raises(NotFoundError):
        waiting(kind, target, 99).result(60)


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_without_a_server_ends_in_time(kind: str) -> None:
    with pytest.raises(DeadlineExceededError, match=r"has not ended in 0\.3 s\. .*127\.0\.0\.1:9"):
        waiting(kind, "127.0.0.1:9", 2, timeout=0.3).result(60)
    with pytest.raises(UnavailableError):
        waiting(kind, "127.0.0.1:9", 2).result(60)


@pytest.mark.parametrize("kind", KINDS)
def test_waiting_goes_on_while_the_server_restarts(
    kind: str, call: Stubs, store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that stops while a client waits, and starts again on its port, expect that the wait ends."""
    heard, lost = threading.Event(), threading.Event()
    is_over, pause_s = Waiting.is_over, Waiting.pause_s
    monkeypatch.setattr(Waiting, "is_over", lambda *given: (heard.set(), is_over(*given))[1])
    monkeypatch.setattr(Waiting, "pause_s", lambda *given: (lost.set(), pause_s(*given))[1])
    target = free_address()
    with short_directory() as directory:
        with testing.run(directory, store_process.url, namespace=namespace, listen=target):
            done = waiting(kind, target, 2)
            assert heard.wait(60)
        call("Ramp", component=C, percent=50)
        call("Finalize", component=C)
        assert lost.wait(60)
        assert not done.done()
        with testing.run(directory, store_process.url, namespace=namespace, listen=target):
            assert done.result(100).state == v1.RELEASE_STATE_CURRENT


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_is_followed_step_by_step_over_a_restart_of_the_server(
    kind: str, call: Stubs, store_process: StoreServer, namespace: str
) -> None:
    """Given a server that stops while a client follows, expect that the client hears of it, and then of what follows."""
    lost: list[str] = []
    seen: list[v1.WatchReleaseResponse] = []

    def note(error: RampdError) -> None:
        lost.append(error.reason)

    see = seen.append

    def follow(target: str) -> None:
        if kind == "Admin":
            with Admin(target) as admin:
                for each in admin.follow_release(C, 2, until_held=False, on_lost=note):
                    see(each)
            return

        async def follow_async() -> None:
            async with AsyncAdmin(target) as admin:
                async for each in admin.follow_release(C, 2, until_held=False, on_lost=note):
                    see(each)

        asyncio.run(follow_async())

    target = free_address()
    with ThreadPoolExecutor(1) as pool, short_directory() as directory:
        with testing.run(directory, store_process.url, namespace=namespace, listen=target):
            done = pool.submit(follow, target)
            eventually(lambda: seen)
            call("Rollback", component=C)
        eventually(lambda: lost)
        call("Abandon", component=C)
        assert not done.done()
        with testing.run(directory, store_process.url, namespace=namespace, listen=target):
            done.result(100)

    assert lost[0] in {"UNAVAILABLE", "NO_SNAPSHOT"}
    assert seen[-1].release.state == v1.RELEASE_STATE_ABANDONED
    assert seen[-1].message == "t2 is ABANDONED: abandoned by anonymous."
