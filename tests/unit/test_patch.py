"""Patches: the fields that a change writes give the same state in every way of reading, and the history shows them all."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rampd_server.domain.errors import InvalidRequestError, RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Assignment, Rollout, Unit, numbered
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Event, FeedEntry
from rampd_server.storage.codec import feed_entry
from rampd_server.storage.codec.history import field_changes
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.patch import Difference, Patch, diff
from rampd_server.storage.codec.rebuild import Sections, load, rebuild
from rampd_server.storage.codec.rollout_hash import FIELDS
from tests.replay import fields_of, replay
from tests.rollouts import NOW, held, rolling_out, steady
from tests.unit.test_rollout_properties import COMMANDS

SECTIONS = {"releases", "quarantine", "timeline", "queue"}


def test_every_field_of_a_rollout_is_stored():
    in_hash = {field.attribute for field in FIELDS if field.attribute}

    assert {field.name for field in dataclasses.fields(Rollout)} == in_hash | SECTIONS | {"component"}


class _Redis:
    """Does with dicts what the script does with a patch."""

    def __init__(self) -> None:
        self.hashes: dict[str, dict[str, str]] = {
            name: {} for name in ("rollout", "releases", "attributes", "quarantine", "timeline")
        }
        self.queue: list[str] = []

    def write(self, text: str, revision: int, entry: str) -> None:
        patch = json.loads(text)
        if patch.get("delete"):
            self.__init__()
        for section, fields in self.hashes.items():
            change = patch.get(section, {})
            kept = change.get("set", [])
            fields.update(zip(kept[::2], kept[1::2], strict=True))
            for field in change.get("del", []):
                del fields[field]
        self.queue = patch.get("queue", self.queue)
        self.hashes["rollout"] |= {"revision": str(revision), "entry": entry, "state_entry": entry}
        if "assignment" in patch:
            self.hashes["timeline"][str(revision)] = patch["assignment"]
        if "is_new_current" in patch:
            self.hashes["rollout"]["current_revision"] = str(revision)

    def sections(self) -> Sections:
        return Sections(queue=tuple(self.queue), **self.hashes)


class StoredRollout(RuleBasedStateMachine):
    """One component under random commands: it is written, read and sent in every way."""

    @initialize()
    def begin(self) -> None:
        self.redis = _Redis()
        self.rollout: Rollout | Absent = Absent("restyler")
        self.copy: Rollout | Absent = self.rollout
        self.events: list[Event] = []

    @rule(command=COMMANDS, note=st.sampled_from(["", 'a "note" ü']), skipped=st.integers(0, 2))
    def command(self, command: commands.Command, note: str, skipped: int) -> None:
        before = self.rollout
        try:
            after = transition(before, command, Context(NOW, "ada", note)).after
        except (RefusedError, InvalidRequestError):
            return
        if after is before:
            return
        # Changes of overrides may take revisions in between.
        revision, entry_id = after.revision + skipped, f"1-{after.revision + skipped}"
        self.rollout = numbered(after, revision, entry_id)
        difference = diff(before, after)
        patch = difference.patch().to_json()

        self.redis.write(patch, revision, entry_id)
        assert load("restyler", self.redis.sections()) == self.rollout
        entry = FeedEntry(entry_id, "0-0", "restyler", revision, patch, base_entry=before.entry)
        self.copy = feed_entry.apply(self.copy, entry, feed_key="feed")
        assert self.copy == self.rollout
        assert feed_entry.apply(self.copy, entry, feed_key="feed") is self.copy
        changes = field_changes(difference)
        self.events.append(Event("1-1", len(self.events) + 1, NOW, "ada", False, "x", "", "", changes))
        assert replay(self.events) == fields_of(self.rollout)


TestStoredRollout = StoredRollout.TestCase
TestStoredRollout.settings = settings(max_examples=60, stateful_step_count=60)


@pytest.mark.parametrize("rollout", [steady(), rolling_out(), held()], ids=["steady", "rolling out", "held"])
def test_a_state_does_not_differ_from_itself(rollout: Rollout):
    equal = dataclasses.replace(rollout, releases=dict(rollout.releases), timeline=(*rollout.timeline,))

    for other in (rollout, equal):
        difference = diff(rollout, other)
        assert difference.patch().to_json() == "{}"
        assert field_changes(difference) == ()


def test_a_change_of_one_release_writes_that_release_only():
    before = rolling_out()
    changed = dataclasses.replace(before.releases[5], note="another")
    after = dataclasses.replace(before, releases={**before.releases, 5: changed})

    assert json.loads(diff(before, after).patch().to_json()).keys() == {"releases"}
    assert diff(before, after).hashes["releases"].keys() == {"5"}


@given(st.lists(st.integers(1, 30), unique=True), st.lists(st.integers(1, 30), unique=True), st.integers(0, 2))
def test_a_patch_is_right_for_any_two_timelines(before: list[int], after: list[int], basis_points: int):
    """In practice a timeline only grows at its end and shrinks at its front. Any other change must be right too."""
    old, new = (
        tuple(Assignment(revision, 4, (basis_points if part else 0), Unit.REPO, 1) for revision in sorted(revisions))
        for part, revisions in enumerate((before, after))
    )
    base = dataclasses.replace(rolling_out(), revision=100)
    first, second = dataclasses.replace(base, timeline=old), dataclasses.replace(base, timeline=new)

    assert rebuild("restyler", first, diff(first, second).patch()) == second


def test_a_patch_is_read_back_from_its_json():
    difference: Difference = diff(rolling_out(), dataclasses.replace(steady(), revision=9))
    patch = difference.patch()

    read = Patch.from_json(patch.to_json())

    assert {name: dict(fields) for name, fields in read.hashes.items() if fields} == {
        name: dict(fields) for name, fields in patch.hashes.items() if fields
    }
    assert (read.queue, read.is_deletion) == (patch.queue, patch.is_deletion)


@pytest.mark.parametrize("text", ["", "[]", "7", '{"rollout":[]}', '{"rollout":{"set":[1]}}', '{"queue":1}', "{"])
def test_an_invalid_patch_is_refused(text: str):
    with pytest.raises(MalformedError):
        Patch.from_json(text)
