"""From Python values to valid requests. The client refuses what a server would refuse, by the same rules."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from rampd._contract.field_rules import rule_of
from rampd._contract.grammar import ACTOR, ACTOR_KEY, Violation, shown, word_violation
from rampd._contract.validation import violations
from rampd.errors import InvalidArgumentError

Request = TypeVar("Request", bound=Message)

_KINDS: Mapping[int, str] = {
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_STRING: "a string",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_INT32: "a whole number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
}


def make(request: type[Request], **fields: object) -> Request:
    """Makes a request with these fields. A field that is None is absent.

    A datetime (with a time zone), a timedelta and the name of an enum's value (`NEXT`) are converted to the types of the
    message. Raises InvalidArgumentError with every field that has a wrong type, can't be encoded, or breaks a rule.
    """
    message = request()
    wrong: list[Violation] = []
    for field in cast("Descriptor", message.DESCRIPTOR).fields:
        value = fields.pop(field.name, None)
        if value is not None:
            wrong.extend(_set(message, field, value))
    if fields:
        raise TypeError(f"{request.__name__} has no {', '.join(fields)}")
    known = {path for path, _ in wrong}
    if found := [*wrong, *(each for each in violations(message) if _field(each) not in known)]:
        raise InvalidArgumentError(violations=found)
    return message


def actor_metadata(actor: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that names the caller. Empty if `actor` is empty. Raises InvalidArgumentError."""
    if (wrong := word_violation(ACTOR, actor, required=False)) is not None:
        raise InvalidArgumentError(violations=[(ACTOR_KEY, wrong)])
    return ((ACTOR_KEY, actor),) if actor else ()


def _field(violation: Violation) -> str:
    return violation[0].partition(".")[0].partition("[")[0]


def _set(message: Message, field: FieldDescriptor, value: object) -> Iterator[Violation]:
    if isinstance(value, Mapping) and _is_map(field):
        yield from _set_entries(message, field, value)
        return
    try:
        converted = _converted(field, value)
        if isinstance(converted, list):
            getattr(message, field.name).extend(converted)
        elif isinstance(converted, Message):
            getattr(message, field.name).CopyFrom(converted)
        else:
            setattr(message, field.name, converted)
    except _ConversionError as error:
        yield field.name, f"{error}; got {shown(value)}"
    except (TypeError, ValueError, AttributeError, OverflowError):
        told = rule_of(field).told if isinstance(value, str) and not _is_map(field) else None
        yield field.name, f"must be {_expected(field)}; got {(told or shown)(value)}"


def _set_entries(message: Message, field: FieldDescriptor, entries: Mapping[object, object]) -> Iterator[Violation]:
    for key, value in entries.items():
        if isinstance(key, str) and isinstance(value, str):
            try:
                getattr(message, field.name)[key] = value
                continue
            except (TypeError, ValueError, AttributeError):
                pass
        told = rule_of(field).told if isinstance(value, str) else None
        yield (
            f"{field.name}[{shown(key)}]",
            f"key and value must be strings that UTF-8 can encode; got {(told or shown)(value)}",
        )


class _ConversionError(Exception):
    """Raised when a value has the right type, but the message can't express it."""


def _converted(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _ConversionError("must have a time zone")
        time = Timestamp()
        time.FromDatetime(value)
        return time
    if isinstance(value, timedelta):
        duration = Duration()
        duration.FromTimedelta(value)
        return duration
    if isinstance(value, str) and field.enum_type is not None:
        return _number(field.enum_type, value)
    # protobuf accepts bytes as text, and True as 1. This library does not.
    if isinstance(value, bytes) or (isinstance(value, bool) and field.cpp_type != FieldDescriptor.CPPTYPE_BOOL):
        raise TypeError
    return value


def _number(enum: EnumDescriptor, name: str) -> int:
    """Returns the number of CHANNEL_NEXT for NEXT."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    # `values_by_name` is not used, because it raises SystemError for a lone surrogate.
    numbers = {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}
    number = numbers.get(name.removeprefix(prefix))
    if number is None:
        raise _ConversionError(f"must be one of {', '.join(numbers)}")
    return number


def _expected(field: FieldDescriptor) -> str:
    if _is_map(field):
        return "a mapping of strings to strings"
    expected = rule_of(field).expected
    if field.message_type is not None:
        return expected or f"of type {field.message_type.full_name}"
    kind = _KINDS.get(field.cpp_type, "a number")
    return f"{kind}, {expected}" if expected and kind == "a string" else expected or kind


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
