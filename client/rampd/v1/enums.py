"""The enums of rampd.v1 as Python enums, with the methods of protobuf's own enum wrapper."""

from collections.abc import Mapping
from enum import Enum
from typing import Self

from google.protobuf.descriptor import EnumDescriptor


class NamedNumber(int, Enum):
    """A value of an enum: the number in messages, which prints as its name."""

    def __str__(self) -> str:
        return self.name

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Makes a member for an unknown number, which a newer rampd has sent. It prints as the number."""
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = str(value)
        member._value_ = value
        return member

    # The methods of google.protobuf.internal.enum_type_wrapper.

    @classmethod
    def Name(cls, number: int) -> str:  # noqa: N802
        """Returns the name of a number. Raises ValueError."""
        for member in cls:
            if member == number:
                return member.name
        raise ValueError(f"{cls.__name__} has no name for {number!r}")

    @classmethod
    def Value(cls, name: str) -> Self:  # noqa: N802
        """Returns the member with a name. Raises ValueError."""
        try:
            return cls[name]
        except KeyError:
            raise ValueError(f"{cls.__name__} has no {name!r}") from None

    @classmethod
    def keys(cls) -> list[str]:
        """Returns all names."""
        return [member.name for member in cls]

    @classmethod
    def values(cls) -> list[Self]:
        """Returns all members."""
        return list(cls)

    @classmethod
    def items(cls) -> list[tuple[str, Self]]:
        """Returns all names with their members."""
        return [(member.name, member) for member in cls]


def named(enum: EnumDescriptor) -> Mapping[str, object]:
    """Returns the enum under its name, and each of its values under its own name."""
    made = NamedNumber(enum.name, [(value.name, value.number) for value in enum.values], module="rampd.v1")
    made.DESCRIPTOR = enum  # type: ignore[attr-defined]
    return {enum.name: made, **made.__members__}
