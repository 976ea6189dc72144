"""The verbs that protect a rollout, freeze and quarantine, and the verb that sets its policy."""

from collections.abc import Sequence
from dataclasses import replace
from heapq import nsmallest

from rampd_server.domain import refusals
from rampd_server.domain.errors import InvalidRequestError
from rampd_server.domain.rollout import commands, model, moves
from rampd_server.domain.rollout.advice import everybody_gets, what_frees, what_starts, who_froze
from rampd_server.domain.rollout.automation_policy import Automation, violations
from rampd_server.domain.rollout.effect import Done
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context, freezes, settle, start_head
from rampd_server.domain.rollout.progress import Driver
from rampd_server.domain.rollout.reverting import what_goes_back
from rampd_server.domain.wording import counted, moment, percent

_NAMED = 10
"""How many components the sentence about a freeze of all names."""


def new_freeze(present: Freeze | None, expire_ms: int | None, context: Context) -> Freeze:
    """Returns the freeze that is asked for, or the present freeze if it is the same.

    Raises InvalidRequestError if `expire_ms` is in the past.
    """
    if expire_ms is not None and expire_ms <= context.now_ms:
        raise InvalidRequestError([("expire_time", "is not in the future: give a later time, or leave it out")])
    if present and present.is_in_force(context.now_ms) and present.expire_ms == expire_ms:
        return present
    return Freeze(context.actor, context.note, context.now_ms, expire_ms)


def until(freeze: Freeze | None) -> str:
    """Says until when a freeze lasts. Begins with a space; is empty if it has no end, or if there is none."""
    return f" until {moment(freeze.expire_ms)}" if freeze and freeze.expire_ms is not None else ""


def what_it_replaces(present: Freeze | None, context: Context) -> str:
    """Says which freeze a new one replaces. Begins with a space; is empty if none is in force."""
    if present is None or not present.is_in_force(context.now_ms):
        return ""
    lasted = until(present) or " without an end"
    return f" This replaces the freeze by {present.actor}{lasted}."


def rises(rollout: Rollout, context: Context) -> str:
    """Names a rollout and its next if it may rise now; empty if it may not."""
    following = rollout.next_release
    if not following or rollout.held_reason or rollout.paused or freezes(rollout, context):
        return ""
    return f"{rollout.component} ({following.tag} at {percent(rollout.basis_points)})"


def begins(rollout: Rollout, context: Context) -> str:
    """Names a component and the release that begins now, because nothing is frozen any more; empty if none does."""
    following = None if rollout.next else settle(rollout, context).next_release
    return f"{rollout.component} ({following.tag})" if following else ""


def what_it_stops(rising: Sequence[str]) -> str:
    """Says which rollouts a freeze of all stops, of those that rise before it. Begins with a space; is empty if it stops none."""
    return f" This stops {counted(len(rising), 'rollout')}: {_named(rising)}." if rising else ""


def what_its_end_starts(beginning: Sequence[str], rising: Sequence[str]) -> str:
    """Says what the end of a freeze of all starts: what begins and what rises after it. Begins with a space; is empty if it starts
    nothing.
    """
    first = f" This starts {counted(len(beginning), 'release')} at 0 %: {_named(beginning)}." if beginning else ""
    return first + (f" This lets {counted(len(rising), 'rollout')} go on: {_named(rising)}." if rising else "")


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(nsmallest(_NAMED, names)) + (f" and {more:,} more" if more > 0 else "")


def freeze(rollout: Rollout, command: commands.Freeze, context: Context) -> Done:
    made = new_freeze(rollout.freeze, command.expire_ms, context)
    frozen = replace(rollout, freeze=made)
    if frozen == rollout:
        return Done(frozen, f"{rollout.component} was frozen already{until(made)}.")
    return Done(
        frozen,
        f"{rollout.component} is frozen{until(made)}: releases wait, and no percent rises. Going back still works."
        f"{what_it_replaces(rollout.freeze, context)}",
    )


def unfreeze(rollout: Rollout, _command: commands.Unfreeze, context: Context) -> Done:
    if rollout.freeze is None:
        message = f"{rollout.component} had no freeze of its own."
    else:
        message = f"{rollout.component} is not frozen any more."
    thawed = start_head(replace(rollout, freeze=None), context)
    for freeze_all in freezes(thawed, context):
        message += f" All components are still frozen by {who_froze(freeze_all)}{until(freeze_all)}."
    return Done(thawed, message)


def quarantine(rollout: Rollout, command: commands.Quarantine, context: Context) -> Done:
    _refuse_too_many(rollout, command.tag)
    marked = moves.quarantine(rollout, command.tag, context)
    if marked == rollout:
        return Done(marked, f"{command.tag} was quarantined already.")
    message = f"{command.tag} is quarantined."
    if rollout.current_release.tag == command.tag:
        message += f" It stays current. {what_goes_back(marked, context)}"
    elif marked.held_reason and not rollout.held_reason:
        message += f" It was next. {everybody_gets(marked, command.tag)}"
    return Done(marked, message)


def _refuse_too_many(rollout: Rollout, tag: str) -> None:
    """A tag of current, next or the queue is quarantined even if the list is full: it replaces the oldest."""
    live = (rollout.current_release, rollout.next_release, *rollout.queued_releases)
    if tag in rollout.quarantine or any(release and release.tag == tag for release in live):
        return
    if len(rollout.quarantine) >= model.MAX_QUARANTINE:
        raise refusals.too_large(
            f"{model.MAX_QUARANTINE:,} tags of {rollout.component} are quarantined already. ListQuarantine shows them: "
            "Unquarantine those that nobody will hand in again.",
            limit=model.MAX_QUARANTINE,
        )


def unquarantine(rollout: Rollout, command: commands.Unquarantine, _context: Context) -> Done:
    lifted = moves.lift_quarantine(rollout, command.tag)
    if lifted is rollout:
        return Done(rollout, f"{command.tag} was not quarantined.")
    return Done(lifted, f"{command.tag} may be released again.")


def set_policy(rollout: Rollout, command: commands.SetPolicy, context: Context) -> Done:
    policy = replace(rollout.policy, **command.changes)  # type: ignore[arg-type]  # checked where the request is read
    policy = replace(policy, automation=replace(policy.automation, **command.automation))  # type: ignore[arg-type]
    wrong = violations(policy.automation)
    if wrong:
        raise InvalidRequestError(wrong)
    unit = policy.unit if rollout.next is None else rollout.unit
    changed = replace(rollout, policy=policy, unit=unit)
    if changed == rollout:
        return Done(rollout, "The policy already has these values. Nothing changed.")
    later = (
        f" From the next release on, each {policy.unit.lower()} has a bucket of its own." if unit != policy.unit else ""
    )
    if policy.automation.steps and rollout.held_reason and rollout.next_release:
        later += f" {rollout.next_release.tag} is held, and the plan does not move it. {what_frees(rollout, context)}"
    if (
        policy.automation.starts_by_itself
        and not rollout.policy.automation.starts_by_itself
        and _waits_at_0(changed, context)
    ):
        later += what_starts(changed)
    return Done(changed, f"The policy is stored.{later}{_what_waits_for_nothing(policy.automation)}")


def _waits_at_0(rollout: Rollout, context: Context) -> bool:
    """Whether next waits for its first step, and nothing but the policy could keep it from that."""
    is_new = rollout.progress.driver is Driver.NOBODY and not rollout.basis_points
    is_stopped = rollout.held_reason or rollout.paused or freezes(rollout, context)
    return rollout.next is not None and is_new and not is_stopped


def _what_waits_for_nothing(automation: Automation) -> str:
    """Warns about steps that end as soon as they begin. Begins with a space; is empty if there are no such steps."""
    if automation.checks:
        return ""
    hasty = [step for step in automation.steps if not (step.hold_ms or step.min_jobs or step.approval)]
    if not hasty:
        return ""
    shares = ", ".join(percent(step.basis_points) for step in hasty)
    return f" The plan waits for nothing at {shares}: give a step `hold`, `min_jobs` or `approval`."
