"""The verbs that change next's percent, or that stop and restart the plan."""

from dataclasses import replace

from rampd_server.domain import refusals
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.advice import everybody_gets, what_frees, what_resumes, what_thaws
from rampd_server.domain.rollout.effect import Done
from rampd_server.domain.rollout.model import Pause, Release, Rollout
from rampd_server.domain.rollout.moves import Context, drop_question, hold
from rampd_server.domain.rollout.moves import quarantine as quarantine_tag
from rampd_server.domain.rollout.progress import Cause, Driver
from rampd_server.domain.rollout.requirements import refuse_frozen, refuse_quarantined, require_next
from rampd_server.domain.rollout.reverting import what_goes_back
from rampd_server.domain.wording import ended, inside, percent, whole_span


def ramp(rollout: Rollout, command: commands.Ramp, context: Context) -> Done:
    """Carries out a person's Ramp: the person takes over from the plan."""
    if command.confirm_within_ms is None:
        command = replace(command, confirm_within_ms=_default_confirm_within_ms(rollout, command.basis_points))
    done = ramp_to(rollout, command, context)
    if done.rollout == rollout:
        return done
    progress = rollout.progress.taken_over(context.now_ms, is_new_trial=bool(rollout.held_reason))
    ramped = drop_question(done.rollout)
    return replace(done, rollout=replace(ramped, pause=_pause_after(rollout, ramped), progress=progress))


def _pause_after(before: Rollout, ramped: Rollout) -> Pause | None:
    """Returns the pause after a Ramp. In a new trial, what automation found says in which trial that was."""
    if ramped.pause is None or before.progress.paused_by is None or ramped.trial == before.trial:
        return ramped.pause
    return replace(ramped.pause, note=f"{ended(ramped.pause.note)} That was in trial {before.trial}.")


def _default_confirm_within_ms(rollout: Rollout, basis_points: int) -> int | None:
    """Returns the policy's value for a Ramp that raises exposure, or that replaces a Ramp not yet confirmed."""
    is_raised = basis_points > rollout.basis_points
    is_replaced = rollout.confirm_deadline_ms is not None and basis_points > 0
    return rollout.policy.automation.confirm_within_ms if is_raised or is_replaced else None


def ramp_to(rollout: Rollout, command: commands.Ramp, context: Context) -> Done:
    """Sets the percent. The same rules apply to a person and to the plan."""
    release = require_next(rollout, command.tag, instead=_what_begins(rollout, context))
    was_held = bool(rollout.held_reason)
    if was_held or command.basis_points > rollout.basis_points:
        refuse_frozen(rollout, context)
        refuse_quarantined(rollout, release.tag, "Unquarantine it first, or Abandon it.")
    confirm_deadline_ms = None
    if command.confirm_within_ms is not None:
        confirm_deadline_ms = context.now_ms + command.confirm_within_ms
    ramped = replace(
        rollout,
        basis_points=command.basis_points,
        held_reason="",
        trial=rollout.trial + was_held,
        confirm_deadline_ms=confirm_deadline_ms,
    )
    share = percent(command.basis_points)
    if ramped == rollout:
        return Done(ramped, f"{release.tag} was at {share} already.")
    resumed = f" The rollout goes on as trial {ramped.trial}: outcomes are counted from 0." if was_held else ""
    unless = ""
    if command.confirm_within_ms is not None:
        unless = f" Confirm it within {whole_span(command.confirm_within_ms)}, otherwise it goes back to 0 %."
    return Done(ramped, f"{release.tag} is at {share}.{unless}{resumed}")


def _what_begins(rollout: Rollout, context: Context) -> str:
    thaw = what_thaws(rollout, context)
    if rollout.queue:
        return f"{rollout.queued_releases[0].tag} waits, and {', then '.join(thaw)} starts it."
    return f"{', then '.join(thaw)}, then hand in a tag with Release." if thaw else "Hand in a tag with Release first."


def confirm(rollout: Rollout, command: commands.Confirm, context: Context) -> Done:
    frees = what_frees(rollout, context)
    release = require_next(rollout, command.tag, unless_held=f"It is too late to confirm. {frees}")
    if rollout.confirm_deadline_ms is None:
        raise refusals.nothing_to_confirm(rollout.component)
    if context.now_ms >= rollout.confirm_deadline_ms:
        raise refusals.held(
            f"It is too late to confirm: {release.tag} goes back to 0 %. {frees}",
            held_reason="not confirmed in time",
        )
    return Done(replace(rollout, confirm_deadline_ms=None), f"{release.tag} stays at {percent(rollout.basis_points)}.")


def rollback(rollout: Rollout, command: commands.Rollback, context: Context) -> Done:
    release = require_next(rollout, command.tag, instead=what_goes_back(rollout, context))
    held = hold(rollout, context.because("rolled back"))
    if command.quarantine:
        held = quarantine_tag(held, release.tag, context)
    if held == rollout:
        return Done(
            held,
            f"Nothing changed: {release.tag} was held already ({inside(rollout.held_reason)}), and everybody gets "
            f"{rollout.current_release.tag}. {what_frees(held, context)}",
        )
    is_held = f"was held already ({inside(rollout.held_reason)})" if rollout.held_reason else "is held at 0 %"
    quarantined = " and quarantined" if command.quarantine else ""
    return Done(
        held,
        f"{everybody_gets(held, release.tag)} {release.tag} {is_held}{quarantined}. {what_frees(held, context)}",
    )


def pause(rollout: Rollout, command: commands.Pause, context: Context) -> Done:
    """Pauses a rollout. A paused rollout stays paused, but a new finding of automation replaces the cause of the pause.
    The cause stays if it is a guard on the counters of this trial: a person must be able to read why Resume begins a new one.
    """
    require_next(rollout, unless_held="Automation is off meanwhile.")
    if rollout.paused and (command.cause is None or rollout.progress.resumes_as_new_trial):
        return Done(rollout, f"{rollout.component} was paused already. {what_resumes(rollout, context)}")
    return Done(
        replace(rollout, paused=True, pause=Pause(context.actor, context.note, context.now_ms, command.cause)),
        f"Nothing raises {rollout.component} by itself until Resume. Guards go on.",
    )


def _goes_on(rollout: Rollout, release: Release) -> str:
    """Says how the plan goes on. A rollout between two steps does not hold there: it goes to the upper one."""
    at = rollout.basis_points
    target = next((step.basis_points for step in rollout.policy.automation.steps if step.basis_points >= at), at)
    goes = "" if target == at else f", and goes to {percent(target)} next"
    return f"The plan goes on with {release.tag} from {percent(at)}{goes}."


def resume(rollout: Rollout, _command: commands.Resume, context: Context) -> Done:
    """Ends a pause, or approves a step that waits for approval. If the policy has a plan, the plan also takes over a rollout
    that was ramped by hand or that never began.
    """
    release = require_next(rollout, unless_held=what_frees(rollout, context))
    before, has_plan = rollout.progress, bool(rollout.policy.automation.steps)
    if not rollout.paused and (before.driver is Driver.PLAN or not has_plan):
        return Done(rollout, f"{rollout.component} was not paused.")
    refuse_frozen(rollout, context)
    if has_plan and rollout.pause_cause is Cause.APPROVAL:
        approved = before.approved(context.now_ms)
        return Done(
            replace(rollout, paused=False, pause=None, progress=approved),
            f"{release.tag} is approved at {percent(rollout.basis_points)}. The plan goes on.",
        )
    progress = before.given_back(context.now_ms)
    resumed = replace(
        rollout,
        paused=False,
        pause=None,
        trial=rollout.trial + before.resumes_as_new_trial,
        progress=progress if has_plan else replace(progress, driver=before.driver),
    )
    message = _goes_on(rollout, release) if has_plan else f"{release.tag} is not paused any more."
    if resumed.trial != rollout.trial:
        message += f" Trial {resumed.trial} begins: outcomes counted until now do not count any more."
    return Done(resumed, message)
