"""What a verb hands back, and the refusals that several verbs share."""

from dataclasses import dataclass

from rampd_server.domain.errors import Reason, RefusedError
from rampd_server.domain.model import Disposition, Release, Rollout
from rampd_server.domain.moves import Context, freezes
from rampd_server.domain.progress import Cause
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


def what_frees(rollout: Rollout) -> str:
    """What to do about a rollout that is HELD."""
    tag = rollout.next_release.tag if rollout.next_release else ""
    again = f"Unquarantine {tag} and Ramp try it again" if tag in rollout.quarantine else "Ramp tries it again"
    return f"{again}, Abandon drops it."


def what_resumes(rollout: Rollout) -> str:
    """Who or what paused a rollout that is paused, why, and what to do about it."""
    pause = rollout.pause
    if rollout.pause_cause is Cause.APPROVAL:
        return f"{ended(one_line(pause.note)) if pause else 'The step waits for approval.'} Resume passes it."
    if pause is None:
        return "Paused. Resume goes on."
    return f"Paused by {pause.actor}{f': {ended(one_line(pause.note))}' if pause.note else '.'} Resume goes on."


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


def refuse_quarantined(rollout: Rollout, tag: str, instead: str) -> None:
    mark = rollout.quarantine.get(tag)
    if mark is not None:
        raise RefusedError(
            Reason.TAG_QUARANTINED,
            f"{tag} is quarantined by {mark.actor}{f' ({one_line(mark.note)})' if mark.note else ''}. {instead}",
            tag=tag,
        )
