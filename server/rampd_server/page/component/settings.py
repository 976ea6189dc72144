"""The policy of a component, a row for each setting. Pure."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from rampd import v1
from rampd._contract.wording import exact, whole_span
from rampd._standing.plan import steps_of
from rampd_server.domain.wording import bounds


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    name: str
    """As in a file for `rampd policy apply`."""
    values: tuple[str, ...]
    is_default: bool


def settings(policy: v1.Policy, changed: v1.Policy) -> list[Setting]:
    """Returns all settings. `policy`: of GetPolicy, with the defaults. `changed`: of the rollout, without them."""
    names_of_changed = {field.name for field, _ in changed.ListFields()}
    fields: Any = policy.DESCRIPTOR.fields
    return [Setting(field.name, _values(policy, field), field.name not in names_of_changed) for field in fields]


def _values(policy: v1.Policy, field: FieldDescriptor) -> tuple[str, ...]:
    match field.name:
        case "steps":
            return tuple(step.text for step in steps_of(v1.Rollout(policy=policy))) or ("none",)
        case "checks":
            return tuple(map(_check, policy.checks)) or ("none",)
        case "max_failure_rate" if not policy.max_failure_rate:
            return ("off",)
    if not policy.HasField(field.name):
        return ("off",)
    return (_value(getattr(policy, field.name), field),)


def _value(value: Any, field: FieldDescriptor) -> str:  # noqa: ANN401 - a value of any type that a setting has
    if field.enum_type is not None:
        # The names of all values begin with that of the enum, which zero also ends: QUEUE_MODE_UNSPECIFIED.
        before = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name.removeprefix(before)
    if field.message_type is not None:
        return whole_span(value.ToMilliseconds())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return exact(value)


def _check(check: v1.Check) -> str:
    least = check.min if check.HasField("min") else None
    most = check.max if check.HasField("max") else None
    return f"{check.name}: {bounds(least, most)}, every {whole_span(check.interval.ToMilliseconds())}: {check.query}"
