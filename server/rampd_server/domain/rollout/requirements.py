"""Checks that several verbs share. Each check refuses the command if a requirement is not met."""

from rampd_server.domain import refusals
from rampd_server.domain.rollout.advice import who_froze
from rampd_server.domain.rollout.model import Absent, Release, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.wording import inside, one_line


def require_revision(before: Rollout | Absent, expected: int | None) -> None:
    """Raises REVISION_MISMATCH if a component is not at the revision that a caller expects (None: any revision)."""
    if expected is not None and expected != before.revision:
        is_lost = isinstance(before, Rollout) and before.has_lost(expected)
        why = "the store has lost that one" if is_lost else "somebody changed it"
        raise refusals.revision_mismatch(before.component, why, expected=expected, actual=before.revision)


def require_next(rollout: Rollout, guard: str = "", *, instead: str = "", unless_held: str = "") -> Release:
    """Returns next. There must be a next, and if a guard is given, next must have the guard's tag.

    `instead` says what to do if there is no next. With `unless_held`, next must not be held; `unless_held` says what to do
    if it is.
    """
    release = rollout.next_release
    if release is None:
        raise refusals.no_rollout(
            f"{rollout.component} is steady on {rollout.current_release.tag}: nothing is being rolled out."
            + (f" {instead}" if instead else "")
        )
    if unless_held and rollout.held_reason:
        raise refusals.held(
            f"{release.tag} is held ({inside(rollout.held_reason)}). {unless_held}", held_reason=rollout.held_reason
        )
    if guard and release.tag != guard:
        raise refusals.tag_mismatch(rollout.component, expected=guard, actual=release.tag)
    return release


def refuse_frozen(rollout: Rollout, context: Context) -> None:
    """Raises FROZEN if a freeze is in force."""
    for freeze in freezes(rollout, context):
        is_all = freeze is context.freeze_all
        scope = "Everything" if is_all else rollout.component
        argument = "all" if is_all else "component"
        raise refusals.frozen(
            f"{scope} is frozen by {who_froze(freeze)}. Unfreeze with `{argument}`, or wait until it ends.",
            scope=argument,
        )


def refuse_quarantined(rollout: Rollout | Absent, tag: str, instead: str) -> None:
    """Raises TAG_QUARANTINED if a tag is quarantined. `instead` says what to do then."""
    mark = rollout.quarantine.get(tag)
    if mark is not None:
        raise refusals.tag_quarantined(
            f"{tag} is quarantined by {mark.actor}{f' ({inside(one_line(mark.note))})' if mark.note else ''}. {instead}",
            tag=tag,
        )
