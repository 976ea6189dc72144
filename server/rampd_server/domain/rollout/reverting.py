"""Going back to a release before current: the verb, and the messages that explain how."""

from rampd._contract.release_end import REVERTED
from rampd_server.domain import refusals
from rampd_server.domain.rollout import commands, model, moves
from rampd_server.domain.rollout.advice import everybody_gets, what_frees, what_starts, what_thaws
from rampd_server.domain.rollout.effect import Done
from rampd_server.domain.rollout.model import Arrival, Means, Release, ReleaseState, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.requirements import refuse_quarantined
from rampd_server.domain.wording import ended, moment, one_line, percent, span


def revert(rollout: Rollout, command: commands.Revert, context: Context) -> Done:
    """Makes an earlier release current. Without a tag, only the first Revert goes back; a repeat changes nothing.

    A tag identifies a version; a release number does not.
    """
    left = rollout.current_release
    if not command.tag:
        _refuse_in_progress(rollout, context)
        arrival = _revert_before(rollout)
        if arrival:
            return Done(rollout, _reverted_already(rollout, arrival, context), release=left.number)
    if command.tag == left.tag:
        return Done(rollout, _is_current_already(rollout), release=left.number)
    target = _named_target(rollout, command.tag, context) if command.tag else _require_target(rollout, context)
    old_next = rollout.next_release
    reverted = moves.make_current(
        rollout, target.number, Means.REVERT, context, context.because(f"{REVERTED}{target.tag}")
    )
    if old_next and old_next.tag == target.tag:
        reverted = moves.mark(
            moves.drop_next(reverted), old_next.number, ReleaseState.SUPERSEDED, context, "its tag became current"
        )
    reverted = moves.hold(reverted, context.because(f"held when {left.tag} was reverted to {target.tag}"))
    if command.quarantine:
        reverted = moves.quarantine(reverted, left.tag, context)
    reverted = moves.start_head(reverted, context)
    return Done(reverted, _reverted(rollout, reverted, context), release=target.number)


def what_goes_back(rollout: Rollout, context: Context) -> str:
    """Says how to go back from current to an earlier version."""
    target = _default_target(rollout)
    if target is None:
        current = rollout.current_release.tag
        return f"There is no version before {current} to go back to that is not quarantined. {_what_else(rollout, context)}"
    if _revert_before(rollout) or rollout.basis_points:
        return f"To leave {rollout.current_release.tag}: Revert with `tag` {target.tag}."
    return f"To leave {rollout.current_release.tag} for {target.tag}: Revert."


def _revert_before(rollout: Rollout) -> Arrival | None:
    """Returns the Revert by which current became current; None if it was another verb."""
    arrival = rollout.arrival
    return arrival if arrival and arrival.means is Means.REVERT else None


def _refuse_in_progress(rollout: Rollout, context: Context) -> None:
    release = rollout.next_release
    if release and rollout.basis_points:
        current = rollout.current_release.tag
        raise refusals.rollout_in_progress(
            f"{release.tag} is at {percent(rollout.basis_points)}: it is the newest change, so look there first. Rollback takes it "
            f"away, and everybody gets {current}. {what_goes_back(rollout, context)}",
            tag=release.tag,
        )


def _default_target(rollout: Rollout) -> Release | None:
    """Returns the newest previous release with a tag that is not current's and not quarantined."""
    others = (release for release in rollout.previous_releases if release.tag != rollout.current_release.tag)
    return next(others, None)


def _require_target(rollout: Rollout, context: Context) -> Release:
    target = _default_target(rollout)
    if target is None:
        raise refusals.no_previous(
            f"{rollout.component} has no version before {rollout.current_release.tag} that is not quarantined. "
            f"{_what_else(rollout, context)}"
        )
    return target


def _named_target(rollout: Rollout, tag: str, context: Context) -> Release:
    for number in rollout.previous:
        if rollout.releases[number].tag == tag:
            refuse_quarantined(rollout, tag, "If it is fine after all, Unquarantine it first.")
            return rollout.releases[number]
    known = ", ".join(dict.fromkeys(release.tag for release in rollout.previous_releases)) or "none"
    if all(release.tag != tag for release in rollout.releases.values()):
        # A tag that nobody has released is most likely a mistake, so no command that gives it to everybody is shown.
        instead = f"{rollout.component} keeps no release with this tag. Check the tag: ListReleases shows the releases."
    else:
        flags = "`expedite` and `force`" if tag in rollout.quarantine else "`expedite`"
        ways = [*what_thaws(rollout, context), f"Release it with {flags}"]
        instead = f"To make it current all the same: {', then '.join(ways)}."
    raise refusals.release_not_found(
        f"{tag} is not among what was current before in {rollout.component} (the last {model.MAX_PREVIOUS} count: {known}). "
        f"{instead}",
        component=rollout.component,
        tag=tag,
    )


def _what_else(rollout: Rollout, context: Context) -> str:
    """Says what to do if there is nothing to go back to."""
    current = rollout.current_release.tag
    release = ", then ".join([*what_thaws(rollout, context), "Release with `expedite`"])
    for number in rollout.previous:
        tag = rollout.releases[number].tag
        if tag != current:
            return f"To go back to {tag}: Unquarantine {tag}, then Revert with `tag` {tag}. To hand in another version: {release}."
    return f"To hand in another version: {release}."


def _reverted(before: Rollout, after: Rollout, context: Context) -> str:
    left, old_next = before.current_release.tag, before.next_release
    gone, became_of_next = [left], ""
    if old_next and before.basis_points and old_next.tag != after.current_release.tag:
        gone.append(old_next.tag)
    if after.held_reason and after.next_release:
        became_of_next = f" {after.next_release.tag} is held at 0 %. {what_frees(after, context)}"
    elif old_next:
        became_of_next = (
            f" Release {old_next.number} ends because its tag {old_next.tag} is current.{what_starts(after)}"
        )
    mark = "quarantined" if left in after.quarantine else "not quarantined"
    return f"{everybody_gets(after, *gone)} {left} is {mark}.{became_of_next}"


def _is_current_already(rollout: Rollout) -> str:
    current, release = rollout.current_release.tag, rollout.next_release
    if release and rollout.basis_points:
        return f"{current} is current already. {release.tag} is at {percent(rollout.basis_points)}: Rollback takes it away."
    return f"{current} is current already: everybody gets it."


def _reverted_already(rollout: Rollout, arrival: Arrival, context: Context) -> str:
    """Says who reverted what, when and why, and how to go further back."""
    current = rollout.current_release.tag
    target = _default_target(rollout)
    further = f"Revert with `tag` {target.tag} goes further back." if target else _what_else(rollout, context)
    ago = span(max(0, context.now_ms - arrival.time_ms))
    return (
        f"Nothing changed. {arrival.actor} reverted {rollout.component} from {arrival.from_tag} to {current} {ago} ago, at "
        f"{moment(arrival.time_ms)}{f': {ended(one_line(arrival.note))}' if arrival.note else '.'} Everybody gets {current}. {further}"
    )
