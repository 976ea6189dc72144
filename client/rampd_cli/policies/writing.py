"""Writes policies as people write them: the names of the API, `10m` for a duration, `FIFO` for an enum."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from rampd_cli.policies.reading import ROOT, prefix_of
from rampd_cli.yaml_text import yaml_text

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.duration_pb2 import Duration

    from rampd import v1

_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000))
_INDENT: Final = "    "
"""Of a field, below `policies:` and the component."""


def file_of(policies: Iterable[tuple[str, "v1.Policy", "v1.Policy"]]) -> str:
    """Returns a file. `policies`: each component, its settings that differ from their defaults, and all its settings. Those that
    are at their defaults are comments.
    """
    return f"{ROOT}:\n" + "".join(_component(*each) for each in policies)


def _component(component: str, own: "v1.Policy", all_: "v1.Policy") -> str:
    fields, defaults = values_of(own), values_of(all_)
    name = yaml_of({component: 0}).partition(":")[0]
    body = yaml_of(fields) if fields else ""
    left = yaml_of({name: value for name, value in defaults.items() if name not in fields})
    lines = [f"  {name}:" if body else f"  {name}: {{}}", *(f"{_INDENT}{line}" for line in body.splitlines())]
    if left:
        lines += [f"{_INDENT}# At their defaults:", *(f"{_INDENT}# {line}" for line in left.splitlines())]
    return "\n".join(lines) + "\n"


def yaml_of(values: Mapping[str, Any]) -> str:
    """Returns values as YAML."""
    return yaml_text(dict(values), is_file=True)


def values_of(message: Any) -> dict[str, Any]:
    """Returns the fields that a message has, in the order of the API, as a file has them."""
    fields = sorted(message.ListFields(), key=lambda each: each[0].number)
    return {described.name: _value(described, value) for described, value in fields}


def _value(described: "FieldDescriptor", value: Any) -> Any:
    if described.enum_type is not None:
        name = described.enum_type.values_by_number.get(value)
        return value if name is None else name.name.removeprefix(prefix_of(described.enum_type))
    if described.message_type is None:
        is_short = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
        return int(value) if is_short else value
    if described.message_type.full_name == "google.protobuf.Duration":
        return duration_text(value)
    return [values_of(each) for each in value]


def duration_text(duration: "Duration") -> str:
    """Writes `1h30m`."""
    left = duration.ToMilliseconds()
    parts = []
    for unit, unit_ms in _UNITS:
        count, left = divmod(left, unit_ms)
        parts.append(f"{count}{unit}" if count else "")
    seconds = f"{left / 1000:.3f}".rstrip("0").rstrip(".")
    return "".join(parts) + (f"{seconds}s" if left or not any(parts) else "")
