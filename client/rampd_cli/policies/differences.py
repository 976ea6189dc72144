"""What differs between the policy of a component and the policy that a file wants."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from rampd_cli.policies.writing import values_of, yaml_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rampd import v1


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a policy. A value is as a file has it."""

    field: str
    before: Any
    """None: it was not set, and has no default."""
    after: Any
    """None: it goes back to its default."""

    def lines(self) -> "Iterator[str]":
        """Yields lines that begin with `-`, `+` or a space, as those of a patch."""
        before, after = self._written(self.before, "not set"), self._written(self.after, "its default")
        for kind, first, last, new_first, new_last in SequenceMatcher(None, before, after, False).get_opcodes():
            if kind == "equal":
                yield from (f" {line}" for line in before[first:last])
            else:
                yield from (f"-{line}" for line in before[first:last])
                yield from (f"+{line}" for line in after[new_first:new_last])

    def _written(self, value: Any, instead: str) -> list[str]:
        return [f"{self.field}: ({instead})"] if value is None else yaml_of({self.field: value}).splitlines()


def differences(wanted: "v1.Policy", own: "v1.Policy", all_: "v1.Policy") -> list[Difference]:
    """Returns the fields that differ. `own`: the settings that the component has and that are not at their defaults. `all_`: all
    its settings. So nobody has to know the defaults of the server.
    """
    names = [field.name for field in wanted.DESCRIPTOR.fields]
    wants, has, in_force = values_of(wanted), values_of(own), values_of(all_)
    return [
        Difference(name, has.get(name, in_force.get(name)), wants.get(name))
        for name in names
        if not _is_same(wanted, own, all_, name)
    ]


def _is_same(wanted: Any, own: Any, all_: Any, name: str) -> bool:
    """A field that is wanted must have that value. Any other field must be at its default."""
    if not _has(wanted, name):
        return not _has(own, name)
    value, in_force = getattr(wanted, name), getattr(all_, name)
    described = wanted.DESCRIPTOR.fields_by_name[name]
    if not _is_list(described):
        return _has(all_, name) and bool(value == in_force)
    if len(value) != len(in_force):
        return False
    mine = getattr(own, name) or in_force
    return all(
        _is_same(*entry, field.name)
        for entry in zip(value, mine, in_force, strict=True)
        for field in described.message_type.fields
    )


def _has(message: Any, name: str) -> bool:
    described = message.DESCRIPTOR.fields_by_name[name]
    if described.has_presence:
        return bool(message.HasField(name))
    return bool(getattr(message, name))


def _is_list(described: Any) -> bool:
    return described.message_type is not None and not described.message_type.full_name.startswith("google.")
