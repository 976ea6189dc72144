"""Writes one value as text, and reads it back.

Most texts that are read must be exactly as rampd writes them, so that a value has only one form. Every `read_...` raises
ValueError, which says what is wrong.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from rampd._decision.resolution import Unit
from rampd_server.domain.rollout.model import (
    FULL,
    Arrival,
    Assignment,
    Freeze,
    Hold,
    LostRevisions,
    Means,
    Pause,
    Policy,
    Quarantine,
    QueueMode,
    Release,
    ReleaseState,
)
from rampd_server.domain.rollout.progress import Cause, Driver
from rampd_server.ports import Override
from rampd_server.storage.codec.automation_texts import read_automation, write_automation

_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?")
_POSITION = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")
_ENTRY_ID = re.compile(r"[1-9][0-9]{0,17}-(?:0|[1-9][0-9]{0,17})")
_OVERRIDE = re.compile(r"(?:channel=(current|next)|tag=([^ ]+))(?: expire=(0|[1-9][0-9]{0,17}))?")

_T = TypeVar("_T")


def write_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_json(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    r"""Refuses lone surrogates: both bytes that are not UTF-8, and escapes such as `\ud800`."""
    read_text(text)
    try:
        value = json.loads(text)
        # Escapes are rare: rampd writes them for control characters only.
        unescaped = write_json(value) if "\\u" in text else ""
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"is not JSON: {exc}") from exc
    read_text(unescaped)
    return value


def read_object(text: str) -> dict[str, Any]:
    value = read_json(text)
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - one kind of error for one kind of fault
    return value


def read_text(text: str) -> str:
    """Bytes that are not UTF-8 arrive as lone surrogates: see `connection.py`."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("is not UTF-8, or has half of a surrogate pair") from exc
    return text


def read_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"is {text!r}, not a whole number")
    return int(text)


def write_flag(value: bool) -> str:
    return "1" if value else "0"


def read_flag(text: str) -> bool:
    if text not in {"0", "1"}:
        raise ValueError(f"is {text!r}, not 0 or 1")
    return text == "1"


def write_percent(basis_points: int) -> str:
    """Returns `10` for 1000 and `0.25` for 25: exact, and as short as possible."""
    whole, hundredths = divmod(basis_points, 100)
    return f"{whole}.{hundredths:02}".rstrip("0") if hundredths else str(whole)


def read_percent(text: str) -> int:
    match = _PERCENT.fullmatch(text)
    basis_points = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else -1
    if not 0 <= basis_points <= FULL or write_percent(basis_points) != text:
        raise ValueError(f"is {text!r}, not a percentage from 0 to 100 with at most two decimals")
    return basis_points


def write_numbers(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def read_numbers(text: str) -> tuple[int, ...]:
    return tuple(read_integer(number) for number in text.split(" "))


def read_entry_id(text: str) -> str:
    """Reads the id of an entry of the feed."""
    if not _ENTRY_ID.fullmatch(text):
        raise ValueError(f"is {text!r}, not the id of an entry")
    return text


def read_position(text: str) -> str:
    """Reads the id of an entry, or a place between two entries. Unlike an id, it may be zero."""
    if not _POSITION.fullmatch(text):
        raise ValueError(f"is {text!r}, not the id of an event")
    return text


def write_lost(lost: tuple[LostRevisions, ...]) -> str:
    """`48-73 90-95`."""
    return " ".join(f"{first}-{last}" for first, last in lost)


def read_lost(text: str) -> tuple[LostRevisions, ...]:
    lost = []
    for part in text.split(" "):
        first, _, last = part.partition("-")
        lost.append(LostRevisions(read_integer(first), read_integer(last)))
    return tuple(lost)


def read_unit(text: str) -> Unit:
    return _member(Unit, text)


def read_driver(text: str) -> Driver:
    return _member(Driver, text)


def read_cause(text: str) -> Cause:
    return _member(Cause, text)


def write_causes(causes: frozenset[Cause]) -> str:
    return " ".join(sorted(causes))


def read_causes(text: str) -> frozenset[Cause]:
    return frozenset(_member(Cause, cause) for cause in text.split(" "))


def write_release(release: Release) -> str:
    """Leaves out the attributes. They have their own key, because they never change and may be large."""
    fields: dict[str, object] = {
        "tag": release.tag,
        "state": release.state,
        "actor": release.actor,
        "create_ms": release.create_ms,
        "update_ms": release.update_ms,
    }
    if release.note:
        fields["note"] = release.note
    if release.end_reason:
        fields["end_reason"] = release.end_reason
    return write_json(fields)


def read_release(number: int, text: str, attributes: Mapping[str, str]) -> Release:
    fields = read_object(text)
    return Release(
        number=number,
        tag=_text(fields, "tag", may_be_empty=False),
        state=_member(ReleaseState, _text(fields, "state")),
        actor=_text(fields, "actor"),
        note=_text(fields, "note", default=""),
        create_ms=_integer(fields, "create_ms"),
        update_ms=_integer(fields, "update_ms"),
        end_reason=_text(fields, "end_reason", default=""),
        attributes=attributes,
    )


def read_attributes(text: str) -> Mapping[str, str]:
    attributes = read_object(text)
    if not all(isinstance(value, str) for value in attributes.values()):
        raise ValueError("has a value that is not text")
    return attributes


def write_quarantine(quarantine: Quarantine) -> str:
    fields = {"actor": quarantine.actor, "note": quarantine.note, "create_ms": quarantine.create_ms}
    return write_json(fields)


@lru_cache(maxsize=2048)
def read_quarantine(text: str) -> Quarantine:
    # A component may have a thousand of them, and each question about it reads them all.
    fields = read_object(text)
    return Quarantine(_text(fields, "actor"), _text(fields, "note"), _integer(fields, "create_ms"))


def write_freeze(freeze: Freeze) -> str:
    fields: dict[str, object] = {"actor": freeze.actor, "note": freeze.note, "create_ms": freeze.create_ms}
    if freeze.expire_ms is not None:
        fields["expire_ms"] = freeze.expire_ms
    return write_json(fields)


def read_freeze(text: str) -> Freeze:
    fields = read_object(text)
    expire_ms = _integer(fields, "expire_ms") if "expire_ms" in fields else None
    freeze = Freeze(_text(fields, "actor"), _text(fields, "note"), _integer(fields, "create_ms"), expire_ms)
    # Each write compares this text with the text of this server's copy. A second form of the text would refuse all writes.
    if write_freeze(freeze) != text:
        raise ValueError("is not in the form that rampd writes")
    return freeze


def write_pause(pause: Pause) -> str:
    fields: dict[str, object] = {"actor": pause.actor, "note": pause.note, "create_ms": pause.create_ms}
    if pause.cause is not None:
        fields["cause"] = pause.cause
    return write_json(fields)


def read_pause(text: str) -> Pause:
    fields = read_object(text)
    cause = read_cause(_text(fields, "cause")) if "cause" in fields else None
    return Pause(_text(fields, "actor"), _text(fields, "note"), _integer(fields, "create_ms"), cause)


def write_hold(hold: Hold) -> str:
    return write_json({"actor": hold.actor, "create_ms": hold.create_ms})


def read_hold(text: str) -> Hold:
    fields = read_object(text)
    return Hold(_text(fields, "actor"), _integer(fields, "create_ms"))


def write_arrival(arrival: Arrival) -> str:
    fields: dict[str, object] = {"means": arrival.means, "actor": arrival.actor, "time_ms": arrival.time_ms}
    if arrival.from_tag:
        fields["from_tag"] = arrival.from_tag
    if arrival.note:
        fields["note"] = arrival.note
    return write_json(fields)


def read_arrival(text: str) -> Arrival:
    fields = read_object(text)
    return Arrival(
        means=_member(Means, _text(fields, "means")),
        actor=_text(fields, "actor"),
        note=_text(fields, "note", default=""),
        time_ms=_integer(fields, "time_ms"),
        from_tag=_text(fields, "from_tag", default=""),
    )


def write_policy(policy: Policy) -> str:
    return write_json(policy_fields(policy))


def policy_fields(policy: Policy) -> dict[str, str]:
    return {"queue_mode": policy.queue_mode, "unit": policy.unit, **write_automation(policy.automation)}


@lru_cache(maxsize=256)
def read_policy(text: str) -> Policy:
    # Most components have the same policy, or one of a few.
    fields = read_object(text)
    return Policy(
        _member(QueueMode, _text(fields, "queue_mode")),
        _member(Unit, _text(fields, "unit")),
        read_automation({name: _text(fields, name) for name in fields}),
    )


def write_assignment(assignment: Assignment) -> str:
    return f"{assignment.release} {assignment.basis_points} {assignment.unit} {assignment.trial}"


@lru_cache(maxsize=2048)
def read_assignment(revision: int, text: str) -> Assignment:
    # A component may have 256 of them, and each question about it reads them all.
    parts = text.split(" ")
    if len(parts) != 4:
        raise ValueError(f"is {text!r}, not `release basis_points unit trial`")
    basis_points = read_integer(parts[1])
    if basis_points > FULL:
        raise ValueError(f"has {basis_points} basis points, more than {FULL}")
    return Assignment(revision, read_integer(parts[0]), basis_points, read_unit(parts[2]), read_integer(parts[3]))


def write_override(override: Override) -> str:
    choice = f"channel={override.channel.lower()}" if override.channel else f"tag={override.tag}"
    return choice if override.expire_ms is None else f"{choice} expire={override.expire_ms}"


@lru_cache(maxsize=4096)
def read_override(text: str) -> Override:
    """Equal texts share one object: a million overrides have few different texts, so this saves memory."""
    match = _OVERRIDE.fullmatch(text)
    if not match:
        raise ValueError(f"is {text!r}, not `channel=...` or `tag=...`, followed by ` expire=...` if it expires")
    channel, tag, expire = match.groups()
    if tag:
        read_text(tag)
    return Override((channel or "").upper(), tag or "", None if expire is None else int(expire))


_REQUIRED = object()


def _field(fields: Mapping[str, Any], name: str, kind: type[_T], default: object) -> _T:
    value = fields.get(name, default)
    if value is _REQUIRED:
        raise ValueError(f"has no {name!r}")
    if type(value) is not kind:
        raise ValueError(f"has a {name!r} of the wrong type")
    return value


def _text(fields: Mapping[str, Any], name: str, *, default: object = _REQUIRED, may_be_empty: bool = True) -> str:
    value = read_text(_field(fields, name, str, default))
    if not value and not may_be_empty:
        raise ValueError(f"has an empty {name!r}")
    return value


def _integer(fields: Mapping[str, Any], name: str) -> int:
    value = _field(fields, name, int, _REQUIRED)
    if value < 0:
        raise ValueError(f"has a negative {name!r}")
    return value


def _member(enum: Callable[[str], _T], text: str) -> _T:
    try:
        return enum(text)
    except ValueError as exc:
        raise ValueError(f"has {text!r}, which is not a known value") from exc
