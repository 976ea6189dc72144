"""The fields of the hash `rollout:<component>`: one row for each, in the order in which redis-cli shows them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.progress import Progress
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.malformed import MalformedError

REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class HashField:
    """How a field is written, and read into an attribute of Rollout. A field without `read` only repeats other fields."""

    name: str
    write: Callable[[Rollout], str | None]
    attribute: str = ""
    read: Callable[[str], object] | None = None
    default: object = REQUIRED
    depends_on: tuple[str, ...] = ()
    """Further attributes that the text depends on. If `attribute` and these do not change, the text does not change."""
    part: str = ""
    """If the attribute is `progress`: the name of the attribute within it."""


def _next_percent(rollout: Rollout) -> str | None:
    return None if rollout.next is None else texts.write_percent(rollout.basis_points)


def _release_tag(rollout: Rollout, number: int | None) -> str | None:
    release = None if number is None else rollout.releases.get(number)
    return None if release is None else release.tag


def _progress(name: str, write: Callable[[Any], str], read: Callable[[str], object]) -> HashField:
    """A field that is written only if it differs from its default."""
    default = getattr(Progress(), name)

    def write_part(rollout: Rollout) -> str | None:
        value = getattr(rollout.progress, name)
        return None if value == default else write(value)

    return HashField(name, write_part, "progress", read, default, part=name)


FIELDS: Final = (
    HashField("state", lambda rollout: rollout.state),
    HashField("revision", lambda rollout: str(rollout.revision), "revision", texts.read_integer),
    HashField("entry", lambda rollout: rollout.entry or None, "entry", texts.read_entry_id, ""),
    HashField("state_entry", lambda rollout: rollout.state_entry or None, "state_entry", texts.read_entry_id, ""),
    HashField("lost", lambda rollout: texts.write_lost(rollout.lost) or None, "lost", texts.read_lost, ()),
    HashField("last_number", lambda rollout: str(rollout.last_number), "last_number", texts.read_integer),
    HashField("current", lambda rollout: str(rollout.current), "current", texts.read_integer),
    HashField(
        "current_revision",
        lambda rollout: str(rollout.current_revision) if rollout.current_revision else None,
        "current_revision",
        texts.read_integer,
        0,
    ),
    HashField("current_tag", lambda rollout: _release_tag(rollout, rollout.current)),
    HashField(
        "arrival",
        lambda rollout: None if rollout.arrival is None else texts.write_arrival(rollout.arrival),
        "arrival",
        texts.read_arrival,
        None,
    ),
    HashField(
        "next", lambda rollout: None if rollout.next is None else str(rollout.next), "next", texts.read_integer, None
    ),
    HashField("next_tag", lambda rollout: _release_tag(rollout, rollout.next)),
    HashField("next_percent", _next_percent, "basis_points", texts.read_percent, 0, depends_on=("next",)),
    HashField("held_reason", lambda rollout: rollout.held_reason or None, "held_reason", texts.read_text, ""),
    HashField(
        "hold",
        lambda rollout: None if rollout.hold is None else texts.write_hold(rollout.hold),
        "hold",
        texts.read_hold,
        None,
    ),
    HashField("paused", lambda rollout: texts.write_flag(rollout.paused), "paused", texts.read_flag),
    HashField(
        "pause",
        lambda rollout: None if rollout.pause is None else texts.write_pause(rollout.pause),
        "pause",
        texts.read_pause,
        None,
    ),
    HashField("trial", lambda rollout: str(rollout.trial), "trial", texts.read_integer),
    HashField(
        "confirm_deadline_ms",
        lambda rollout: None if rollout.confirm_deadline_ms is None else str(rollout.confirm_deadline_ms),
        "confirm_deadline_ms",
        texts.read_integer,
        None,
    ),
    _progress("driver", str, texts.read_driver),
    _progress("hold_since_ms", str, texts.read_integer),
    _progress("moved_ms", str, texts.read_integer),
    _progress("paused_by", str, texts.read_cause),
    _progress("said", texts.write_causes, texts.read_causes),
    _progress("resumed_ms", str, texts.read_integer),
    _progress("is_approved", texts.write_flag, texts.read_flag),
    HashField("unit", lambda rollout: rollout.unit, "unit", texts.read_unit),
    HashField(
        "previous",
        lambda rollout: texts.write_numbers(rollout.previous) or None,
        "previous",
        texts.read_numbers,
        (),
    ),
    HashField(
        "freeze",
        lambda rollout: None if rollout.freeze is None else texts.write_freeze(rollout.freeze),
        "freeze",
        texts.read_freeze,
        None,
    ),
    HashField("policy", lambda rollout: texts.write_policy(rollout.policy), "policy", texts.read_policy),
    HashField("create_ms", lambda rollout: str(rollout.create_ms), "create_ms", texts.read_integer),
    HashField("update_ms", lambda rollout: str(rollout.update_ms), "update_ms", texts.read_integer),
)

_INPUTS: Final = tuple(
    (field, attrgetter(field.attribute, *field.depends_on) if field.attribute else None) for field in FIELDS
)
"""Each field with a function that returns the inputs of its text, or None for a field that only repeats other fields."""

SECTION: Final = "rollout"

GIVEN_BY_STORE: Final = ("revision", "entry", "state_entry", "current_revision")
"""Fields that are in no patch, because only the script that writes the patch knows their values."""


def write_hash(rollout: Rollout | Absent) -> dict[str, str]:
    """Returns the whole hash. A deleted component has a tombstone; a component that never existed has an empty hash."""
    if isinstance(rollout, Absent):
        if not rollout.revision:
            return {}
        tombstone = {
            "revision": str(rollout.revision),
            "entry": rollout.entry,
            "state_entry": rollout.state_entry,
            "last_number": str(rollout.last_number),
            "deleted": "1",
        }
        return {name: text for name, text in tombstone.items() if text}
    return {field.name: text for field in FIELDS if (text := field.write(rollout)) is not None}


def hash_changes(before: Rollout, after: Rollout) -> dict[str, tuple[str | None, str | None]]:
    """Returns the fields that differ, each before and after; None if the field is not there."""
    changes = {}
    for field, inputs in _INPUTS:
        # The text of a policy costs more than all others, and rarely changes: write it only if its inputs changed.
        if inputs is not None and inputs(before) == inputs(after):
            continue
        texts_of_both = field.write(before), field.write(after)
        if texts_of_both[0] != texts_of_both[1]:
            changes[field.name] = texts_of_both
    return changes


def read_tombstone(component: str, fields: Mapping[str, str | None]) -> Absent:
    numbers = {}
    for name in ("revision", "last_number"):
        text = fields.get(name)
        if text is None:
            raise MalformedError(SECTION, name, "is missing")
        numbers[name] = read_field(name, text, texts.read_integer)
    entries = {
        name: read_field(name, text, texts.read_entry_id)
        for name in ("entry", "state_entry")
        if (text := fields.get(name))
    }
    return Absent(component, **numbers, **entries)


def read_attributes_of_rollout(base: Rollout | None, fields: Mapping[str, str | None]) -> dict[str, Any]:
    """Returns the attributes of Rollout: those in `fields` (None: the field was deleted), and all others from `base`."""
    attributes: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for field in FIELDS:
        if field.read is None:
            continue
        text = fields.get(field.name)
        if text is not None:
            value = read_field(field.name, text, field.read)
        elif field.name not in fields and base is not None:
            value = getattr(base.progress, field.part) if field.part else getattr(base, field.attribute)
        elif field.default is REQUIRED:
            raise MalformedError(SECTION, field.name, "is missing")
        else:
            value = field.default
        if field.part:
            parts[field.part] = value
        else:
            attributes[field.attribute] = value
    return {**attributes, "progress": Progress(**parts)}


def check_hash(rollout: Rollout, fields: Mapping[str, str | None], *, is_whole: bool) -> None:
    """Raises MalformedError if a field differs from the text that rampd would write. With `is_whole` no field may be missing."""
    for field in FIELDS:
        if not is_whole and field.name not in fields:
            continue
        found, expected = fields.get(field.name), field.write(rollout)
        if found == expected:
            continue
        if found is None:
            raise MalformedError(SECTION, field.name, "is missing")
        wanted = "should not be there" if expected is None else f"should be {expected!r}"
        raise MalformedError(SECTION, field.name, f"is {found!r}; according to the other fields it {wanted}")


def read_field(name: str, text: str, read: Callable[[str], Any]) -> Any:  # noqa: ANN401 - as many types as fields
    try:
        return read(text)
    except ValueError as exc:
        raise MalformedError(SECTION, name, str(exc)) from exc
