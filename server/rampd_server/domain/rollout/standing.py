"""The state of a release, in a sentence for a person who waits for it."""

from rampd_server.domain.rollout.advice import what_frees, what_resumes
from rampd_server.domain.rollout.model import Release, ReleaseState, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.progress import Cause
from rampd_server.domain.rollout.releasing import what_blocks
from rampd_server.domain.wording import ended, percent


def standing(rollout: Rollout, release: Release, context: Context) -> str:
    """Says what last happened to a release, or what blocks it."""
    match release.state:
        case ReleaseState.QUEUED:
            place = rollout.queue.index(release.number) + 1
            return f"{release.tag} waits at position {place}: {what_blocks(rollout, context)}"
        case ReleaseState.NEXT if rollout.held_reason:
            reason = ended(rollout.held_reason)
            current = rollout.current_release.tag
            return f"{release.tag} is held, and everybody gets {current}: {reason} {what_frees(rollout, context)}"
        case ReleaseState.NEXT:
            paused = f" {what_resumes(rollout, context)}" if rollout.paused else ""
            return f"{release.tag} is at {percent(rollout.basis_points)}.{paused}"
        case ReleaseState.CURRENT:
            return f"Everybody gets {release.tag}."
        case _:
            return f"{release.tag} is {release.state}: {ended(release.end_reason)}"


def is_under_way(rollout: Rollout, release: Release) -> bool:
    """Whether the release is being rolled out, and is neither held nor paused."""
    return release.state is ReleaseState.NEXT and not rollout.held_reason and not rollout.paused


def has_ended(rollout: Rollout, release: Release, *, until_held: bool, until_paused: bool | None) -> bool:
    """Whether there is nothing more to wait for: the release is current or has ended.

    With `until_held`, waiting also ends if the rollout is HELD. With `until_paused`, it also ends if the rollout is paused,
    by a person or by automation. With None for `until_paused`, it ends only if automation paused the rollout because
    something is wrong: not for a person's Pause, and not for a step's approval.
    """
    if release.state.is_ended or release.state is ReleaseState.CURRENT:
        return True
    if release.number != rollout.next:
        return False
    if rollout.held_reason:
        return until_held
    is_defect = rollout.pause_cause not in {None, Cause.APPROVAL}
    return rollout.paused and (is_defect if until_paused is None else until_paused)
