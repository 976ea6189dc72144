"""Rebuilds a component's state from its history alone."""

from collections.abc import Iterable

from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Event, FieldChange
from rampd_server.storage.codec.history import field_changes
from rampd_server.storage.codec.history_words import in_words
from rampd_server.storage.codec.patch import diff


def replay(events: Iterable[Event]) -> dict[str, str]:
    """Returns the fields after `events`, which are in order, oldest first. Each change must begin where the last one ended."""
    fields: dict[str, str] = {}
    revision = 0
    for event in events:
        assert event.revision == revision + 1
        revision = event.revision
        for change in event.changes:
            if change.field.startswith("override/"):
                continue
            assert fields.get(change.field) == change.before, change
            if change.after is None:
                del fields[change.field]
            else:
                fields[change.field] = change.after
        if event.changes and "state" not in fields:
            # The component was deleted: its releases and its quarantine are not listed one by one.
            fields.clear()
    return fields


def fields_of(rollout: Rollout | Absent) -> dict[str, str]:
    """Returns the same fields, read from the state itself."""
    if isinstance(rollout, Absent):
        return {}
    changes = field_changes(diff(Absent(rollout.component), rollout))
    return {change.field: change.after for change in changes if change.after is not None}


def fields_in_words(rollout: Rollout | Absent) -> dict[str, str]:
    """Returns the same fields in the words that a store uses in its history."""
    words = (in_words(FieldChange(name, None, text)) for name, text in fields_of(rollout).items())
    return {change.field: change.after for change in words if change.after is not None}
