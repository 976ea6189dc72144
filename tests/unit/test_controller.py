"""The decisions of automation, case by case: given a rollout, its counts and the time, expect the decision and its words."""

from dataclasses import replace

import pytest

from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd_server.domain.automation.clock import Clock
from rampd_server.domain.automation.decision import Action, Decision, Observed, decide
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.automation.next_look import next_change_ms
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import AfterRollback, Automation, Check, OnRegression, Step
from rampd_server.domain.rollout.commands import ground_of
from rampd_server.domain.rollout.model import Freeze, Pause, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from rampd_server.domain.rollout.standing import standing
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, held, rolling_out, steady

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
STEPS = (Step(500, 10 * MINUTE_MS, 20), Step(2500, 10 * MINUTE_MS, 50), Step(9500, 5 * MINUTE_MS))
PLAN = Automation(steps=STEPS, auto_start=True)
CHECK = Check("errors", "q", maximum=1.0, failures_allowed=2, errors_allowed=3)
NOTHING = TrialCounters()
# At 10 %, 12 of 20 repos that failed ran next.
BAD = TrialCounters(
    {
        1000: Tally(
            jobs=Split(1800, 200), failures=Split(9, 14), first_outcomes=Split(900, 100), first_failures=Split(8, 12)
        )
    }
)


def enough(weight: int) -> TrialCounters:
    """Returns enough good outcomes at a weight for any step of the plan."""
    return TrialCounters({weight: Tally(jobs=Split(1000, 100), first_outcomes=Split(10_000 - weight, weight))})


def at(basis_points: int, automation: Automation = PLAN, **changes: object) -> Rollout:
    """Next is B; C waits."""
    rollout = after(rolling_out(), commands.SetPolicy({"automation": automation}))
    return replace(rollout, basis_points=basis_points, **changes)


def holding(since_ms: int = NOW) -> Progress:
    return Progress(Driver.PLAN, hold_since_ms=since_ms, moved_ms=since_ms)


def observe(rollout: Rollout, progress: Progress, counters: TrialCounters = NOTHING, **changes: object) -> Observed:
    clock = changes.pop("clock", None) or Clock(changes.pop("now_ms", NOW))
    return Observed(replace(rollout, progress=progress), counters, clock, **changes)


def deciding(*args: object, **changes: object) -> Decision:
    return decide(observe(*args, **changes))


def test_there_is_nothing_to_do_while_steady():
    assert deciding(steady(), Progress()).action is Action.WAIT


def test_automation_does_nothing_while_held():
    rollout = replace(after(held(), commands.SetPolicy({"automation": PLAN})), confirm_deadline_ms=NOW - 1)

    decision = deciding(rollout, holding(0), BAD)

    assert (decision.action, decision.command) == (Action.WAIT, None)
    assert "held" in decision.reason


def test_a_policy_without_steps_leaves_ramps_to_people():
    assert "no steps" in deciding(at(1000, Automation()), Progress()).reason


def test_a_new_next_starts_automatically_with_auto_start():
    decision = deciding(at(0), Progress())

    assert decision.action is Action.STEP
    assert decision.command == commands.Ramp(500, "B")
    assert decision.progress == Progress(Driver.PLAN, NOW, NOW)


def test_a_new_next_waits_without_auto_start():
    decision = deciding(at(0, replace(PLAN, auto_start=False)), Progress())

    assert decision.action is Action.WAIT
    assert "Resume starts the plan" in decision.reason


def test_resume_starts_the_plan_without_auto_start():
    rollout = at(0, replace(PLAN, auto_start=False))

    assert deciding(rollout, Progress().given_back(NOW)).command == commands.Ramp(500, "B")


@pytest.mark.parametrize(
    ("held_ms", "jobs", "waits_for"),
    [
        (10 * MINUTE_MS - 1, 20, "1 s to go"),
        (10 * MINUTE_MS, 19, "19 of 20 jobs reported"),
        (0, 0, "10 min to go and 0 of 20 jobs reported"),
        (-5_000, 20, "10 min to go"),
    ],
)
def test_a_step_holds_until_both_its_time_and_its_jobs_are_over(held_ms: int, jobs: int, waits_for: str):
    counters = TrialCounters({500: Tally(jobs=Split(0, jobs))})

    decision = deciding(at(500), holding(NOW - held_ms), counters)

    assert decision.action is Action.WAIT
    assert decision.reason == f"B holds at 5 %: {waits_for}."


def test_jobs_of_another_step_do_not_count_for_this_one():
    assert deciding(at(2500), holding(NOW - HOUR_MS), enough(500)).action is Action.WAIT


def test_after_the_hold_comes_the_next_step():
    decision = deciding(at(500), holding(NOW - 11 * MINUTE_MS), enough(500))

    assert decision.action is Action.STEP
    assert decision.command == commands.Ramp(2500, "B")
    assert decision.progress == holding(NOW)
    assert decision.reason == (
        "B goes from 5 % to 25 %. It held for 11 min. Jobs that failed: 0 of 100 (0.0 %), against 0 of 1,000 (0.0 %) of A. "
        "The evidence E is 1, its limit 100."
    )


def test_a_server_that_was_away_makes_one_step_and_holds_again():
    late = observe(at(500), holding(NOW - HOUR_MS), enough(500))
    stepped = decide(late)

    again = deciding(at(2500), stepped.progress, enough(2500))

    assert stepped.command == commands.Ramp(2500, "B")
    assert again.action is Action.WAIT


def test_the_end_of_the_plan_waits_for_finalize_or_finalizes():
    progress = holding(NOW - HOUR_MS)
    waits = deciding(at(9500), progress, enough(9500))
    goes = deciding(at(9500, replace(PLAN, auto_finalize=True)), progress, enough(9500))

    assert (waits.action, "Finalize" in waits.reason) == (Action.WAIT, True)
    assert (goes.action, goes.command) == (Action.FINALIZE, commands.Finalize("B"))


def test_the_last_step_holds_before_it_finalizes():
    decision = deciding(at(9500, replace(PLAN, auto_finalize=True)), holding(NOW - MINUTE_MS), enough(9500))

    assert decision.action is Action.WAIT


@pytest.mark.parametrize(
    ("freeze", "freeze_all"),
    [(Freeze("ada", "", NOW), None), (None, Freeze("ada", "", NOW)), (None, Freeze("ada", "", NOW, NOW + 1))],
)
def test_a_freeze_stops_the_plan(freeze: Freeze | None, freeze_all: Freeze | None):
    rollout = at(500, freeze=freeze)

    decision = deciding(rollout, holding(NOW - HOUR_MS), enough(500), freeze_all=freeze_all)

    assert (decision.action, decision.reason) == (Action.WAIT, "Frozen by ada.")


def test_a_freeze_that_has_ended_stops_nothing():
    rollout = at(500, freeze=Freeze("ada", "", NOW - 2, NOW - 1))

    assert deciding(rollout, holding(NOW - HOUR_MS), enough(500)).action is Action.STEP


def test_pause_stops_the_plan():
    assert deciding(at(500, paused=True), holding(NOW - HOUR_MS), enough(500)).action is Action.WAIT


def test_a_ramp_by_hand_stops_the_plan():
    progress = holding(NOW - HOUR_MS).taken_over(NOW, is_new_trial=False)

    decision = deciding(at(3000), progress, enough(3000))

    assert decision.action is Action.WAIT
    assert "by hand" in decision.reason


def test_a_percentage_of_an_unknown_driver_counts_as_set_by_a_person():
    assert "by hand" in deciding(at(1000), Progress()).reason


def test_a_ramp_of_a_held_release_clears_the_notices_of_the_earlier_trial():
    progress = holding().spoke(Cause.RELATIVE_GUARD).paused(Cause.ABSOLUTE_GUARD)

    assert progress.taken_over(NOW, is_new_trial=True) == Progress(Driver.PERSON, moved_ms=NOW)
    assert progress.taken_over(NOW, is_new_trial=False).paused_by is Cause.ABSOLUTE_GUARD


def test_resume_continues_the_plan_from_the_step_above_the_present_percentage():
    progress = holding().taken_over(NOW, is_new_trial=False).given_back(NOW)

    decision = deciding(at(3000), progress)

    assert decision.command == commands.Ramp(9500, "B")
    assert decision.progress.driver is Driver.PLAN


def test_resume_at_the_percentage_of_a_step_holds_there_again():
    progress = holding(NOW - HOUR_MS).taken_over(NOW, is_new_trial=False).given_back(NOW)

    decision = deciding(at(2500), progress, enough(2500))

    assert (decision.action, decision.command) == (Action.HOLD, None)
    assert decision.progress == replace(holding(NOW), resumed_ms=NOW)
    assert decision.reason == "The plan goes on with B at 25 %. It holds for 10 min and 50 jobs."


@pytest.mark.parametrize(
    ("basis_points", "says"),
    [
        (3000, "The plan goes on with B from 30 %, and goes to 95 % next."),
        (2500, "The plan goes on with B from 25 %."),
        (10_000, "The plan goes on with B from 100 %."),
    ],
)
def test_who_resumes_is_told_where_the_plan_goes_at_once(basis_points: int, says: str):
    rollout = replace(at(basis_points), progress=holding().taken_over(NOW, is_new_trial=False))

    assert transition(rollout, commands.Resume(), Context(NOW, "ada")).message == says


def test_resume_above_the_plan_holds_as_long_as_the_last_step():
    progress = holding().taken_over(NOW, is_new_trial=False).given_back(NOW)
    first = deciding(at(10_000), progress)

    assert first.action is Action.HOLD
    assert "holds at 100 %: 5 min to go" in deciding(at(10_000), first.progress).reason


def test_a_percentage_between_steps_of_a_changed_policy_holds_as_long_as_the_step_below():
    waiting = deciding(at(700), holding(NOW - 9 * MINUTE_MS), enough(700))
    stepping = deciding(at(700), holding(NOW - 10 * MINUTE_MS), enough(700))

    assert waiting.action is Action.WAIT
    assert stepping.command == commands.Ramp(2500, "B")


def test_a_ramp_that_nobody_confirms_is_rolled_back():
    rollout = at(1000, confirm_deadline_ms=NOW)

    decision = deciding(rollout, Progress(), freeze_all=Freeze("ada", "", NOW))

    assert (decision.action, decision.command, decision.cause) == (
        Action.ROLLBACK,
        commands.Rollback("B"),
        Cause.CONFIRM,
    )
    assert deciding(rollout, Progress(), now_ms=NOW - 1).action is Action.WAIT


def test_while_outcomes_can_t_be_read_the_plan_waits_and_says_why():
    held = at(500), holding(NOW - HOUR_MS), enough(500)
    assert deciding(*held).action is Action.STEP

    decision = deciding(*held, counters_problem="Redis can't be reached.")
    assert decision.action is Action.WAIT
    assert decision.reason == "The outcomes of B can't be read now, so the plan waits. Redis can't be reached."


def test_while_outcomes_can_t_be_read_what_lowers_exposure_goes_on():
    automation = replace(PLAN, checks=(CHECK,))
    broken = CheckReading("errors", failures=3, value=2.0)
    unconfirmed = at(1000, confirm_deadline_ms=NOW)
    for rollout, checks in ((unconfirmed, ()), (at(500, automation), (broken,))):
        decision = deciding(rollout, holding(), checks=checks, counters_problem="Redis can't be reached.")
        assert decision.action is Action.ROLLBACK


def test_the_plan_never_confirms_a_ramp_for_a_person():
    rollout = at(500, confirm_deadline_ms=NOW + 1)

    decision = deciding(rollout, holding(NOW - HOUR_MS), enough(500))

    assert (decision.action, decision.reason) == (Action.WAIT, "The Ramp of B waits for Confirm.")


def test_an_unconfirmed_ramp_is_held_and_never_dropped():
    rollout = at(1000, replace(PLAN, after_rollback=AfterRollback.CONTINUE), confirm_deadline_ms=NOW)

    assert deciding(rollout, Progress()).command == commands.Rollback("B")


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS])
def test_the_hold_begins_again_if_the_clock_was_set(by_ms: int):
    # The hold began half a minute before somebody set the clock.
    clock = Clock(NOW + by_ms + 1_000, jump_ms=NOW + by_ms, jumped_by_ms=by_ms)

    decision = deciding(at(500), holding(NOW - 30_000), enough(500), clock=clock)

    assert decision.action is Action.HOLD
    assert decision.progress.hold_since_ms == clock.now_ms
    assert decision.reason == "The store's clock was set by 1 h, so the hold of B at 5 % begins again."


def test_a_hold_that_began_after_the_jump_continues():
    clock = Clock(NOW + 11 * MINUTE_MS, jump_ms=NOW - 1, jumped_by_ms=HOUR_MS)

    assert deciding(at(500), holding(NOW), enough(500), clock=clock).action is Action.STEP


def test_a_hold_in_the_future_begins_again_even_if_no_server_saw_the_jump():
    decision = deciding(at(500), holding(NOW + HOUR_MS), enough(500))

    assert (decision.action, decision.progress.hold_since_ms) == (Action.HOLD, NOW)


@pytest.mark.parametrize("automation", [PLAN, Automation()])
def test_a_regression_is_rolled_back_also_on_a_ramp_by_hand(automation: Automation):
    decision = deciding(at(1000, automation), Progress(Driver.PERSON), BAD)

    assert (decision.action, decision.command) == (Action.ROLLBACK, commands.Rollback("B"))
    assert decision.reason == (
        "B fails more often than A. Of 20 repos with a failure 12 ran B; 2.0 were to be expected. Jobs that failed: "
        "14 of 200 (7.0 %) of B, 9 of 1,800 (0.5 %) of A. The evidence E is 628,000, its limit 100."
    )


@pytest.mark.parametrize("changes", [{"paused": True}, {"freeze": Freeze("ada", "", NOW)}])
def test_guards_continue_during_a_pause_and_a_freeze(changes: dict):
    assert deciding(at(1000, **changes), holding(), BAD).action is Action.ROLLBACK


def test_after_rollback_continue_drops_and_quarantines():
    decision = deciding(at(1000, replace(PLAN, after_rollback=AfterRollback.CONTINUE)), holding(), BAD)

    assert (decision.action, decision.command) == (Action.ROLLBACK, commands.Abandon("B", quarantine=True))


def test_on_regression_pause_pauses_once():
    automation = replace(PLAN, on_regression=OnRegression.PAUSE)
    decision = deciding(at(1000, automation), holding(), BAD)
    assert (decision.action, decision.command, decision.progress.paused_by) == (
        Action.PAUSE,
        commands.Pause(Cause.RELATIVE_GUARD),
        Cause.RELATIVE_GUARD,
    )

    again = deciding(at(1000, automation, paused=True), decision.progress, BAD)

    assert again.action is Action.WAIT


def test_the_pause_of_a_guard_is_remembered_when_a_person_pauses_too():
    decision = deciding(at(1000, replace(PLAN, on_regression=OnRegression.PAUSE), paused=True), holding(), BAD)

    assert decision.action is Action.PAUSE


def test_notify_records_a_dry_run_once_and_the_plan_continues():
    automation = replace(PLAN, on_regression=OnRegression.NOTIFY)
    counters = TrialCounters({**BAD.by_weight, 500: Tally(jobs=Split(0, 20))})
    decision = deciding(at(500, automation), holding(NOW - HOUR_MS), counters)
    assert (decision.action, decision.command) == (Action.NOTIFY, None)
    assert decision.reason.startswith("Dry run: rampd would have rolled back B. B fails more often than A.")

    again = deciding(at(500, automation), decision.progress, counters)

    assert again.action is Action.STEP


def test_resume_begins_a_new_trial_only_after_the_pause_of_a_guard():
    assert holding().paused(Cause.RELATIVE_GUARD).resumes_as_new_trial
    assert holding().paused(Cause.ABSOLUTE_GUARD).resumes_as_new_trial
    assert holding().paused(Cause.ASSIGNMENT_CHECK).resumes_as_new_trial
    assert not holding().paused(Cause.STUCK).resumes_as_new_trial
    assert not holding().paused(Cause.CHECK_BROKEN).resumes_as_new_trial
    assert not holding().resumes_as_new_trial


def test_a_second_pause_keeps_the_new_trial_that_the_first_requires():
    for causes in ((Cause.ABSOLUTE_GUARD, Cause.CHECK_BROKEN), (Cause.CHECK_BROKEN, Cause.ABSOLUTE_GUARD)):
        progress = holding()
        for cause in causes:
            progress = progress.paused(cause)
        rollout = replace(at(500, paused=True), progress=progress)

        resumed = after(rollout, commands.Resume())

        assert resumed.trial == rollout.trial + 1
        assert resumed.progress.said == frozenset()


def found_worse(rollout: Rollout) -> Rollout:
    """Returns the rollout after the decision about BAD."""
    decision = deciding(rollout, rollout.progress, BAD)
    command = commands.Decide(decision.progress, decision.command)
    changed = transition(rollout, command, Context(NOW, "rampd", decision.reason)).after
    assert isinstance(changed, Rollout)
    return changed


def said(rollout: Rollout) -> str:
    assert rollout.next_release is not None
    return standing(rollout, rollout.next_release, Context(NOW))


def test_a_pause_of_an_earlier_trial_says_so_once_and_gives_way_to_what_the_new_trial_finds():
    """Given a guard's pause, a Rollback and a Ramp, expect that no sentence about the old outcomes reads as one about the new."""
    bad = found_worse(at(1000, Automation(on_regression=OnRegression.PAUSE)))
    assert bad.pause is not None
    assert "Rollback takes it away. Resume goes on as trial 2: outcomes are counted from 0." in said(bad)

    held = after(bad, commands.Rollback())
    again = after(held, commands.Ramp(1000))
    later = after(again, commands.Rollback(), commands.Ramp(1000))

    for rollout in (again, later):
        assert rollout.pause is not None
        assert rollout.pause.note == f"{bad.pause.note} That was in trial 1."
        assert said(rollout).endswith("That was in trial 1. Rollback takes it away. Resume goes on.")
    found = found_worse(later)
    assert found.pause is not None
    assert "That was in trial" not in found.pause.note
    assert said(found).endswith("Resume goes on as trial 4: outcomes are counted from 0.")


def test_a_pause_of_a_person_is_of_no_trial():
    paused = after(rolling_out(), commands.Pause(), commands.Rollback(), commands.Ramp(4000))

    assert paused.pause == after(rolling_out(), commands.Pause()).pause


def test_the_cause_of_a_pause_may_be_reported_again_after_resume():
    progress = holding().paused(Cause.CHECK_FAILED).given_back(NOW)

    assert progress.said == frozenset()
    assert holding().spoke(Cause.RELATIVE_GUARD).given_back(NOW).said == {Cause.RELATIVE_GUARD}


def test_a_difference_within_the_tolerance_is_accepted():
    counters = TrialCounters({1000: Tally(jobs=Split(1, 1), first_failures=Split(14, 6))})

    assert deciding(at(1000), holding(), counters).action is Action.WAIT
    strict = replace(PLAN, alpha=0.2)
    assert deciding(at(1000, strict), holding(), counters).action is Action.ROLLBACK
    assert deciding(at(1000, replace(strict, tolerance=4.0)), holding(), counters).action is Action.WAIT


def test_the_absolute_guard_pauses_by_default_and_names_the_outage():
    counters = TrialCounters(
        {
            10_000: Tally(
                jobs=Split(0, 9), failures=Split(0, 6), first_outcomes=Split(0, 8), failed_first_outcomes=Split(0, 6)
            )
        }
    )
    decision = deciding(at(10_000, replace(PLAN, max_failure_rate=0.1)), Progress(Driver.PERSON), counters)

    assert (decision.action, decision.cause) == (Action.PAUSE, Cause.ABSOLUTE_GUARD)
    assert decision.reason.startswith(
        "B fails more often than the policy allows, 10 %: for 6 of 8 (75.0 %) repos the first job failed."
    )
    assert deciding(at(10_000), Progress(Driver.PERSON), counters).action is Action.WAIT


def test_a_wrong_share_of_repos_pauses():
    counters = TrialCounters({1000: Tally(jobs=Split(900, 20), first_outcomes=Split(900, 20))})

    decision = deciding(at(1000), holding(), counters)

    assert (decision.action, decision.cause) == (Action.PAUSE, Cause.ASSIGNMENT_CHECK)
    assert decision.reason.startswith("Of 920 repos that reported 20 ran B, but 92 were to be expected.")


def checked(reading: CheckReading, **changes: object) -> Decision:
    automation = replace(PLAN, checks=(CHECK,), **changes)
    return deciding(at(500, automation), holding(NOW - HOUR_MS), enough(500), checks=[reading])


def test_a_check_must_have_passed_before_the_next_step():
    decision = checked(CheckReading("errors", has_passed=True, value=0.25))
    assert decision.action is Action.STEP
    assert decision.reason.endswith("The last value of the check errors was 0.25 (at most 1 is allowed).")
    silent = checked(CheckReading("errors", has_passed=True))
    assert silent.reason.endswith("The check errors has given no value.")
    assert "errors has not passed" in checked(CheckReading("errors")).reason
    assert "errors has not passed" in checked(CheckReading("another", has_passed=True)).reason


def test_a_check_that_fails_too_often_is_a_regression():
    assert checked(CheckReading("errors", failures=2)).action is Action.WAIT
    assert checked(CheckReading("errors", errors=3)).action is Action.WAIT
    decision = checked(CheckReading("errors", failures=3, value=4.5))
    assert (decision.action, decision.cause) == (Action.ROLLBACK, Cause.CHECK_FAILED)
    assert decision.reason == (
        "The check errors failed 3 times in a row (allowed: 2). "
        "The last value of the check errors was 4.5 (at most 1 is allowed). Everybody gets A instead of B."
    )


@pytest.mark.parametrize("on_regression", OnRegression)
def test_a_broken_source_pauses_and_never_rolls_back(on_regression: OnRegression):
    decision = checked(CheckReading("errors", errors=4, error="timed out"), on_regression=on_regression)

    assert (decision.action, decision.cause) == (Action.PAUSE, Cause.CHECK_BROKEN)
    assert "says nothing about the release" in decision.reason


def test_a_rollout_that_makes_no_progress_is_paused_once():
    automation = replace(PLAN, stuck_after_ms=HOUR_MS)
    decision = deciding(at(500, automation), holding(NOW - HOUR_MS))
    assert (decision.action, decision.cause) == (Action.PAUSE, Cause.STUCK)
    assert decision.reason == "B has made no progress at 5 % for 1 h. B holds at 5 %: 0 of 20 jobs reported."

    assert deciding(at(500, automation, paused=True), decision.progress).action is Action.WAIT
    assert deciding(at(500, automation), holding(NOW - HOUR_MS + 1)).action is Action.WAIT


def test_a_paused_rollout_is_reported_when_it_is_stuck():
    automation = replace(PLAN, stuck_after_ms=HOUR_MS)

    assert deciding(at(500, automation, paused=True), holding(NOW - HOUR_MS)).action is Action.NOTIFY


def test_a_rollout_is_not_stuck_because_the_clock_was_set():
    automation = replace(PLAN, stuck_after_ms=HOUR_MS)
    clock = Clock(NOW + HOUR_MS, jump_ms=NOW + HOUR_MS, jumped_by_ms=HOUR_MS)

    assert deciding(at(500, automation), holding(NOW), clock=clock).action is Action.HOLD


def test_a_clock_that_was_set_back_delays_a_stuck_rollout_by_at_most_one_more_period():
    """Given a rollout whose last move is now in the future, expect that its time counts from when the clock was set."""
    automation = replace(PLAN, stuck_after_ms=HOUR_MS)
    rollout, moved = at(500, automation, paused=True), holding(NOW + 2 * HOUR_MS)

    def seen(by_ms: int) -> Action:
        clock = Clock(NOW + by_ms, jump_ms=NOW, jumped_by_ms=-2 * HOUR_MS)
        return deciding(rollout, moved, clock=clock).action

    assert seen(HOUR_MS - 1) is Action.WAIT
    assert seen(HOUR_MS) is Action.NOTIFY
    clock = Clock(NOW, jump_ms=NOW, jumped_by_ms=-2 * HOUR_MS)
    assert next_change_ms(observe(rollout, moved, clock=clock)) == NOW + HOUR_MS


@pytest.mark.parametrize("by_ms", [-1, 0])
def test_a_ramp_is_rolled_back_if_either_clock_says_that_the_time_to_confirm_is_over(by_ms: int):
    rollout = at(500, confirm_deadline_ms=NOW + HOUR_MS)
    assert next_change_ms(observe(rollout, Progress(Driver.PERSON), confirm_by_ms=NOW + 1)) == NOW + 1

    decision = deciding(rollout, Progress(Driver.PERSON), confirm_by_ms=NOW + by_ms)

    assert (decision.action, decision.cause) == (Action.ROLLBACK, Cause.CONFIRM)
    assert deciding(rollout, Progress(Driver.PERSON), confirm_by_ms=NOW + 1).action is Action.WAIT


APPROVED = replace(PLAN, steps=(replace(STEPS[0], approval=True), replace(STEPS[1], approval=True)), auto_finalize=True)


def after_resume(rollout: Rollout, decision: Decision) -> Rollout:
    """Returns the rollout after automation has paused it and a person has resumed it."""
    paused = after(rollout, commands.Decide(decision.progress, decision.command))
    return after(paused, commands.Resume())


def test_a_step_asks_for_approval_once_its_hold_and_its_jobs_are_over():
    rollout, progress = at(500, APPROVED), holding(NOW - 10 * MINUTE_MS)
    assert deciding(rollout, holding(NOW - MINUTE_MS), enough(500)).action is Action.WAIT
    assert deciding(rollout, progress).action is Action.WAIT

    decision = deciding(rollout, progress, enough(500))

    assert (decision.action, decision.command) == (Action.PAUSE, commands.Pause(Cause.APPROVAL))
    assert decision.reason.startswith("B waits for approval at 5 %, as the plan says. It held for 10 min.")
    again = deciding(replace(rollout, paused=True), decision.progress, enough(500))
    assert again.action is Action.WAIT


def test_resume_approves_the_step_without_another_hold_and_the_next_step_asks_again():
    rollout = replace(at(500, APPROVED), progress=holding(NOW - 10 * MINUTE_MS))
    resumed = after_resume(rollout, decide(observe(rollout, rollout.progress, enough(500))))
    assert (resumed.paused, resumed.pause, resumed.trial) == (False, None, rollout.trial)

    step = deciding(resumed, resumed.progress, enough(500))

    assert (step.action, step.command) == (Action.STEP, commands.Ramp(2500, "B"))
    at_next = replace(at(2500, APPROVED), progress=replace(step.progress, hold_since_ms=NOW - HOUR_MS))
    asked = deciding(at_next, at_next.progress, enough(2500))
    assert asked.cause is Cause.APPROVAL
    ended = after_resume(at_next, asked)
    assert deciding(ended, ended.progress, enough(2500)).action is Action.FINALIZE


def test_a_ramp_or_a_new_trial_needs_its_own_approval_and_a_hold_that_begins_again_does_not():
    """A Ramp or a new trial must be approved on its own; a hold that begins again needs no second approval."""
    approved = holding(NOW - HOUR_MS).approved(NOW)
    assert approved.hold_restarted(NOW).is_approved
    assert not approved.taken_over(NOW, is_new_trial=False).is_approved
    assert not approved.paused(Cause.RELATIVE_GUARD).given_back(NOW).is_approved
    assert not approved.stepped(NOW).is_approved


def test_guards_continue_while_a_step_waits_for_approval():
    rollout = replace(at(1000, APPROVED), progress=holding(NOW - HOUR_MS).asked(), paused=True)

    unconfirmed = replace(rollout, confirm_deadline_ms=NOW)
    for decision in (deciding(rollout, rollout.progress, BAD), deciding(unconfirmed, rollout.progress)):
        assert (decision.command, decision.progress.paused_by) == (commands.Rollback("B"), None)
    pausing = replace(
        rollout, policy=replace(rollout.policy, automation=replace(APPROVED, on_regression=OnRegression.PAUSE))
    )
    decision = deciding(pausing, pausing.progress, BAD)
    assert decision.command == commands.Pause(Cause.RELATIVE_GUARD)
    resumed = after_resume(replace(pausing, pause=Pause("rampd", "", NOW, Cause.APPROVAL)), decision)
    assert (resumed.trial, resumed.progress.is_approved) == (2, False)


def test_a_rollout_that_waits_for_approval_is_not_stuck():
    automation = replace(APPROVED, stuck_after_ms=HOUR_MS)
    progress = holding(NOW - 10 * HOUR_MS).asked()
    waiting = at(500, automation, paused=True, pause=Pause("rampd", "", NOW, Cause.APPROVAL))

    assert deciding(waiting, progress, enough(500)).action is Action.WAIT
    assert next_change_ms(observe(waiting, holding().asked(), enough(500), now_ms=NOW + 11 * MINUTE_MS)) is None
    resumed = after(replace(waiting, progress=progress), commands.Resume())
    assert resumed.progress.moved_ms == NOW


def test_a_decision_depends_on_the_tag_of_next_and_not_only_on_its_number():
    """Given two histories that gave one number to different tags, expect that a decision about one is void for the other."""
    rollout = at(1000)
    assert rollout.next is not None
    of_another = {**rollout.releases, rollout.next: replace(rollout.releases[rollout.next], tag="another")}
    for command in (commands.Rollback(), commands.Ramp(2000)):
        assert ground_of(rollout, command) == ground_of(at(1000), command)
        assert ground_of(rollout, command) != ground_of(replace(rollout, releases=of_another), command)


def test_outcomes_that_wait_change_the_decision_when_they_begin_to_count_and_not_every_moment():
    waiting = replace(NOTHING, matures_ms=NOW + MINUTE_MS)
    paused = at(500, paused=True)

    assert next_change_ms(observe(paused, Progress(Driver.PERSON))) is None
    assert next_change_ms(observe(paused, Progress(Driver.PERSON), waiting)) == NOW + MINUTE_MS
    soon = replace(NOTHING, matures_ms=NOW + 1)
    assert next_change_ms(observe(paused, Progress(Driver.PERSON), soon)) == NOW + 5_000
