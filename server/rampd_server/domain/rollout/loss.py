"""What happens to a component after the store lost writes of it, by a failover to a replica that was behind or by an older
copy.

Lost writes stay lost: the store is the truth. But a revision or release number that somebody has seen is not used
again. A release that was taken away from jobs is not given to them again until a person says so.
"""

from collections.abc import Sequence
from dataclasses import replace

from rampd_server.domain.rollout import commands, model, moves, reverting
from rampd_server.domain.rollout.model import FULL, Absent, Assignment, LostRevisions, Means, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.wording import percent


def after_loss(
    stored: Rollout | Absent, known: Rollout | Absent, lost: LostRevisions, context: Context, *, protects: bool
) -> Rollout | Absent:
    """Returns the sealed component after a server that knew `known` found `stored` in the store.

    Returns `stored` itself if another server that knew at least as much was first. With `protects`, jobs get no release
    that `known` had taken away.
    """
    revision = max(stored.revision, known.revision) + 1
    last_number = max(stored.last_number, known.last_number)
    if isinstance(stored, Absent):
        if stored.revision > known.revision:
            return stored
        quarantine = {**known.quarantine, **stored.quarantine} if protects else stored.quarantine
        return replace(stored, revision=revision, last_number=last_number, quarantine=quarantine)
    if stored.has_lost(known.revision):
        return stored
    after = replace(stored, lost=_bounded((*stored.lost, lost)), last_number=last_number)
    if protects:
        after = _protected(after, known, context)
    return moves.seal(replace(stored, revision=revision - 1), after, context)


def _bounded(lost: tuple[LostRevisions, ...]) -> tuple[LostRevisions, ...]:
    """Joins the two oldest ranges if there are too many. Revisions between them count as lost, too: a lost one that counted as known
    would be worse.
    """
    if len(lost) <= model.MAX_LOST:
        return lost
    oldest, second, *others = lost
    return (LostRevisions(oldest.first, second.last), *others)


def first_difference(known: Sequence[Assignment], stored: Sequence[Assignment], default: int) -> int:
    """Returns the first revision at which two timelines differ; `default` if they never differ."""
    common = set(known) & set(stored)
    start = max((timeline[0].revision for timeline in (known, stored) if timeline), default=0)
    differing = [each.revision for each in (*known, *stored) if each not in common and each.revision > start]
    return min(differing, default=default)


def _protected(rollout: Rollout, known: Rollout | Absent, context: Context) -> Rollout:
    for tag in known.quarantine.keys() - rollout.quarantine.keys():
        mark = known.quarantine[tag]
        rollout = moves.quarantine(rollout, tag, replace(context, actor=mark.actor, note=mark.note))
    if isinstance(known, Absent):
        following = rollout.next_release
        return moves.hold(rollout, f"{context.note}; before, {known.component} was deleted") if following else rollout
    if known.freeze and known.freeze.is_in_force(context.now_ms) and known.freeze.outlasts(rollout.freeze):
        rollout = replace(rollout, freeze=known.freeze)
    rollout = _reverted(rollout, known, context)
    following = rollout.next_release
    if following is None:
        return rollout
    before = _what_kept_away(known, following.tag, rollout.basis_points)
    if before:
        return moves.hold(rollout, f"{context.note}; before, {following.tag} was {before}")
    return _with_deadline(rollout, known, following.tag)


def _with_deadline(rollout: Rollout, known: Rollout, tag: str) -> Rollout:
    """Keeps the deadline of a Ramp that must be confirmed: without a Confirm, the release goes back to 0 percent."""
    deadline_ms = known.confirm_deadline_ms
    if not _is_next(known, tag) or deadline_ms is None or not rollout.basis_points:
        return rollout
    return replace(rollout, confirm_deadline_ms=min(deadline_ms, rollout.confirm_deadline_ms or deadline_ms))


def _what_kept_away(known: Rollout, tag: str, basis_points: int) -> str:
    """Says why jobs may not get a tag at this percentage without a person; empty if they may."""
    if known.next is not None and known.held_reason:
        return f"held: {known.held_reason}"
    if known.next is not None and known.paused:
        return f"paused at {percent(known.basis_points)}"
    exposure = _exposure(known, tag)
    if basis_points <= exposure:
        return ""
    return f"at {percent(exposure)}" if _is_next(known, tag) else "not rolled out any more"


def _reverted(rollout: Rollout, known: Rollout, context: Context) -> Rollout:
    """Reverts a current that had been taken away from everybody, if there is a release to go back to."""
    current, tag, arrival = rollout.current_release.tag, known.current_release.tag, known.arrival
    is_left = arrival is not None and arrival.means is Means.REVERT and current == arrival.from_tag
    if current == tag or not (is_left or current in known.quarantine):
        return rollout
    # Tags that the lost state had quarantined are marked by now, so they are not in this list.
    there = [release.tag for release in rollout.previous_releases]
    if not there:
        return rollout
    target = tag if tag in there else there[0]
    return reverting.revert(rollout, commands.Revert(target, quarantine=False), context).rollout


def _exposure(known: Rollout, tag: str) -> int:
    """Returns the share of units that got a tag, in basis points."""
    if known.current_release.tag == tag:
        return FULL
    return known.basis_points if _is_next(known, tag) else 0


def _is_next(known: Rollout, tag: str) -> bool:
    return known.next_release is not None and known.next_release.tag == tag
