"""What automation does next with a rollout. Pure: the same rollout, counters and time give every server the same decision.
Compare-and-set lets one of the servers commit it, as `rampd`.

Decisions that lower exposure come first, and go on during Pause and Freeze. HELD switches all automation off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rampd._evidence.counters import TrialCounters
from rampd_server.domain import wording
from rampd_server.domain.automation import clock as clocks
from rampd_server.domain.automation.clock import Clock
from rampd_server.domain.automation.guards import (
    CheckReading,
    Finding,
    failed_jobs,
    findings,
    readings_sentence,
    relative_evidence,
)
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.advice import what_frees
from rampd_server.domain.rollout.automation_policy import AfterRollback, Automation, OnRegression, Step
from rampd_server.domain.rollout.model import Freeze, Release, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.progress import Cause, Driver, Progress


class Action(StrEnum):
    """What automation does. All actions but WAIT are committed, and are in the history with their reason."""

    WAIT = "WAIT"
    HOLD = "HOLD"
    """The hold of a step begins, or begins again."""
    STEP = "STEP"
    FINALIZE = "FINALIZE"
    ROLLBACK = "ROLLBACK"
    PAUSE = "PAUSE"
    NOTIFY = "NOTIFY"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. `command`, if there is one, runs in the same write that stores `progress` (see `commands.Decide`).
    `reason` is its note.
    """

    action: Action
    reason: str
    progress: Progress
    command: commands.Ramp | commands.Rollback | commands.Finalize | commands.Abandon | commands.Pause | None = None
    cause: Cause | None = None
    would: Action | None = None
    """What NOTIFY says and does not do."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a decision depends on."""

    rollout: Rollout
    counters: TrialCounters
    clock: Clock
    checks: Sequence[CheckReading] = ()
    freeze_all: Freeze | None = None
    counters_problem: str = ""
    """Why the counters can't be read now, as sentences; empty if they are of this moment."""
    confirm_by_ms: int | None = None
    """When the time to confirm is over by this server's own clock, as a time of the store's clock; None if not known."""
    moved_seen_ms: int | None = None
    """When this server first saw the last progress, by its own clock, as a time of the store's clock; None if not known."""

    @property
    def confirm_due_ms(self) -> int | None:
        """When the dead-man switch goes off, by the store's clock: the earlier of two times, so that a clock that is set
        back does not delay it. None if no Ramp waits to be confirmed.
        """
        deadline_ms = self.rollout.confirm_deadline_ms
        if deadline_ms is None or self.confirm_by_ms is None:
            return deadline_ms
        return min(deadline_ms, self.confirm_by_ms)

    @property
    def stuck_since_ms(self) -> int:
        """When the rollout last made progress, by a clock that has not jumped since. With doubt about that time, it is when
        this server first saw the progress.
        """
        clock, moved_ms, seen_ms = self.clock, self.progress.moved_ms, self.moved_seen_ms
        if moved_ms <= clock.now_ms:
            since_ms = max(moved_ms, clock.jump_ms or 0)
            return since_ms if seen_ms is None else min(since_ms, seen_ms)
        if seen_ms is not None:
            return seen_ms
        return clock.now_ms if clock.jump_ms is None else clock.jump_ms

    @property
    def automation(self) -> Automation:
        return self.rollout.policy.automation

    @property
    def progress(self) -> Progress:
        return self.rollout.progress


def decide(observed: Observed) -> Decision:
    """Returns what to do now. Total: every rollout gets a decision, and the reason of WAIT says what it waits for."""
    rollout = observed.rollout
    release = rollout.next_release
    if release is None:
        return _wait(observed, "Nothing is being rolled out.")
    if rollout.held_reason:
        context = Context(observed.clock.now_ms, freeze_all=observed.freeze_all)
        return _wait(
            observed, f"{release.tag} is held ({wording.inside(rollout.held_reason)}). {what_frees(rollout, context)}"
        )
    return _lower(observed, release) or _raise(observed, release)


def _lower(observed: Observed, release: Release) -> Decision | None:
    rollout, due_ms = observed.rollout, observed.confirm_due_ms
    if due_ms is not None and observed.clock.now_ms >= due_ms:
        return Decision(
            Action.ROLLBACK,
            f"Nobody confirmed the Ramp of {release.tag} to {wording.percent(rollout.basis_points)} in time. "
            f"{_instead(rollout, release)}",
            observed.progress.unasked(),
            commands.Rollback(release.tag),
            Cause.CONFIRM,
        )
    for finding in findings(rollout, observed.counters, observed.checks):
        decision = _respond(observed, release, finding)
        if decision:
            return decision
    return _stuck(observed, release)


def _respond(observed: Observed, release: Release, finding: Finding) -> Decision | None:
    """Returns None if the finding was reported already, or the rollout is paused because of it."""
    progress, cause = observed.progress, finding.cause
    if finding.response is OnRegression.ROLLBACK:
        if observed.automation.after_rollback is AfterRollback.CONTINUE:
            command: commands.Abandon | commands.Rollback = commands.Abandon(release.tag, quarantine=True)
        else:
            command = commands.Rollback(release.tag)
        # The sentences of guards name both tags. The sentence of a check names no tag.
        says = f" {_instead(observed.rollout, release)}" if cause is Cause.CHECK_FAILED else ""
        return Decision(Action.ROLLBACK, f"{finding.sentence}{says}", progress.unasked(), command, cause)
    if finding.response is OnRegression.PAUSE:
        if observed.rollout.paused and progress.paused_by and cause in progress.said:
            return None
        return Decision(Action.PAUSE, finding.sentence, progress.paused(cause), commands.Pause(cause), cause)
    if cause in progress.said:
        return None
    would = "have dropped" if observed.automation.after_rollback is AfterRollback.CONTINUE else "have rolled back"
    sentence = f"Dry run: rampd would {would} {release.tag}. {finding.sentence}"
    return Decision(Action.NOTIFY, sentence, progress.spoke(cause), cause=cause, would=Action.ROLLBACK)


def _instead(rollout: Rollout, release: Release) -> str:
    return f"Everybody gets {rollout.current_release.tag} instead of {release.tag}."


def _stuck(observed: Observed, release: Release) -> Decision | None:
    progress, clock = observed.progress, observed.clock
    stuck_after_ms = observed.automation.stuck_after_ms
    if observed.rollout.pause_cause is Cause.APPROVAL:
        return None  # the plan says that the rollout waits for approval
    since_ms = observed.stuck_since_ms
    if stuck_after_ms is None or Cause.STUCK in progress.said or clock.now_ms - since_ms < stuck_after_ms:
        return None
    share, waits_for = wording.percent(observed.rollout.basis_points), _raise(observed, release).reason
    sentence = f"{release.tag} has made no progress at {share} for {wording.span(clock.now_ms - since_ms)}. {waits_for}"
    if observed.rollout.paused:
        spoken = progress.spoke(Cause.STUCK)
        return Decision(Action.NOTIFY, sentence, spoken, cause=Cause.STUCK, would=Action.PAUSE)
    return Decision(Action.PAUSE, sentence, progress.paused(Cause.STUCK), commands.Pause(Cause.STUCK), Cause.STUCK)


def _raise(observed: Observed, release: Release) -> Decision:
    blocked = _blocked(observed, release)
    if blocked:
        return _wait(observed, blocked)
    progress, clock = observed.progress, observed.clock
    if progress.hold_since_ms is None:
        return _begin(observed, release)
    if _is_in_doubt(progress.hold_since_ms, clock):
        by = f" by {wording.span(abs(clock.jumped_by_ms))}" if clock.jumped_by_ms else ""
        share = wording.percent(observed.rollout.basis_points)
        sentence = f"The store's clock was set{by}, so the hold of {release.tag} at {share} begins again."
        return Decision(Action.HOLD, sentence, progress.hold_restarted(clock.now_ms))
    return _go_on(observed, release, clock.now_ms - progress.hold_since_ms)


def _blocked(observed: Observed, release: Release) -> str:
    """Says why the percent may not rise by itself; empty if it may."""
    rollout, automation, driver = observed.rollout, observed.automation, observed.progress.driver
    in_force = freezes(rollout, Context(observed.clock.now_ms, freeze_all=observed.freeze_all))
    if rollout.paused and not in_force:
        return f"{release.tag} is paused. Resume goes on."
    if in_force:
        return f"Frozen by {' and '.join(freeze.actor for freeze in in_force)}."
    if not automation.steps:
        return "The policy has no steps: Ramp and Finalize move it."
    if rollout.confirm_deadline_ms is not None:
        return f"The Ramp of {release.tag} waits for Confirm."
    if driver is Driver.PERSON or (driver is Driver.NOBODY and rollout.basis_points):
        return f"{release.tag} was ramped by hand. Resume gives it back to the plan."
    if driver is Driver.NOBODY and not automation.auto_start:
        return f"{release.tag} waits at 0 %. Resume starts the plan. Ramp raises it by hand."
    if observed.counters_problem:
        return f"The outcomes of {release.tag} can't be read now, so the plan waits. {observed.counters_problem}"
    return ""


def _begin(observed: Observed, release: Release) -> Decision:
    """Starts the plan, or lets it take over a rollout again, from the step at or above the present percent."""
    at = observed.rollout.basis_points
    target = next((step for step in observed.automation.steps if step.basis_points >= at), None)
    if target is not None and target.basis_points > at:
        return _step(observed, release, target, "The plan begins." if not at else "The plan goes on.")
    held = step_at(observed.automation, at)
    sentence = f"The plan goes on with {release.tag} at {wording.percent(at)}. {_what_it_needs(held)}"
    return Decision(Action.HOLD, sentence, observed.progress.stepped(observed.clock.now_ms))


def _go_on(observed: Observed, release: Release, held_ms: int) -> Decision:
    """If the present step has what it needs, goes to the next step or to the end of the plan."""
    automation, at = observed.automation, observed.rollout.basis_points
    step = step_at(automation, at)
    missing = _missing(observed, step, held_ms)
    if missing:
        return _wait(observed, f"{release.tag} holds at {wording.percent(at)}: {' and '.join(missing)}.")
    so_far = _so_far(observed, held_ms)
    if step.approval and not observed.progress.is_approved:
        sentence = f"{release.tag} waits for approval at {wording.percent(at)}, as the plan says. {so_far}"
        return Decision(
            Action.PAUSE, sentence, observed.progress.asked(), commands.Pause(Cause.APPROVAL), Cause.APPROVAL
        )
    target = next((step for step in automation.steps if step.basis_points > at), None)
    if target is not None:
        return _step(observed, release, target, so_far)
    if not automation.auto_finalize:
        return _wait(observed, f"{release.tag} has come to the end of the plan. Finalize makes it current.")
    sentence = f"{release.tag} has come to the end of the plan and becomes current. {so_far}"
    return Decision(Action.FINALIZE, sentence, observed.progress, commands.Finalize(release.tag))


def _missing(observed: Observed, step: Step, held_ms: int) -> list[str]:
    """Says what the present step still waits for."""
    missing = []
    if held_ms < step.hold_ms:
        # A hold may have begun a moment ahead of this server's clock. That does not make the hold longer.
        left_ms = min(step.hold_ms - held_ms, step.hold_ms)
        missing.append(f"{wording.span(left_ms + 999)} to go")
    jobs = observed.counters.next_jobs_at(observed.rollout.basis_points)
    if jobs < step.min_jobs:
        missing.append(f"{jobs:,} of {step.min_jobs:,} jobs reported")
    passed = {reading.name for reading in observed.checks if reading.has_passed}
    missing += [f"{check.name} has not passed" for check in observed.automation.checks if check.name not in passed]
    return missing


def _step(observed: Observed, release: Release, target: Step, why: str) -> Decision:
    return Decision(
        Action.STEP,
        f"{release.tag} goes from {wording.percent(observed.rollout.basis_points)} to "
        f"{wording.percent(target.basis_points)}. {why}",
        observed.progress.stepped(observed.clock.now_ms),
        commands.Ramp(target.basis_points, release.tag),
    )


def _so_far(observed: Observed, held_ms: int) -> str:
    of_next, of_current = failed_jobs(observed.counters)
    return (
        f"It held for {wording.span(held_ms)}. Jobs that failed: {of_next}, against {of_current} of "
        f"{observed.rollout.current_release.tag}. {relative_evidence(observed.automation, observed.counters)}"
        f"{readings_sentence(observed.automation, observed.checks)}"
    )


def step_at(automation: Automation, basis_points: int) -> Step:
    """The step whose hold counts at `basis_points`: the last one at or under it. Below the first step, no hold is needed."""
    return next((step for step in reversed(automation.steps) if step.basis_points <= basis_points), Step(basis_points))


def _what_it_needs(step: Step) -> str:
    jobs = f" and {wording.counted(step.min_jobs, 'job')}" if step.min_jobs else ""
    approval = ", then waits for approval" if step.approval else ""
    return f"It holds for {wording.whole_span(step.hold_ms)}{jobs}{approval}."


def _is_in_doubt(hold_since_ms: int, clock: Clock) -> bool:
    """Whether the hold began before the clock jumped, or lies in the future by more than clocks of servers may differ."""
    return (clock.jump_ms is not None and hold_since_ms < clock.jump_ms) or (
        hold_since_ms > clock.now_ms + clocks.JUMP_MS
    )


def _wait(observed: Observed, reason: str) -> Decision:
    return Decision(Action.WAIT, reason, observed.progress)
