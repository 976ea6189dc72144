"""Where a release stands, in a sentence for whoever waits for it."""

from rampd_server.domain.lifecycle import what_blocks
from rampd_server.domain.model import Release, ReleaseState, Rollout
from rampd_server.domain.moves import Context
from rampd_server.domain.outcome import what_frees
from rampd_server.domain.wording import ended, percent


def standing(rollout: Rollout, release: Release, context: Context) -> str:
    """What happened to a release last, or what blocks it."""
    match release.state:
        case ReleaseState.QUEUED:
            place = rollout.queue.index(release.number) + 1
            return f"{release.tag} waits at position {place}: {what_blocks(rollout, context)}"
        case ReleaseState.NEXT if rollout.held_reason:
            reason = ended(rollout.held_reason)
            current = rollout.current_release.tag
            return f"{release.tag} is held, and everybody gets {current}: {reason} {what_frees(rollout, context)}"
        case ReleaseState.NEXT:
            paused = " and paused" if rollout.paused else ""
            return f"{release.tag} is at {percent(rollout.basis_points)}{paused}."
        case ReleaseState.CURRENT:
            return f"Everybody gets {release.tag}."
        case _:
            return f"{release.tag} is {release.state}: {ended(release.end_reason)}"


def is_under_way(rollout: Rollout, release: Release) -> bool:
    """Whether it is what is being rolled out, and not held."""
    return release.state is ReleaseState.NEXT and not rollout.held_reason


def has_ended(rollout: Rollout, release: Release, *, until_held: bool) -> bool:
    """Whether there is nothing more to wait for: it is what everybody gets, or was, or never will be; with `until_held`,
    also where its rollout is HELD.
    """
    is_held = release.number == rollout.next and bool(rollout.held_reason)
    return release.state.is_ended or release.state is ReleaseState.CURRENT or (until_held and is_held)
