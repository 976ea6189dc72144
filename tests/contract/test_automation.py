"""The controller on a store: it looks, decides and commits, and it overwrites no request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from rampd_server.domain.automation import next_look
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.errors import (
    Reason,
    RefusedError,
    ShardUnavailableError,
    StoreCorruptError,
    StoreUnavailableError,
)
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import AfterRollback, Check, OnRegression, Step
from rampd_server.domain.rollout.model import RolloutState
from rampd_server.domain.rollout.progress import Cause, Driver
from rampd_server.ports import Event, FeedEntry, UntimelyError
from tests.automation import BAD, GOOD, C, ServerWithoutPort, World, servers
from tests.contract.driving import ADA
from tests.in_background import in_background
from tests.stores import StoreServer

MINUTE_MS = 60_000
STEPS = (Step(500, 10 * MINUTE_MS), Step(2500, 10 * MINUTE_MS), Step(9500, 5 * MINUTE_MS))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def pair(server: StoreServer, namespace: str, world: World) -> AsyncIterator[list[ServerWithoutPort]]:
    """Two servers; next is t2 with a plan that starts automatically, t3 waits."""
    async with servers(server, namespace, world, 2) as made:
        await plan(made[0])
        yield made


@pytest.fixture
def one(pair: list[ServerWithoutPort]) -> ServerWithoutPort:
    return pair[0]


async def plan(server: ServerWithoutPort, **automation: object) -> None:
    settings = {"steps": STEPS, "auto_start": True, "auto_finalize": True, **automation}
    await server.do(
        commands.Release("t1"),
        commands.SetPolicy(automation=settings),
        commands.Release("t2"),
        commands.Release("t3"),
    )


async def set_policy(server: ServerWithoutPort, **automation: object) -> None:
    await server.do(commands.SetPolicy(automation=automation))


async def decisions(server: ServerWithoutPort) -> list[Event]:
    return [event for event in await server.history() if event.actor == "rampd"]


async def test_a_release_is_rolled_out_automatically_and_the_next_one_begins(one: ServerWithoutPort, world: World):
    percents = []
    for _ in range(3):
        await one.look()
        percents.append(one.rollout().basis_points)
        assert await one.look(), "a second look at the same moment must change nothing"
        assert one.rollout().basis_points == percents[-1]
        world.pass_ms(10 * MINUTE_MS)

    await one.look()
    assert percents == [500, 2500, 9500]
    assert [one.rollout().current_release.tag, one.rollout().next_release.tag] == ["t2", "t3"]
    assert one.rollout().progress.driver is Driver.NOBODY
    story = [(event.action, event.note) for event in await decisions(one)]
    assert [action for action, _ in story] == ["Step", "Step", "Step", "Finalize"]
    assert story[0][1] == "t2 goes from 0 % to 5 %. The plan begins."
    assert story[1][1].startswith("t2 goes from 5 % to 25 %. It held for 10 min. Jobs that failed: none, against none")
    assert all(not event.is_claimed for event in await decisions(one))


async def test_two_servers_that_see_the_same_make_each_step_once(pair: list[ServerWithoutPort], world: World):
    """Given two servers that look at the same time, repeatedly, expect each step once."""
    for _ in range(12):
        looks = await asyncio.gather(*(each.look() for each in pair), return_exceptions=True)
        for outcome in looks:
            assert not isinstance(outcome, Exception) or getattr(outcome, "reason", "") == Reason.REVISION_MISMATCH
        await asyncio.gather(*(each.refresh() for each in pair))
        world.pass_ms(3 * MINUTE_MS)

    events = await decisions(pair[0])
    assert [event.action for event in events[:4]] == ["Step", "Step", "Step", "Finalize"]
    assert [event.note.split(".")[0] for event in events[:3]] == [
        "t2 goes from 0 % to 5 %", "t2 goes from 5 % to 25 %", "t2 goes from 25 % to 95 %"
    ]  # fmt: skip
    revisions = [event.revision for event in await pair[0].history()]
    assert revisions == list(range(1, len(revisions) + 1))


async def test_a_step_does_not_overwrite_an_earlier_pause_by_a_person(pair: list[ServerWithoutPort], world: World):
    """Given a server that decides on its copy while a person pauses on another server, expect that its step is refused."""
    one, other = pair
    await one.look()
    await other.refresh()
    world.pass_ms(10 * MINUTE_MS)
    await other.refresh()
    before = other.rollout()
    await one.do(commands.Pause(), note="let me look")
    # The other server's copy is as it was before the pause, also if the feed was faster than this test.
    other.replica._state.components[C].rollout = before

    with pytest.raises(RefusedError) as refused:
        await other.controller.look(C)

    assert refused.value.reason is Reason.REVISION_MISMATCH
    await one.refresh()
    assert (one.rollout().basis_points, one.rollout().paused) == (500, True)


async def test_a_server_that_was_away_for_an_hour_makes_one_step_and_holds_again(one: ServerWithoutPort, world: World):
    await one.look()
    world.pass_ms(60 * MINUTE_MS)

    for _ in range(5):
        await one.look()

    assert one.rollout().basis_points == 2500
    assert one.rollout().progress.hold_since_ms == world.store_ms


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_server_that_sees_the_clock_jump_begins_the_hold_again_and_says_so(
    one: ServerWithoutPort, world: World, hours: int
):
    await one.look()
    world.pass_ms(5 * MINUTE_MS)
    await one.look()
    world.store_ms += hours * 60 * MINUTE_MS

    await one.look()

    assert one.rollout().basis_points == 500
    assert one.rollout().progress.hold_since_ms == world.store_ms
    event = (await decisions(one))[-1]
    assert (event.action, event.note) == (
        "Hold", "The store's clock was set by 1 h, so the hold of t2 at 5 % begins again."
    )  # fmt: skip
    world.pass_ms(10 * MINUTE_MS - 1)
    await one.look()
    assert one.rollout().basis_points == 500
    world.pass_ms(1)
    await one.look()
    assert one.rollout().basis_points == 2500


async def test_a_bad_release_is_rolled_back_automatically_with_the_reason(one: ServerWithoutPort, world: World):
    await one.look()
    world.counters[C, 2, 1] = BAD

    await one.look()

    rollout = one.rollout()
    assert (rollout.state, rollout.basis_points, rollout.next_release.tag) == (RolloutState.HELD, 0, "t2")
    event = (await decisions(one))[-1]
    assert event.action == "Rollback"
    assert event.note.startswith("t2 fails more often than t1. Of 10 repos with a failure 8 ran t2")
    assert rollout.held_reason == f"rolled back by rampd: {event.note}"
    assert await one.look() is None


async def test_continue_quarantines_and_drops_next_and_starts_the_head_in_one_write(
    one: ServerWithoutPort, world: World
):
    await set_policy(one, after_rollback=AfterRollback.CONTINUE)
    await one.look()
    world.counters[C, 2, 1] = BAD
    revision = one.rollout().revision

    await one.look()

    rollout = one.rollout()
    assert (rollout.revision, rollout.next_release.tag, set(rollout.quarantine)) == (revision + 1, "t3", {"t2"})
    await one.look()
    assert one.rollout().basis_points == 500
    assert [event.action for event in await decisions(one)] == ["Step", "Rollback", "Step"]


async def test_a_dry_run_records_once_what_it_would_have_done(one: ServerWithoutPort, world: World):
    await set_policy(one, on_regression=OnRegression.NOTIFY)
    await one.look()
    world.counters[C, 2, 1] = BAD

    for _ in range(3):
        await one.look()

    events = await decisions(one)
    assert [event.action for event in events] == ["Step", "Notify"]
    assert events[1].note.startswith("Dry run: rampd would have rolled back t2.")
    assert one.rollout().basis_points == 500


async def test_a_guard_pauses_and_resume_begins_a_new_trial(one: ServerWithoutPort, world: World):
    await set_policy(one, on_regression=OnRegression.PAUSE)
    await one.look()
    world.counters[C, 2, 1] = BAD
    for _ in range(3):
        await one.look()
        world.pass_ms(10 * MINUTE_MS)
    rollout = one.rollout()
    assert (rollout.paused, rollout.basis_points, rollout.progress.paused_by) == (True, 500, Cause.RELATIVE_GUARD)

    await one.do(commands.Resume())
    await one.look()

    rollout = one.rollout()
    assert (rollout.paused, rollout.trial, rollout.progress.paused_by) == (False, 2, None)
    world.pass_ms(10 * MINUTE_MS)
    await one.look()
    assert one.rollout().basis_points == 2500


async def test_a_ramp_by_hand_stops_the_plan_and_resume_continues_it_from_the_step_at_or_above(
    one: ServerWithoutPort, world: World
):
    await one.look()
    await one.do(commands.Ramp(1200))
    world.pass_ms(60 * MINUTE_MS)
    await one.look()
    assert (one.rollout().basis_points, one.rollout().progress.driver) == (1200, Driver.PERSON)
    assert one.controller.waits_for(C) == "t2 was ramped by hand. Resume gives it back to the plan."

    await one.do(commands.Resume())
    await one.look()

    assert (one.rollout().basis_points, one.rollout().progress.driver) == (2500, Driver.PLAN)
    assert (await decisions(one))[-1].note == "t2 goes from 12 % to 25 %. The plan goes on."


async def test_guards_watch_a_ramp_by_hand_without_any_policy(one: ServerWithoutPort, world: World):
    await set_policy(one, steps=(), auto_start=False, auto_finalize=False)
    await one.do(commands.Ramp(500))
    world.counters[C, 2, 1] = BAD

    await one.look()

    assert one.rollout().state is RolloutState.HELD


@pytest.mark.parametrize("stop", [commands.Pause(), commands.Freeze()])
async def test_while_paused_or_frozen_nothing_rises_and_guards_go_on(
    one: ServerWithoutPort, world: World, stop: commands.Command
):
    await one.look()
    await one.do(stop)
    world.pass_ms(60 * MINUTE_MS)
    await one.look()
    assert one.rollout().basis_points == 500

    world.counters[C, 2, 1] = BAD
    await one.look()
    assert one.rollout().state is RolloutState.HELD


async def test_the_plan_continues_after_the_freeze(one: ServerWithoutPort, world: World):
    await one.look()
    await one.do(commands.Freeze())
    world.pass_ms(60 * MINUTE_MS)
    await one.do(commands.Unfreeze())

    await one.look()

    assert one.rollout().basis_points == 2500


async def test_an_unconfirmed_ramp_is_rolled_back_in_time_even_when_paused_or_frozen(
    one: ServerWithoutPort, world: World
):
    await one.do(commands.Ramp(5000, confirm_within_ms=MINUTE_MS), commands.Pause(), commands.Freeze())
    world.pass_ms(MINUTE_MS - 1)
    await one.look()
    assert one.rollout().basis_points == 5000
    world.pass_ms(1)

    await one.look()

    assert (one.rollout().state, one.rollout().confirm_deadline_ms) == (RolloutState.HELD, None)
    assert (await decisions(one))[-1].note == (
        "Nobody confirmed the Ramp of t2 to 50 % in time. Everybody gets t1 instead of t2."
    )


@pytest.mark.parametrize("by_ms", [-60 * MINUTE_MS, -MINUTE_MS, -1_000])
async def test_a_clock_that_is_set_back_does_not_delay_the_deadline_to_confirm(
    one: ServerWithoutPort, world: World, by_ms: int
):
    """Given a minute to confirm, and a store whose clock is set back meanwhile, expect everybody on current after a minute."""
    await one.do(commands.Ramp(5000, confirm_within_ms=MINUTE_MS), commands.Pause())
    world.pass_ms(MINUTE_MS // 2)
    world.store_ms += by_ms
    delay_s = await one.look()
    assert one.rollout().basis_points == 5000
    assert delay_s is not None
    assert 0 < delay_s <= 30.1

    world.pass_ms(MINUTE_MS // 2 - 1)
    await one.look()
    assert one.rollout().basis_points == 5000
    world.pass_ms(1)
    await one.look()

    assert one.rollout().state is RolloutState.HELD
    assert (await decisions(one))[-1].note.startswith("Nobody confirmed the Ramp of t2 to 50 % in time.")


async def test_a_server_that_starts_after_the_clock_was_set_back_does_not_wait_longer_than_the_time_to_confirm(
    one: ServerWithoutPort, server: StoreServer, namespace: str, world: World
):
    await one.do(commands.Ramp(5000, confirm_within_ms=MINUTE_MS))
    world.store_ms -= 60 * MINUTE_MS
    async with servers(server, namespace, world) as [late]:
        await late.look()
        world.pass_ms(MINUTE_MS - 1)
        await late.look()
        assert late.rollout().basis_points == 5000
        world.pass_ms(1)
        await late.look()
        assert late.rollout().state is RolloutState.HELD


async def assert_stuck_after(server: ServerWithoutPort, ms: int) -> None:
    """Lets the time pass, and checks that the rollout counts as stuck at its end, and no sooner."""
    server.world.pass_ms(ms - 1)
    await server.look()
    assert Cause.STUCK not in server.rollout().progress.said
    server.world.pass_ms(1)
    await server.look()
    assert Cause.STUCK in server.rollout().progress.said


async def test_a_server_that_starts_after_the_clock_was_set_back_finds_a_stuck_rollout_after_the_time_for_it(
    one: ServerWithoutPort, server: StoreServer, namespace: str, world: World
):
    """Given progress that the store's clock will reach in a day, expect that the server's own clock decides."""
    await set_policy(one, stuck_after_ms=60 * MINUTE_MS)
    await one.do(commands.Ramp(5000), commands.Pause())
    world.store_ms -= 24 * 60 * MINUTE_MS
    async with servers(server, namespace, world) as [late]:
        await late.look()
        await assert_stuck_after(late, 60 * MINUTE_MS)


@pytest.mark.parametrize("by_ms", [-24 * 60 * MINUTE_MS, -MINUTE_MS, 24 * 60 * MINUTE_MS])
async def test_a_clock_that_is_set_does_not_change_when_a_rollout_counts_as_stuck(
    one: ServerWithoutPort, world: World, by_ms: int
):
    await set_policy(one, stuck_after_ms=60 * MINUTE_MS)
    await one.do(commands.Ramp(5000), commands.Pause())
    await one.look()
    world.pass_ms(30 * MINUTE_MS)
    await one.look()
    world.store_ms += by_ms
    await one.look()
    await assert_stuck_after(one, 30 * MINUTE_MS)


@pytest.mark.parametrize("by_ms", [0, -60 * MINUTE_MS])
async def test_each_ramp_that_waits_to_be_confirmed_has_its_own_time(one: ServerWithoutPort, world: World, by_ms: int):
    await one.do(commands.Ramp(2000, confirm_within_ms=MINUTE_MS))
    world.pass_ms(MINUTE_MS - 1)
    await one.do(commands.Ramp(5000, confirm_within_ms=MINUTE_MS))
    world.store_ms += by_ms
    world.pass_ms(MINUTE_MS - 1)
    await one.look()
    assert one.rollout().basis_points == 5000
    world.pass_ms(1)
    await one.look()
    assert one.rollout().state is RolloutState.HELD


async def test_a_confirmed_ramp_stays(one: ServerWithoutPort, world: World):
    await set_policy(one, confirm_within_ms=MINUTE_MS)
    await one.do(commands.Ramp(5000))
    assert one.rollout().confirm_deadline_ms == world.store_ms + MINUTE_MS
    await one.do(commands.Confirm())
    world.pass_ms(60 * MINUTE_MS)

    await one.look()

    assert one.rollout().basis_points == 5000


async def test_a_rollout_without_progress_is_paused_once(one: ServerWithoutPort, world: World):
    await set_policy(one, stuck_after_ms=30 * MINUTE_MS, steps=(Step(500, 0, min_jobs=100),), auto_finalize=False)
    await one.look()
    world.pass_ms(30 * MINUTE_MS)

    for _ in range(3):
        await one.look()

    assert [event.action for event in await decisions(one)] == ["Step", "Pause"]
    assert "0 of 100 jobs reported" in (await decisions(one))[-1].note


async def test_a_step_waits_for_its_jobs(one: ServerWithoutPort, world: World):
    await set_policy(one, steps=(Step(500, 0, min_jobs=500), Step(2500)), auto_finalize=False)
    await one.look()
    await one.look()
    assert one.rollout().basis_points == 500
    world.counters[C, 2, 1] = GOOD

    await one.look()

    assert one.rollout().basis_points == 2500


async def test_a_check_must_pass_before_the_next_step_and_one_that_fails_rolls_back(
    one: ServerWithoutPort, world: World
):
    await set_policy(one, checks=(Check("errors", "up", maximum=1.0),))
    await one.look()
    world.pass_ms(10 * MINUTE_MS)
    assert await one.look() is None
    assert one.controller.waits_for(C) == "t2 holds at 5 %: errors has not passed."

    world.readings = (CheckReading("errors", has_passed=True),)
    await one.look()
    assert one.rollout().basis_points == 2500

    world.readings = (CheckReading("errors", failures=1, value=7.0),)
    await one.look()
    assert one.rollout().state is RolloutState.HELD


async def test_a_decision_is_void_when_the_store_did_not_answer_for_a_while(
    one: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch
):
    """Given a store that needs seconds to write a step, expect no step, and that a later look decides on the hold."""
    commit = one.store.commit

    async def hang(*arguments: Any, **options: Any) -> FeedEntry:
        world.pass_ms(2_000)
        return await commit(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(one.store, "commit", hang)
        with pytest.raises(UntimelyError):
            await one.look()
    assert one.rollout().basis_points == 0

    await one.look()
    assert one.rollout().basis_points == 500
    assert one.rollout().progress.hold_since_ms == world.store_ms


async def test_nothing_is_decided_while_the_store_is_unreachable(one: ServerWithoutPort, world: World):
    await one.look()
    world.counters[C, 2, 1] = BAD
    world.pass_ms(6_000)

    assert await one.controller.look(C) == 1.0
    assert one.rollout().basis_points == 500


async def test_a_rollout_that_waits_for_nothing_causes_no_reads_of_the_store(one: ServerWithoutPort, world: World):
    """Given steady or held components, expect no look. Given one in its hold, expect no look before the hold is over. Given one
    that waits for a person, expect none at all.
    """
    for number in range(20):
        await one.do(commands.Release("t1"), component=f"steady{number}")
    await one.do(commands.Release("t1"), commands.Release("t2"), commands.Ramp(500), component="held")
    await one.do(commands.Rollback(), component="held")
    world.reads = 0
    for known in one.replica.components():
        if known.rollout.component != C:
            assert await one.controller.look(known.rollout.component) is None
    assert world.reads == 0

    await one.look()
    delay_s = await one.look()
    assert delay_s is not None
    assert 599 < delay_s < 601
    await one.do(commands.Ramp(700))
    assert await one.look() is None


async def test_what_a_rollout_waits_for_counts_down_without_a_look(one: ServerWithoutPort, world: World):
    await one.look()
    await one.look()
    assert one.controller.waits_for(C) == "t2 holds at 5 %: 10 min to go."
    reads = world.reads

    world.pass_ms(7 * MINUTE_MS)
    await one.refresh()
    assert (one.controller.waits_for(C), world.reads) == ("t2 holds at 5 %: 3 min to go.", reads)

    # The next step is due: a look says what comes.
    world.pass_ms(3 * MINUTE_MS)
    await one.refresh()
    assert one.controller.waits_for(C) == ""


@pytest.fixture
async def running(one: ServerWithoutPort) -> AsyncIterator[ServerWithoutPort]:
    """Runs the controller. Time passes only when a test lets it pass."""
    async with in_background(one.controller.run()):
        yield one


async def until(server: ServerWithoutPort, is_so) -> None:
    """Lets a little time pass, repeatedly, until the condition is true."""
    async with asyncio.timeout(100):
        while not is_so(server.rollout()):
            server.world.pass_ms(20)
            server.controller._turns._changed.set()
            await server.refresh()
            await asyncio.sleep(0.005)


async def test_automation_looks_at_once_when_it_hears_of_outcomes(running: ServerWithoutPort, world: World):
    await until(running, lambda rollout: rollout.basis_points == 500)
    world.counters[C, 2, 1] = BAD
    began_ms = world.store_ms

    running.controller.wake(C)
    await until(running, lambda rollout: rollout.state is RolloutState.HELD)

    assert world.store_ms - began_ms <= 1_000


async def test_automation_hears_of_outcomes_that_another_source_counts(running: ServerWithoutPort, world: World):
    await until(running, lambda rollout: rollout.basis_points == 500)
    world.counters[C, 2, 1] = BAD
    counted: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    began_ms = world.store_ms

    class Source:
        async def wait(self) -> frozenset[str]:
            return await counted.get()

    async with in_background(running.controller.follow(Source())):
        counted.put_nowait(frozenset({"unknown", C}))
        await until(running, lambda rollout: rollout.state is RolloutState.HELD)

    assert world.store_ms - began_ms <= 1_000


@pytest.mark.parametrize(("matures_in_ms", "looks_in_s"), [(60_000, 60), (100, 5), (None, 600)])
async def test_automation_looks_when_the_first_outcome_that_waits_begins_to_count(
    one: ServerWithoutPort, world: World, matures_in_ms: int | None, looks_in_s: float
):
    """Expect also at most one look in five seconds, where outcomes begin to count one after the other."""
    await one.look()
    world.counters[C, 2, 1] = replace(GOOD, matures_ms=matures_in_ms and world.store_ms + matures_in_ms)

    assert looks_in_s - 0.5 <= (await one.look() or 0) <= looks_in_s + 0.5


async def test_a_hold_ends_in_time_when_nothing_else_happens(running: ServerWithoutPort, world: World):
    await until(running, lambda rollout: rollout.basis_points == 500)
    reads, began_ms = world.reads, world.store_ms
    world.pass_ms(9 * MINUTE_MS)
    await until(running, lambda rollout: rollout.basis_points == 2500)

    assert world.store_ms - began_ms <= 10 * MINUTE_MS + 1_000
    assert world.reads - reads <= 5


@pytest.mark.parametrize("hours", [1, -1])
async def test_after_a_jump_of_the_clock_automation_looks_at_once_and_not_when_it_had_planned(
    running: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch, hours: int
):
    monkeypatch.setattr("rampd_server.automation.controller._CLOCK_S", 0.01)
    await until(running, lambda rollout: rollout.basis_points == 500 and running.controller.waits_for(C) != "")
    hold_since_ms = running.rollout().progress.hold_since_ms
    began_s = world.monotonic_s
    world.store_ms += hours * 60 * MINUTE_MS

    await until(running, lambda rollout: rollout.progress.hold_since_ms != hold_since_ms)

    assert world.monotonic_s - began_s <= 60
    assert (await decisions(running))[-1].action == "Hold"


async def test_looks_at_many_rollouts_at_once_are_spread_and_a_time_to_confirm_is_kept(
    one: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch
):
    """Given a server that reads everything again, expect one look after the other, and the one with a deadline in time."""
    monkeypatch.setattr("rampd_server.automation.controller._PACE_S", 100.0)
    for number in range(3):
        await one.do(commands.Release("t1"), commands.Release("t2"), component=f"other{number}")
    await one.do(commands.Ramp(5000, confirm_within_ms=1_000))

    one.controller._turns = type(one.controller._turns)(rest_s=0, monotonic=lambda: world.monotonic_s)
    for _ in one.controller.reloaded():
        pass

    due = one.controller._turns._due
    assert len(due) == 4
    assert due[C] - world.monotonic_s <= 1.1
    assert max(due.values()) - min(due.values()) > 1


async def test_a_change_of_the_freeze_of_everything_is_said_at_once_and_looked_at_in_pieces(
    one: ServerWithoutPort, world: World
):
    """Given the freeze of a namespace that may have thousands of rollouts, expect that the change itself plans no look."""
    await one.look()
    await one.look()
    one.controller._turns.drop(C)
    await one.service.freeze_all(None, ADA)
    assert C not in one.controller._turns._due
    assert one.controller.waits_for(C) == "Frozen by ada."

    async with in_background(one.controller.run()):
        await until(one, lambda _: one.controller.looks[C].freeze_all is not None)
        world.pass_ms(10 * MINUTE_MS)
        await one.service.unfreeze_all(ADA)
        await until(one, lambda rollout: rollout.basis_points == 2500)


async def test_looks_after_many_changes_keep_a_distance_and_a_time_to_confirm_is_kept(
    one: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch
):
    """Given changes of several components at once, and again, expect a look at each: one after the other, but not for ever. Those of
    the second time put off no other look.
    """
    monkeypatch.setattr("rampd_server.automation.controller._DISTANCE_S", 0.8)
    names = [f"other{number}" for number in range(7)]
    for name in names:
        await one.do(commands.Release("t1"), commands.Release("t2"), component=name)
    turns = without_rest(one)
    one.controller._spaced_s = 0.0
    for percent in (10, 20):
        for name in names[:5]:
            await one.do(commands.Ramp(percent), component=name)
    await one.do(commands.Ramp(5000, confirm_within_ms=1_000))
    for name in names[5:]:
        await one.do(commands.Ramp(10), component=name)

    due = [turns._due[name] - world.monotonic_s for name in (*names, C)]
    assert due == pytest.approx([0.05, 0.85, 1.65, 2.45, 3.25, 4.85, 5.0, 1.05])


async def test_a_look_after_another_policy_does_not_wait_for_the_looks_at_others(one: ServerWithoutPort, world: World):
    """Given outcomes that the policy of before has let pass, expect that a stricter one does not let them pass for seconds."""
    await one.look()
    turns = without_rest(one)
    one.controller._spaced_s = world.monotonic_s + 3
    await one.do(commands.Ramp(600))
    assert turns._due[C] - world.monotonic_s == pytest.approx(3.01)
    await set_policy(one, on_regression=OnRegression.PAUSE)

    assert turns._due[C] - world.monotonic_s == pytest.approx(next_look.AFTER_CHANGE_S)


@pytest.mark.parametrize("comes", ["during the look", "after the look"])
async def test_a_decision_that_another_writer_has_prevented_does_not_wait_for_the_looks_at_others(
    one: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch, comes: str
):
    """Given a rollback and a change that is first, which the feed brings now or a moment later, expect the next look soon."""
    await one.look()
    world.counters[C, 2, 1] = BAD
    turns, execute, change = without_rest(one), one.service.execute, commands.Ramp(600, confirm_within_ms=MINUTE_MS)
    one.controller._spaced_s = world.monotonic_s + 3
    is_lost = asyncio.Event()

    async def loses(*_arguments: object, **_options: object) -> None:
        monkeypatch.setattr(one.service, "execute", execute)
        if comes == "during the look":
            await one.do(change)
        is_lost.set()
        raise RefusedError(Reason.REVISION_MISMATCH, "another writer was first")

    monkeypatch.setattr(one.service, "execute", loses)
    turns.call(C)
    async with in_background(one.controller._look_in_turn()):
        await is_lost.wait()
        while turns._taken:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
    if comes == "after the look":
        await one.do(change)

    assert turns._due[C] - world.monotonic_s == pytest.approx(next_look.AFTER_CHANGE_S)


def without_rest(server: ServerWithoutPort) -> Any:
    """Gives automation turns that nothing was planned for yet, and between which no component rests. Returns them."""
    controller = server.controller
    controller._turns = type(controller._turns)(rest_s=0, monotonic=lambda: server.world.monotonic_s)
    controller._changed.clear()
    return controller._turns


async def test_a_change_after_a_look_is_looked_at_too(running: ServerWithoutPort, world: World):
    for change in (commands.Ramp(700), commands.Ramp(800), commands.Pause()):
        await until(running, lambda _: running.controller.waits_for(C) != "")
        await running.do(change)
        assert running.controller.waits_for(C) == ""
        began_s = world.monotonic_s

        def is_seen(_rollout: object, began_s: float = began_s) -> bool:
            assert world.monotonic_s - began_s < 5
            return running.controller.waits_for(C) != ""

        await until(running, is_seen)


@pytest.mark.parametrize(
    "error",
    [ShardUnavailableError("away"), StoreCorruptError("damage", key="key")],
    ids=["away", "damaged"],
)
async def test_a_ramp_that_nobody_confirms_goes_back_although_its_outcomes_can_t_be_read(
    one: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    async def counters(*_: object) -> object:
        raise error

    monkeypatch.setattr(one.outcomes, "counters", counters)
    await one.do(commands.Ramp(5000, confirm_within_ms=1_000))
    assert await one.look() == next_look.RETRY_S
    world.pass_ms(1_000)

    await one.look()
    assert one.rollout().state is RolloutState.HELD
    assert [event.note.partition(".")[0] for event in await decisions(one)] == [
        "Nobody confirmed the Ramp of t2 to 50 % in time"
    ]


async def test_while_outcomes_can_t_be_read_those_of_the_last_look_stay(
    one: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch
):
    """Given a step that has all it needs, expect that it is not made, that the metrics keep their counts, and that it is made later."""
    await one.look()
    world.counters[C, 2, 1] = GOOD
    await one.look()
    world.pass_ms(10 * MINUTE_MS)
    with monkeypatch.context() as patch:

        async def counters(*_: object) -> object:
            raise ShardUnavailableError("It is away.")

        patch.setattr(one.outcomes, "counters", counters)
        assert await one.look() == next_look.RETRY_S
        assert one.rollout().basis_points == 500
        assert one.controller.looks[C].counters == GOOD
        assert one.controller.waits_for(C) == "The outcomes of t2 can't be read now, so the plan waits. It is away."
    await one.look()
    assert one.rollout().basis_points == 2500


async def test_a_look_that_fails_is_tried_again(
    running: ServerWithoutPort, world: World, monkeypatch: pytest.MonkeyPatch
):
    await until(running, lambda rollout: rollout.basis_points == 500)
    failures = iter([StoreUnavailableError("away"), RuntimeError("a defect")])
    read = running.outcomes.counters

    async def counters(*args: object) -> object:
        for failure in failures:
            raise failure
        return await read(*args)

    monkeypatch.setattr(running.outcomes, "counters", counters)
    world.counters[C, 2, 1] = BAD
    running.controller.wake(C)

    await until(running, lambda rollout: rollout.state is RolloutState.HELD)
