"""The moves that verbs consist of. Each move takes a rollout and returns the changed one. No move refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rampd_server.domain.rollout import model
from rampd_server.domain.rollout.model import (
    Arrival,
    Assignment,
    Freeze,
    Hold,
    Means,
    Quarantine,
    Release,
    ReleaseState,
    Rollout,
)
from rampd_server.domain.rollout.progress import Cause, Progress
from rampd_server.domain.wording import one_line

_QUARANTINED = "quarantined"
_LIFTED = "; the quarantine is lifted"


@dataclass(frozen=True, slots=True)
class Context:
    """What a transition may know besides the rollout: who asks and why, the store's time, the namespace's freeze."""

    now_ms: int
    actor: str = "anonymous"
    note: str = ""
    expected_revision: int | None = None
    freeze_all: Freeze | None = None

    def because(self, deed: str) -> str:
        """`rolled back by ada: error rate`: what was done, by whom, and the note if there is one, on one line."""
        return f"{deed} by {self.actor}" + (f": {one_line(self.note)}" if self.note else "")


def freezes(rollout: Rollout, context: Context) -> list[Freeze]:
    """The freezes in force, the namespace's first."""
    return [freeze for freeze in (context.freeze_all, rollout.freeze) if freeze and freeze.is_in_force(context.now_ms)]


def mark(rollout: Rollout, number: int, state: ReleaseState, context: Context, end_reason: str = "") -> Rollout:
    """Puts a release into a state."""
    release = replace(rollout.releases[number], state=state, update_ms=context.now_ms, end_reason=end_reason)
    return replace(rollout, releases={**rollout.releases, number: release})


def add_release(
    rollout: Rollout, tag: str, state: ReleaseState, attributes: Mapping[str, str], context: Context
) -> Rollout:
    """Adds a new release. Its number is the new `last_number`."""
    number = rollout.last_number + 1
    release = new_release(number, tag, state, attributes, context)
    return replace(rollout, last_number=number, releases={**rollout.releases, number: release})


def new_release(number: int, tag: str, state: ReleaseState, attributes: Mapping[str, str], context: Context) -> Release:
    return Release(
        number=number,
        tag=tag,
        state=state,
        actor=context.actor,
        note=context.note,
        create_ms=context.now_ms,
        update_ms=context.now_ms,
        attributes=attributes,
    )


def make_current(rollout: Rollout, number: int, means: Means, context: Context, end_reason: str) -> Rollout:
    """Makes `number` current. The old current is RETIRED and goes to the front of `previous`."""
    left = rollout.current
    arrival = Arrival(means, context.actor, context.note, context.now_ms, rollout.current_release.tag)
    rollout = mark(rollout, left, ReleaseState.RETIRED, context, end_reason)
    rollout = mark(rollout, number, ReleaseState.CURRENT, context)
    previous = (left, *(other for other in rollout.previous if other not in {left, number}))
    return replace(rollout, current=number, arrival=arrival, previous=previous[: model.MAX_PREVIOUS])


def start_next(rollout: Rollout, number: int, context: Context) -> Rollout:
    """Makes `number` next: at 0 percent, not paused, in its first trial, with the policy's unit."""
    rollout = mark(rollout, number, ReleaseState.NEXT, context)
    progress = Progress(moved_ms=context.now_ms)
    return replace(
        rollout,
        next=number,
        basis_points=0,
        paused=False,
        pause=None,
        trial=1,
        unit=rollout.policy.unit,
        progress=progress,
    )


def drop_next(rollout: Rollout) -> Rollout:
    """Removes next from the rollout. The caller sets the new state of the release."""
    return replace(
        rollout,
        next=None,
        basis_points=0,
        held_reason="",
        paused=False,
        pause=None,
        trial=0,
        confirm_deadline_ms=None,
        unit=rollout.policy.unit,
        progress=Progress(),
    )


def start_head(rollout: Rollout, context: Context) -> Rollout:
    """If there is no next and no freeze, makes the first queued release that can be rolled out next.

    The queued releases before it end.
    """
    while rollout.next is None and rollout.queue and not freezes(rollout, context):
        head, *rest = rollout.queue
        release = rollout.releases[head]
        rollout = replace(rollout, queue=tuple(rest))
        if release.tag == rollout.current_release.tag:
            rollout = mark(rollout, head, ReleaseState.SUPERSEDED, context, "its tag became current")
        elif release.tag in rollout.quarantine:
            rollout = mark(rollout, head, ReleaseState.CANCELLED, context, "its tag is quarantined")
        else:
            rollout = start_next(rollout, head, context)
    return rollout


def hold(rollout: Rollout, reason: str) -> Rollout:
    """Puts next to 0 percent and makes the rollout HELD. A rollout that is HELD already keeps its first reason."""
    if rollout.next is None or rollout.held_reason:
        return rollout
    return replace(drop_question(rollout), basis_points=0, held_reason=reason, confirm_deadline_ms=None)


def drop_question(rollout: Rollout) -> Rollout:
    """Withdraws the question whether a person approves the step."""
    if rollout.pause_cause is not Cause.APPROVAL:
        return rollout
    return replace(rollout, paused=False, pause=None, progress=rollout.progress.unasked())


def take_from_queue(rollout: Rollout, number: int) -> Rollout:
    return replace(rollout, queue=tuple(other for other in rollout.queue if other != number))


def quarantine(rollout: Rollout, tag: str, context: Context) -> Rollout:
    """Quarantines the tag. If it is next, it is rolled back; if it is in the queue, it is cancelled. If the list of quarantined
    tags is full, the oldest mark is removed.
    """
    if tag not in rollout.quarantine:
        mark_of = Quarantine(context.actor, context.note, context.now_ms)
        marks = {**_with_room(rollout), tag: mark_of}
        rollout = replace(rollout, quarantine=marks)
    if rollout.next_release and rollout.next_release.tag == tag:
        rollout = replace(rollout, held_reason=rollout.held_reason.removesuffix(_LIFTED))
        rollout = hold(rollout, context.because(_QUARANTINED))
    for release in rollout.queued_releases:
        if release.tag == tag:
            rollout = take_from_queue(rollout, release.number)
            rollout = mark(rollout, release.number, ReleaseState.CANCELLED, context, context.because(_QUARANTINED))
    return rollout


def _with_room(rollout: Rollout) -> Mapping[str, Quarantine]:
    """Returns the marks, with room for one more. Marks of tags of known releases go last: somebody may go back to such a tag."""
    marks = rollout.quarantine
    if len(marks) < model.MAX_QUARANTINE:
        return marks
    known = {release.tag for release in rollout.releases.values()}
    oldest = min(marks, key=lambda tag: (tag in known, marks[tag].create_ms, tag))
    return {tag: mark for tag, mark in marks.items() if tag != oldest}


def lift_quarantine(rollout: Rollout, tag: str) -> Rollout:
    """Takes the tag out of quarantine. A next that the quarantine holds stays HELD, and its reason says that this one is over."""
    if tag not in rollout.quarantine:
        return rollout
    reason = rollout.held_reason
    if rollout.next_release and rollout.next_release.tag == tag and reason.startswith(f"{_QUARANTINED} "):
        rollout = replace(rollout, held_reason=reason.rstrip(" .") + _LIFTED)
    return replace(rollout, quarantine={other: mark for other, mark in rollout.quarantine.items() if other != tag})


def settle(rollout: Rollout, context: Context) -> Rollout:
    """Applies what time alone changes: an ended freeze is removed, and the head of the queue starts."""
    if rollout.freeze and not rollout.freeze.is_in_force(context.now_ms):
        rollout = replace(rollout, freeze=None)
    return start_head(rollout, context)


def seal(before: model.Absent | Rollout, after: Rollout, context: Context) -> Rollout:
    """Returns the change in the form that is committed: with the next revision and its place in the timeline, without old releases."""
    revision = before.revision + 1
    assignment = Assignment(revision, after.next or 0, after.basis_points, after.unit, after.trial)
    timeline = after.timeline
    if not timeline or replace(timeline[-1], revision=revision) != assignment:
        timeline = (*timeline, assignment)[-model.MAX_TIMELINE :]
    is_new_current = not isinstance(before, Rollout) or before.current != after.current
    hold = None
    if after.held_reason:
        was_held = isinstance(before, Rollout) and bool(before.held_reason)
        hold = after.hold if was_held else Hold(context.actor, context.now_ms)
    return replace(
        after,
        revision=revision,
        hold=hold,
        current_revision=revision if is_new_current else after.current_revision,
        update_ms=context.now_ms,
        timeline=timeline,
        releases=_without_old(after),
    )


def _without_old(rollout: Rollout) -> Mapping[int, Release]:
    if len(rollout.releases) <= model.MAX_ENDED_RELEASES:
        return rollout.releases
    live = {rollout.current, rollout.next, *rollout.queue, *rollout.previous}
    ended = sorted(number for number in rollout.releases if number not in live)
    old = set(ended[: -model.MAX_ENDED_RELEASES])
    return (
        {number: release for number, release in rollout.releases.items() if number not in old}
        if old
        else rollout.releases
    )
