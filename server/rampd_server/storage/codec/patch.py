"""What a change writes: absolute values only, so that applying a patch twice has the same result as applying it once.

The sections have the names of the keys: `rollout`, `releases`, `attributes`, `quarantine` and `timeline` are hashes, `queue`
is a list that is replaced as a whole. A patch does not contain its own revision or entry: the script assigns them when it
writes the patch, and they are added by `with_assigned` before the patch is applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rampd_server.domain.rollout.model import Absent, Assignment, Rollout
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.rollout_hash import GIVEN_BY_STORE, hash_changes, write_hash
from rampd_server.storage.codec.rollout_hash import SECTION as ROLLOUT

RELEASES, ATTRIBUTES, QUARANTINE, TIMELINE, QUEUE = "releases", "attributes", "quarantine", "timeline", "queue"
HASHES = (ROLLOUT, RELEASES, ATTRIBUTES, QUARANTINE, TIMELINE)

TextChange = tuple[str | None, str | None]
"""A field before and after; None if the field is not there."""


@dataclass(frozen=True, slots=True)
class Patch:
    """The texts to write: fields by section (None: delete the field), and the queue if it changes."""

    hashes: Mapping[str, Mapping[str, str | None]]
    queue: tuple[str, ...] | None = None
    is_deletion: bool = False
    """The component is deleted: all of its sections are emptied before the fields are set."""
    assignment: str | None = None
    """The value for the field of the timeline whose name is the patch's revision."""
    is_new_current: bool = False
    """The patch's revision also becomes `current_revision`."""

    def with_assigned(self, revision: int, entry: str, *, is_of_overrides_only: bool) -> "Patch":
        """Returns the patch together with the revision and the entry that the store assigned."""
        hashes = {section: dict(fields) for section, fields in self.hashes.items()}
        rollout = hashes.setdefault(ROLLOUT, {})
        rollout |= {"revision": str(revision), "entry": entry}
        if not is_of_overrides_only:
            rollout["state_entry"] = entry
        if self.is_new_current:
            rollout["current_revision"] = str(revision)
        if self.assignment is not None:
            hashes.setdefault(TIMELINE, {})[str(revision)] = self.assignment
        return replace(self, hashes=hashes)

    def to_json(self) -> str:
        value: dict[str, object] = {"delete": True} if self.is_deletion else {}
        if self.assignment is not None:
            value["assignment"] = self.assignment
        if self.is_new_current:
            value["is_new_current"] = True
        for section, fields in self.hashes.items():
            parts: dict[str, object] = {}
            # Name, value, name, value: HSET takes them like this, and a list keeps its order.
            if kept := [part for name, text in fields.items() if text is not None for part in (name, text)]:
                parts["set"] = kept
            if gone := [name for name, text in fields.items() if text is None]:
                parts["del"] = gone
            if parts:
                value[section] = parts
        if self.queue is not None:
            value[QUEUE] = self.queue
        return texts.write_json(value)

    @classmethod
    def from_json(cls, text: str) -> "Patch":
        """Reads a patch. Raises MalformedError."""
        try:
            value = texts.read_object(text)
            hashes: dict[str, dict[str, str | None]] = {}
            for section in HASHES:
                parts = value.get(section, {})
                kept, gone = _texts(parts.get("set", [])), _texts(parts.get("del", []))
                hashes[section] = {**dict(zip(kept[::2], kept[1::2], strict=True)), **dict.fromkeys(gone)}
            queue = tuple(_texts(value[QUEUE])) if QUEUE in value else None
            assignment = _texts([value["assignment"]])[0] if "assignment" in value else None
            return cls(hashes, queue, value.get("delete") is True, assignment, value.get("is_new_current") is True)
        except (ValueError, AttributeError) as exc:
            raise MalformedError("patch", "", str(exc)) from exc


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{value!r} is not a list of texts")
    return value


@dataclass(frozen=True, slots=True)
class Difference:
    """How two states of a component differ. The patch and the event of the history are made from it."""

    hashes: Mapping[str, Mapping[str, TextChange]]
    queue: tuple[tuple[int, ...], tuple[int, ...]] | None
    is_deletion: bool
    revision: int
    """The expected revision of the state after. The store may assign a higher one."""

    def patch(self) -> Patch:
        hashes = {
            section: {name: after for name, (_, after) in fields.items() if after is not None or not self.is_deletion}
            for section, fields in self.hashes.items()
            if fields
        }
        new_current = None
        if rollout := hashes.get(ROLLOUT):
            new_current = rollout.get("current_revision")
            hashes[ROLLOUT] = {name: text for name, text in rollout.items() if name not in GIVEN_BY_STORE}
        assignment = hashes.get(TIMELINE, {}).pop(str(self.revision), None)
        queue = None if self.queue is None or self.is_deletion else tuple(map(str, self.queue[1]))
        return Patch(hashes, queue, self.is_deletion, assignment, new_current is not None)


def diff(before: Rollout | Absent, after: Rollout | Absent) -> Difference:
    """Returns the difference between two states. Values that are the same object are not compared, so they cost nothing."""
    if isinstance(after, Absent):
        old_hash, new_hash = write_hash(before), write_hash(after)
        # The hash is emptied first, so that fields that stay the same have to be written too.
        fields = {name: (old_hash.get(name), new_hash.get(name)) for name in {**old_hash, **new_hash}}
        queue = before.queue if isinstance(before, Rollout) else ()
        sections = {ROLLOUT: fields, QUARANTINE: _changed({}, write_quarantine(after))}
        return Difference(sections, (queue, ()) if queue else None, True, after.revision)
    old = before if isinstance(before, Rollout) else None
    old_queue = old.queue if old else ()
    releases, attributes = _release_changes(old, after)
    rollout = hash_changes(old, after) if old else _changed(write_hash(before), write_hash(after))
    if old is not None and after.revision > old.revision:
        # Also if it stays the same: a change of overrides that came first has set its own time.
        rollout["update_ms"] = (str(old.update_ms), str(after.update_ms))
    return Difference(
        {
            ROLLOUT: rollout,
            RELEASES: releases,
            ATTRIBUTES: attributes,
            QUARANTINE: _quarantine_changes(before, after),
            TIMELINE: _timeline_changes(old, after),
        },
        None if old_queue == after.queue else (old_queue, after.queue),
        False,
        after.revision,
    )


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, TextChange]:
    changes: dict[str, TextChange] = {
        name: (before.get(name), text) for name, text in after.items() if before.get(name) != text
    }
    changes.update((name, (text, None)) for name, text in before.items() if name not in after)
    return changes


def _release_changes(before: Rollout | None, after: Rollout) -> tuple[dict[str, TextChange], dict[str, TextChange]]:
    old_releases = before.releases if before else {}
    releases: dict[str, TextChange] = {}
    attributes: dict[str, TextChange] = {}
    if after.releases is old_releases:
        return releases, attributes
    for number, new in after.releases.items():
        old = old_releases.get(number)
        if new is old:
            continue
        old_text = texts.write_release(old) if old else None
        new_text = texts.write_release(new)
        if old_text != new_text:
            releases[str(number)] = (old_text, new_text)
        old_attributes = old.attributes if old else {}
        if new.attributes != old_attributes:
            attributes[str(number)] = (_write_attributes(old_attributes), _write_attributes(new.attributes))
    for number, old in old_releases.items():
        if number not in after.releases:
            releases[str(number)] = (texts.write_release(old), None)
            if old.attributes:
                attributes[str(number)] = (_write_attributes(old.attributes), None)
    return releases, attributes


def _write_attributes(attributes: Mapping[str, str]) -> str | None:
    return texts.write_json(dict(attributes)) if attributes else None


def _quarantine_changes(before: Rollout | Absent, after: Rollout) -> dict[str, TextChange]:
    if isinstance(before, Absent):
        # A reader may apply the first patch of a component without knowing the tombstone, so the patch has to be complete.
        lifted: dict[str, TextChange] = dict.fromkeys(before.quarantine.keys() - after.quarantine.keys(), (None, None))
        return {**lifted, **_changed({}, write_quarantine(after))}
    if after.quarantine is before.quarantine or after.quarantine == before.quarantine:
        return {}
    return _changed(write_quarantine(before), write_quarantine(after))


def write_quarantine(rollout: Rollout | Absent) -> dict[str, str]:
    """Returns the section as it is in Redis."""
    return {tag: texts.write_quarantine(mark) for tag, mark in rollout.quarantine.items()}


def _timeline_changes(before: Rollout | None, after: Rollout) -> dict[str, TextChange]:
    old = before.timeline if before else ()
    if after.timeline is old or after.timeline == old:
        return {}
    # A change appends at the end of the timeline and drops at its front. The part between is compared by identity, which is cheap.
    start = next((i for i, known in enumerate(old) if after.timeline[:1] == (known,)), len(old))
    kept = old[start:]
    if after.timeline[: len(kept)] != kept:
        start, kept = len(old), ()
    return _changed(write_timeline(old[:start]), write_timeline(after.timeline[len(kept) :]))


def write_timeline(timeline: tuple[Assignment, ...]) -> dict[str, str]:
    """Returns the section as it is in Redis."""
    return {str(assignment.revision): texts.write_assignment(assignment) for assignment in timeline}
