"""Writes a policy's automation as texts, one for each field that differs from its default, and reads them back.

Defaults are not written, so that a later rampd may have better defaults. Every `read_...` raises ValueError.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from rampd_server.domain.rollout.automation_policy import AfterRollback, Automation, Check, OnRegression, Step


class _Form(NamedTuple):
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _write_steps(steps: tuple[Step, ...]) -> str:
    return " ".join(map(_write_step, steps))


def _write_step(step: Step) -> str:
    """`1000:2000:0`, and `1000:2000:0:1` with an approval."""
    approval = ":1" if step.approval else ""
    return f"{step.basis_points}:{step.hold_ms}:{step.min_jobs}{approval}"


def _read_steps(text: str) -> tuple[Step, ...]:
    return tuple(map(_read_step, text.split(" "))) if text else ()


def _read_step(text: str) -> Step:
    basis_points, hold_ms, min_jobs, *approval = map(int, text.split(":"))
    return Step(basis_points, hold_ms, min_jobs, bool(approval))


def _write_checks(checks: tuple[Check, ...]) -> str:
    return json.dumps([asdict(check) for check in checks], ensure_ascii=False, separators=(",", ":"))


def _read_checks(text: str) -> tuple[Check, ...]:
    return tuple(Check(**check) for check in json.loads(text))


_INTEGER = _Form(str, int)
_NUMBER = _Form(repr, float)
_FLAG = _Form(lambda flag: "1" if flag else "0", {"0": False, "1": True}.__getitem__)
_OPTIONAL_INTEGER = _Form(lambda value: "" if value is None else str(value), lambda text: int(text) if text else None)
_REGRESSION = _Form(str, OnRegression)

_FORMS = {
    "steps": _Form(_write_steps, _read_steps),
    "max_basis_points": _INTEGER,
    "auto_start": _FLAG,
    "auto_finalize": _FLAG,
    "on_regression": _REGRESSION,
    "after_rollback": _Form(str, AfterRollback),
    "alpha": _NUMBER,
    "tolerance": _NUMBER,
    "maturation_ms": _INTEGER,
    "max_failure_rate": _NUMBER,
    "on_max_failure_rate": _REGRESSION,
    "checks": _Form(_write_checks, _read_checks),
    "confirm_within_ms": _OPTIONAL_INTEGER,
    "stuck_after_ms": _OPTIONAL_INTEGER,
}
_DEFAULTS = Automation()


def write_automation(automation: Automation) -> dict[str, str]:
    """Returns the texts of the fields that differ from their defaults, by name."""
    return {
        field.name: _FORMS[field.name].write(getattr(automation, field.name))
        for field in fields(automation)
        if getattr(automation, field.name) != getattr(_DEFAULTS, field.name)
    }


def read_field(name: str, text: str) -> object:
    """Returns the value of one field from its text, or the text itself if `name` is not a field of automation."""
    return _FORMS[name].read(text) if name in _FORMS else text


def read_automation(texts: Mapping[str, str]) -> Automation:
    """Reads the texts of `write_automation`, and ignores all names that are not fields of automation."""
    try:
        automation = Automation(**{name: form.read(texts[name]) for name, form in _FORMS.items() if name in texts})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise ValueError(f"has automation that rampd did not write: {exc}") from exc
    written = write_automation(automation)
    for name in _FORMS:
        if texts.get(name) != written.get(name):
            raise ValueError(f"has a {name!r} that is not in the form that rampd writes")
    return automation
