"""The sentences, shared by several verbs, that tell people what to do next."""

from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.progress import Cause
from rampd_server.domain.wording import ended, inside, one_line


def everybody_gets(rollout: Rollout, *left: str) -> str:
    """Says who gets what after a change that took the tags `left` away."""
    nobody = " or ".join(dict.fromkeys(left))
    return f"Everybody gets {rollout.current_release.tag} and nobody gets {nobody} any more, overrides aside."


def who_froze(freeze: Freeze) -> str:
    """Says who made a freeze, and why if the person has said it."""
    return f"{freeze.actor}{f' ({inside(one_line(freeze.note))})' if freeze.note else ''}"


def what_thaws(rollout: Rollout, context: Context) -> list[str]:
    """Returns what to type, in order, so that nothing is frozen any more."""
    in_force = freezes(rollout, context)
    return ["Unfreeze with `all`" if freeze is context.freeze_all else "Unfreeze" for freeze in in_force]


def what_frees(rollout: Rollout, context: Context) -> str:
    """Says what to do about a rollout that is HELD."""
    tag = rollout.next_release.tag if rollout.next_release else ""
    first = what_thaws(rollout, context) + ([f"Unquarantine {tag}"] if tag in rollout.quarantine else [])
    if not first:
        return "Ramp tries it again, Abandon drops it."
    return f"To try it again: {', then '.join([*first, 'Ramp'])}. Abandon drops it."


def what_starts(rollout: Rollout) -> str:
    """Says which release became next. Begins with a space; is empty if there is no next."""
    if rollout.next_release is None:
        return ""
    plan = f" {what_raises(rollout)}" if rollout.policy.automation.starts_by_itself else ""
    return f" {rollout.next_release.tag} is next, at 0 %.{plan}"


def what_raises(rollout: Rollout) -> str:
    """Says who moves a new next from 0 %."""
    return f"{'The plan' if rollout.policy.automation.starts_by_itself else 'Ramp'} raises it."


def what_resumes(rollout: Rollout, context: Context) -> str:
    """Says who paused a rollout, why, and what to do about it."""
    pause, cause, thaw = rollout.pause, rollout.pause_cause, what_thaws(rollout, context)
    ways = f" To go on: {', then '.join([*thaw, 'Resume'])}." if thaw else ""
    if cause is Cause.APPROVAL:
        asked = ended(one_line(pause.note)) if pause else "The step waits for approval."
        return f"{asked}{ways or ' Resume passes it.'}"
    by = f" by {pause.actor}" if pause else ""
    why = f": {ended(one_line(pause.note))}" if pause and pause.note else "."
    back = " Rollback takes it away." if cause is not None and cause.is_regression else ""
    new = f" as trial {rollout.trial + 1}: outcomes are counted from 0" if rollout.progress.resumes_as_new_trial else ""
    return f"Paused{by}{why}{back}{ways or f' Resume goes on{new}.'}"
