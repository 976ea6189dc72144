"""What a verb hands back, and the refusals that several verbs share."""

from dataclasses import dataclass

from rampd_server.domain.errors import Reason, RefusedError
from rampd_server.domain.rollout.model import Absent, Disposition, Release, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.progress import Cause
from rampd_server.domain.wording import ended, one_line


@dataclass(frozen=True, slots=True)
class Done:
    """A verb's rollout, not yet sealed, and what to tell a person. Equal to the one before: nothing changed."""

    rollout: Rollout
    message: str
    disposition: Disposition | None = None
    release: int = 0


def component_not_found(component: str) -> RefusedError:
    """The refusal for a component that is not there."""
    return RefusedError(
        Reason.COMPONENT_NOT_FOUND,
        f"There is no component {component}. A first Release makes it; ListRollouts shows what there is.",
        component=component,
    )


def require_next(rollout: Rollout, guard: str = "", *, instead: str = "", unless_held: str = "") -> Release:
    """Next, which must be there, and be the guard's tag where there is a guard.

    `instead` tells what to do where there is none; with `unless_held`, which tells what to do then, it must not be held.
    """
    release = rollout.next_release
    if release is None:
        raise RefusedError(
            Reason.NO_ROLLOUT,
            f"{rollout.component} is steady on {rollout.current_release.tag}: nothing is being rolled out."
            + (f" {instead}" if instead else ""),
        )
    if unless_held and rollout.held_reason:
        raise RefusedError(
            Reason.HELD,
            f"{release.tag} is held ({rollout.held_reason}). {unless_held}",
            held_reason=rollout.held_reason,
        )
    if guard and release.tag != guard:
        raise RefusedError(
            Reason.TAG_MISMATCH,
            f"Next of {rollout.component} is {release.tag}, not {guard}. Look at it with GetRollout.",
            expected=guard,
            actual=release.tag,
        )
    return release


def everybody_gets(rollout: Rollout, *left: str) -> str:
    """After a change that took the tags `left` away from those who had them."""
    nobody = " or ".join(dict.fromkeys(left))
    return f"Everybody gets {rollout.current_release.tag} and nobody gets {nobody} any more, overrides aside."


def what_thaws(rollout: Rollout, context: Context) -> list[str]:
    """What to type so that nothing is frozen any more, in order."""
    in_force = freezes(rollout, context)
    return ["Unfreeze with `all`" if freeze is context.freeze_all else "Unfreeze" for freeze in in_force]


def what_frees(rollout: Rollout, context: Context) -> str:
    """What to do about a rollout that is HELD."""
    tag = rollout.next_release.tag if rollout.next_release else ""
    first = what_thaws(rollout, context) + ([f"Unquarantine {tag}"] if tag in rollout.quarantine else [])
    if not first:
        return "Ramp tries it again, Abandon drops it."
    return f"To try it again: {', then '.join([*first, 'Ramp'])}. Abandon drops it."


def what_starts(rollout: Rollout) -> str:
    """What became next by a change; begins with a space, and is empty where nothing did."""
    if rollout.next_release is None:
        return ""
    plan = f" {what_raises(rollout)}" if rollout.policy.automation.starts_by_itself else ""
    return f" {rollout.next_release.tag} is next, at 0 %.{plan}"


def what_raises(rollout: Rollout) -> str:
    """Who moves a new next from 0 %."""
    return f"{'The plan' if rollout.policy.automation.starts_by_itself else 'Ramp'} raises it."


def what_resumes(rollout: Rollout, context: Context) -> str:
    """Who or what paused a rollout that is paused, why, and what to do about it."""
    pause, thaw = rollout.pause, what_thaws(rollout, context)
    ways = f" To go on: {', then '.join([*thaw, 'Resume'])}." if thaw else ""
    if rollout.pause_cause is Cause.APPROVAL:
        asked = ended(one_line(pause.note)) if pause else "The step waits for approval."
        return f"{asked}{ways or ' Resume passes it.'}"
    by = f" by {pause.actor}" if pause else ""
    why = f": {ended(one_line(pause.note))}" if pause and pause.note else "."
    return f"Paused{by}{why}{ways or ' Resume goes on.'}"


def refuse_frozen(rollout: Rollout, context: Context) -> None:
    for freeze in freezes(rollout, context):
        is_all = freeze is context.freeze_all
        scope = "The whole namespace" if is_all else rollout.component
        argument = "all" if is_all else "component"
        raise RefusedError(
            Reason.FROZEN,
            f"{scope} is frozen by {freeze.actor}{f' ({one_line(freeze.note)})' if freeze.note else ''}. "
            f"Unfreeze with `{argument}`, or wait until it ends.",
            scope=argument,
        )


def refuse_quarantined(rollout: Rollout | Absent, tag: str, instead: str) -> None:
    mark = rollout.quarantine.get(tag)
    if mark is not None:
        raise RefusedError(
            Reason.TAG_QUARANTINED,
            f"{tag} is quarantined by {mark.actor}{f' ({one_line(mark.note)})' if mark.note else ''}. {instead}",
            tag=tag,
        )
