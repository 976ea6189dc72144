"""Puts the changes of a history into words for people.

The history stores texts, which are exact and short. They are put into words when the history is read, so that old and new
events read alike.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from rampd_server.domain.rollout.automation_policy import Check, Step
from rampd_server.domain.wording import bounds, one_line, percent, whole_span
from rampd_server.ports import FieldChange
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.automation_texts import read_field

_POLICY: Final = "policy."
_OVERRIDE: Final = "override/"


def in_words(change: FieldChange) -> FieldChange:
    """Returns the change as people read it: `10 % for 2 s` for `1000:2000:0`. A text without known words stays as it is."""
    words = _words_of(change.field)
    return FieldChange(_name(change.field), _said(words, change.before), _said(words, change.after))


def _said(words: Callable[[str], str], text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return words(text)
    except (ValueError, TypeError, KeyError):  # an earlier or a later rampd wrote this text
        return text


def _name(field: str) -> str:
    """Returns the name that the API gives to a field."""
    if field == "policy.max_basis_points":
        return "policy.max_percent"
    return field.removesuffix("_ms") if field in _FIELDS or field.startswith(_POLICY) else field


def _words_of(field: str) -> Callable[[str], str]:
    if field.startswith(_OVERRIDE):
        return _override
    if field.startswith(_POLICY):
        name = field.removeprefix(_POLICY)
        return lambda text: _setting(name, read_field(name, text), text)
    return _FIELDS.get(field, str)


def _setting(name: str, value: object, text: str) -> str:
    match name, value:
        case "steps", tuple():
            return ", ".join(map(_step, value))
        case "checks", tuple():
            return "; ".join(map(_check, value))
        case "max_basis_points", int():
            return texts.write_percent(value)
        case _, bool():
            return _flag(text)
        case _, int() if name.endswith("_ms"):
            return whole_span(value)
    return text


def _step(step: Step) -> str:
    """`10 % for 2 s and 30 jobs`."""
    needs = [
        *([whole_span(step.hold_ms)] if step.hold_ms else []),
        *([f"{step.min_jobs:,} {'job' if step.min_jobs == 1 else 'jobs'}"] if step.min_jobs else []),
    ]
    approval = ", then waits for approval" if step.approval else ""
    return percent(step.basis_points) + (f" for {' and '.join(needs)}" if needs else "") + approval


def _check(check: Check) -> str:
    """`errors: at most 0.01 every 1 min, of sum(rate(errors[5m]))`."""
    default = Check(check.name, check.query)
    allowed = [
        *([f"{check.failures_allowed:,} failures allowed"] if check.failures_allowed else []),
        *([f"{check.errors_allowed:,} errors allowed"] if check.errors_allowed != default.errors_allowed else []),
    ]
    asked = f"{bounds(check.minimum, check.maximum)} every {whole_span(check.interval_ms)}"
    return ", ".join((f"{check.name}: {asked}", *allowed, f"of {check.query}"))


def _override(text: str) -> str:
    """`next until 2026-11-26T08:00:00Z`, or `tag pb/x`."""
    override = texts.read_override(text)
    choice = override.channel.lower() or f"tag {override.tag}"
    return choice + _until(override.expire_ms)


def _freeze(text: str) -> str:
    """`by ada: holidays, until 2026-11-26T08:00:00Z`."""
    freeze = texts.read_freeze(text)
    return (
        f"by {freeze.actor}" + (f": {one_line(freeze.note)}" if freeze.note else "") + (_until(freeze.expire_ms, ","))
    )


def _until(time_ms: int | None, comma: str = "") -> str:
    return "" if time_ms is None else f"{comma} until {_time(str(time_ms))}"


def _time(text: str) -> str:
    seconds, milliseconds = divmod(texts.read_integer(text), 1000)
    time = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{time}.{milliseconds:03}Z" if milliseconds else f"{time}Z"


def _flag(text: str) -> str:
    return "true" if texts.read_flag(text) else "false"


_FIELDS: Final[dict[str, Callable[[str], str]]] = {
    "confirm_deadline_ms": _time,
    "freeze": _freeze,
    "paused": _flag,
}
