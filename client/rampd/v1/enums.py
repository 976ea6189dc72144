"""The enums of rampd.v1 as Python has enums, with what protobuf's own wrapper of an enum can do."""

from collections.abc import Mapping
from enum import Enum
from typing import Self

from google.protobuf.descriptor import EnumDescriptor


class NamedNumber(int, Enum):
    """A value of an enum: the number that messages have, which prints as its name."""

    def __str__(self) -> str:
        return self.name

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """A number that a later rampd has sent prints as the number that it is."""
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = str(value)
        member._value_ = value
        return member

    # As google.protobuf.internal.enum_type_wrapper has them.

    @classmethod
    def Name(cls, number: int) -> str:  # noqa: N802
        """The name of a number. Raises ValueError."""
        for member in cls:
            if member == number:
                return member.name
        raise ValueError(f"{cls.__name__} has no name for {number!r}")

    @classmethod
    def Value(cls, name: str) -> Self:  # noqa: N802
        """The member of a name. Raises ValueError."""
        try:
            return cls[name]
        except KeyError:
            raise ValueError(f"{cls.__name__} has no {name!r}") from None

    @classmethod
    def keys(cls) -> list[str]:
        """All names."""
        return [member.name for member in cls]

    @classmethod
    def values(cls) -> list[Self]:
        """All members."""
        return list(cls)

    @classmethod
    def items(cls) -> list[tuple[str, Self]]:
        """All names with their members."""
        return [(member.name, member) for member in cls]


def named(enum: EnumDescriptor) -> Mapping[str, object]:
    """The enum under its name, and each of its values under its own."""
    made = NamedNumber(enum.name, [(value.name, value.number) for value in enum.values], module="rampd.v1")
    made.DESCRIPTOR = enum  # type: ignore[attr-defined]
    return {enum.name: made, **made.__members__}
