"""Builds a Rollout from texts and checks it: from all sections of a component, or from its earlier state and a patch.

Data that contradict themselves raise MalformedError, so that no wrong version is served.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rampd._decision.resolution import RolloutState
from rampd_server.domain.rollout.model import Absent, Assignment, Quarantine, Release, ReleaseState, Rollout
from rampd_server.domain.rollout.progress import Progress
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.patch import ATTRIBUTES, QUARANTINE, QUEUE, RELEASES, TIMELINE, Patch
from rampd_server.storage.codec.rollout_hash import SECTION as ROLLOUT
from rampd_server.storage.codec.rollout_hash import check_hash, read_attributes_of_rollout, read_tombstone

Hash = Mapping[str, str]

_UNDER_WAY = frozenset(state for state in ReleaseState if not state.is_ended)


@dataclass(frozen=True, slots=True)
class Sections:
    """All that Redis holds of a component, except its overrides and its history."""

    rollout: Hash
    queue: tuple[str, ...]
    releases: Hash
    attributes: Hash
    quarantine: Hash
    timeline: Hash


def load(component: str, sections: Sections) -> Rollout | Absent:
    """Returns the component as it is in Redis. Raises MalformedError."""
    rest = (sections.queue, sections.releases, sections.attributes, sections.timeline)
    if "current" not in sections.rollout and not any(rest):
        if not sections.rollout and not sections.quarantine:
            return Absent(component)
        if sections.rollout.get("deleted") == "1":
            return _tombstone(component, sections.rollout, sections.quarantine)
    if "deleted" in sections.rollout:
        raise MalformedError(ROLLOUT, "deleted", "is there, but so are parts of a component that is not deleted")
    hashes: dict[str, Hash] = {
        ROLLOUT: sections.rollout,
        RELEASES: sections.releases,
        ATTRIBUTES: sections.attributes,
        QUARANTINE: sections.quarantine,
        TIMELINE: sections.timeline,
    }
    return rebuild(component, None, Patch(hashes, sections.queue))


def _tombstone(component: str, rollout: Mapping[str, str | None], quarantine: Mapping[str, str | None]) -> Absent:
    return replace(read_tombstone(component, rollout), quarantine=_quarantine(None, quarantine))


def rebuild(component: str, base: Rollout | None, patch: Patch) -> Rollout | Absent:
    """Returns `base` after `patch`. Without a base the patch must be complete. Raises MalformedError."""
    hashes = patch.hashes
    if patch.is_deletion:
        return _tombstone(component, hashes.get(ROLLOUT, {}), hashes.get(QUARANTINE, {}))
    rollout = Rollout(
        component=component,
        releases=_releases(base, hashes.get(RELEASES, {}), hashes.get(ATTRIBUTES, {})),
        quarantine=_quarantine(base, hashes.get(QUARANTINE, {})),
        timeline=_timeline(base, hashes.get(TIMELINE, {})),
        queue=_queue(base, patch.queue),
        **read_attributes_of_rollout(base, hashes.get(ROLLOUT, {})),
    )
    check_hash(rollout, hashes.get(ROLLOUT, {}), is_whole=base is None)
    check(rollout)
    return rollout


def _releases(
    base: Rollout | None, changes: Mapping[str, str | None], attribute_changes: Mapping[str, str | None]
) -> Mapping[int, Release]:
    if base and not changes and not attribute_changes:
        return base.releases
    releases = dict(base.releases) if base else {}
    for field, text in changes.items():
        number = _number(RELEASES, field)
        if text is None:
            releases.pop(number, None)
            continue
        old = releases.get(number)
        try:
            releases[number] = texts.read_release(number, text, old.attributes if old else {})
        except ValueError as exc:
            raise MalformedError(RELEASES, field, str(exc)) from exc
    for field, text in attribute_changes.items():
        number = _number(ATTRIBUTES, field)
        if number in releases:
            releases[number] = replace(releases[number], attributes=_attributes(field, text))
        elif text is not None:
            raise MalformedError(ATTRIBUTES, field, "belongs to a release that does not exist")
    return dict(sorted(releases.items()))


def _attributes(field: str, text: str | None) -> Mapping[str, str]:
    try:
        return {} if text is None else texts.read_attributes(text)
    except ValueError as exc:
        raise MalformedError(ATTRIBUTES, field, str(exc)) from exc


def _quarantine(base: Rollout | None, changes: Mapping[str, str | None]) -> Mapping[str, Quarantine]:
    if base and not changes:
        return base.quarantine
    quarantine = dict(base.quarantine) if base else {}
    for tag, text in changes.items():
        if text is None:
            quarantine.pop(tag, None)
            continue
        try:
            quarantine[texts.read_text(tag)] = texts.read_quarantine(text)
        except ValueError as exc:
            raise MalformedError(QUARANTINE, tag, str(exc)) from exc
    return quarantine


def _timeline(base: Rollout | None, changes: Mapping[str, str | None]) -> tuple[Assignment, ...]:
    if base and not changes:
        return base.timeline
    changed: dict[int, Assignment | None] = {}
    for field, text in changes.items():
        revision = _number(TIMELINE, field)
        try:
            changed[revision] = None if text is None else texts.read_assignment(revision, text)
        except ValueError as exc:
            raise MalformedError(TIMELINE, field, str(exc)) from exc
    kept = [assignment for assignment in base.timeline if assignment.revision not in changed] if base else []
    kept += [assignment for assignment in changed.values() if assignment is not None]
    return tuple(sorted(kept, key=lambda assignment: assignment.revision))


def _queue(base: Rollout | None, queue: tuple[str, ...] | None) -> tuple[int, ...]:
    if queue is None:
        return base.queue if base else ()
    return tuple(_number(QUEUE, number) for number in queue)


def _number(section: str, text: str) -> int:
    try:
        return texts.read_integer(text)
    except ValueError as exc:
        raise MalformedError(section, text, str(exc)) from exc


def check(rollout: Rollout) -> None:
    """Raises MalformedError if parts of a rollout contradict each other."""
    next_numbers = () if rollout.next is None else (rollout.next,)
    _check_named(rollout, ROLLOUT, "current", (rollout.current,), ReleaseState.CURRENT)
    _check_named(rollout, ROLLOUT, "next", next_numbers, ReleaseState.NEXT)
    _check_named(rollout, ROLLOUT, "previous", rollout.previous, ReleaseState.RETIRED)
    _check_named(rollout, QUEUE, "", rollout.queue, ReleaseState.QUEUED)
    under_way = {rollout.current, *next_numbers, *rollout.queue}
    for number, release in rollout.releases.items():
        if release.state in _UNDER_WAY and number not in under_way:
            raise MalformedError(
                RELEASES, str(number), f"is {release.state}, but is neither current nor next nor in the queue"
            )
        if not 1 <= number <= rollout.last_number:
            raise MalformedError(RELEASES, str(number), f"is not from 1 to last_number ({rollout.last_number})")
    if rollout.next is None and rollout.held_reason:
        raise MalformedError(ROLLOUT, "held_reason", "is there, but there is no next that could be held")
    if rollout.hold and not rollout.held_reason:
        raise MalformedError(ROLLOUT, "hold", "is there, but the rollout is not held")
    if rollout.pause and not rollout.paused:
        raise MalformedError(ROLLOUT, "pause", "is there, but the rollout is not paused")
    if rollout.current_revision > rollout.revision:
        raise MalformedError(ROLLOUT, "current_revision", f"is after revision {rollout.revision}")
    if rollout.next is None and rollout.progress != Progress():
        raise MalformedError(ROLLOUT, "driver", "or another field of the progress is there, but there is no next")
    if rollout.state is not RolloutState.ROLLING_OUT and rollout.basis_points:
        raise MalformedError(ROLLOUT, "next_percent", f"is not 0, but the rollout is {rollout.state}")
    if rollout.lost and rollout.lost[-1].last >= rollout.revision:
        raise MalformedError(ROLLOUT, "lost", f"has revisions that are not before revision {rollout.revision}")
    if rollout.timeline and rollout.timeline[-1].revision > rollout.revision:
        raise MalformedError(TIMELINE, str(rollout.timeline[-1].revision), f"is after revision {rollout.revision}")


def _check_named(rollout: Rollout, section: str, field: str, numbers: tuple[int, ...], state: ReleaseState) -> None:
    for number in numbers:
        release = rollout.releases.get(number)
        if release is None:
            raise MalformedError(section, field, f"names release {number}, which does not exist")
        if release.state is not state:
            raise MalformedError(section, field, f"names release {number}, which is {release.state} and not {state}")
    if len(set(numbers)) != len(numbers):
        raise MalformedError(section, field, "names a release twice")
