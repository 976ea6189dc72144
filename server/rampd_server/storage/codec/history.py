"""Writes events of the history, which people read, and reads them back from the stream."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from rampd_server.domain.wording import one_line
from rampd_server.ports import Author, Event, FieldChange, Origin
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.history_words import in_words
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.patch import QUARANTINE, RELEASES, Difference, TextChange
from rampd_server.storage.codec.rollout_hash import SECTION as ROLLOUT

LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the latest time that a message can hold."""
# Left out: the revision and times, which change with every event, and the timeline, which repeats these fields.
_RECORDED: Final = (
    "state",
    "current",
    "current_tag",
    "next",
    "next_tag",
    "next_percent",
    "held_reason",
    "paused",
    "trial",
    "confirm_deadline_ms",
    "driver",
    "paused_by",
    "said",
    "unit",
    "previous",
    "freeze",
)


def field_changes(difference: Difference) -> tuple[FieldChange, ...]:
    """Returns the changes of fields that the history keeps.

    If the component was deleted, `state` changes to None, and the changes of its releases and quarantine are left out.
    """
    hash_changes = difference.hashes[ROLLOUT]
    changes = [FieldChange(name, *hash_changes[name]) for name in _RECORDED if name in hash_changes]
    if difference.queue is not None:
        before, after = map(texts.write_numbers, difference.queue)
        changes.append(FieldChange("queue", before or None, after or None))
    if "policy" in hash_changes:
        changes += _policy_changes(*hash_changes["policy"])
    if not difference.is_deletion:
        changes += _item_changes("release", difference.hashes[RELEASES], _release_words)
        changes += _item_changes("quarantine", difference.hashes[QUARANTINE], _quarantine_words)
    return tuple(changes)


def end_of_damaged(problem: str) -> tuple[FieldChange, ...]:
    """Returns the change that the history keeps if a damaged component is deleted."""
    return (FieldChange("state", f"damaged: {problem}", None),)


def release_number(change: FieldChange) -> int:
    """Returns the number of the release that changed, or 0 if something else changed."""
    kind, _, number = change.field.partition("/")
    return int(number) if kind == "release" and number.isdecimal() else 0


def namespace_changes(before: str | None, after: str | None) -> tuple[FieldChange, ...]:
    return (FieldChange("freeze", before, after),)


def _item_changes(kind: str, fields: Mapping[str, TextChange], words: Callable[[str], str]) -> list[FieldChange]:
    """In words, without the actor and the times: the event has these already."""
    changes = []
    for name, (before, after) in fields.items():
        old, new = before and words(before), after and words(after)
        if old != new:
            changes.append(FieldChange(f"{kind}/{name}", old, new))
    return changes


def _release_words(text: str) -> str:
    """`20200409 RETIRED: reverted to 20200301 by ada`."""
    release = texts.read_release(0, text, {})
    return f"{release.tag} {release.state}" + (f": {release.end_reason}" if release.end_reason else "")


def _quarantine_words(text: str) -> str:
    """`by ada: corrupts files`."""
    mark = texts.read_quarantine(text)
    return f"by {mark.actor}" + (f": {one_line(mark.note)}" if mark.note else "")


def _policy_changes(before: str | None, after: str | None) -> list[FieldChange]:
    old, new = ({} if text is None else texts.read_object(text) for text in (before, after))
    names = dict.fromkeys((*old, *new))
    return [
        FieldChange(f"policy.{name}", old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    ]


def author_fields(author: Author) -> tuple[str, ...]:
    """Returns the fields that say who made the change and how, as names and values in turn."""
    return (
        *("actor", author.actor),
        *("claimed", texts.write_flag(author.is_claimed)),
        *("action", author.action),
        *("note", author.note),
        *("request_id", author.request_id),
    )


def event_fields(author: Author, changes: tuple[FieldChange, ...]) -> tuple[str, ...]:
    """Returns `author_fields`, followed by the changes."""
    rows = [(change.field, change.before, change.after) for change in changes]
    return (*author_fields(author), "changes", texts.write_json(rows))


def read_event(component: str, entry_id: str, fields: Mapping[str, str]) -> Event:
    """Reads an event of a component, or of the namespace if `component` is empty. Raises MalformedError."""
    try:
        for text in fields.values():
            texts.read_text(text)
        return Event(
            id=entry_id,
            revision=texts.read_integer(fields.get("revision", "0")),
            time_ms=_read_time(fields["time"]),
            actor=fields["actor"],
            is_claimed=texts.read_flag(fields["claimed"]),
            action=fields["action"],
            note=fields["note"],
            request_id=fields["request_id"],
            changes=_read_changes(fields),
            count=texts.read_integer(fields.get("count", "0")),
            component=component,
        )
    except KeyError as exc:
        raise MalformedError("history", entry_id, f"has no {exc}") from exc
    except (ValueError, TypeError, RecursionError) as exc:
        raise MalformedError("history", entry_id, str(exc)) from exc


def read_origin(entry_id: str, fields: Mapping[str, str]) -> Origin:
    """Reads who set an override, from the entry with this id. If the history does not have the entry, `fields` is empty. An
    entry that can't be read counts as if it were not there: ListEvents tells of it.
    """
    with suppress(KeyError, ValueError):
        return Origin(
            time_ms=_read_time(fields["time"]),
            actor=texts.read_text(fields["actor"]),
            is_claimed=texts.read_flag(fields["claimed"]),
            note=texts.read_text(fields["note"]),
        )
    return Origin(min(int(entry_id.partition("-")[0]), LATEST_MS))


def _read_time(text: str) -> int:
    time_ms = texts.read_integer(text)
    if time_ms > LATEST_MS:
        raise ValueError(f"is {text}, later than the year 9999")
    return time_ms


def _read_changes(fields: Mapping[str, str]) -> tuple[FieldChange, ...]:
    if "override" in fields:
        name = f"override/{fields['override']}"
        return (in_words(FieldChange(name, fields.get("before") or None, fields.get("after") or None)),)
    return tuple(in_words(FieldChange(*row)) for row in texts.read_json(fields.get("changes", "[]")))
