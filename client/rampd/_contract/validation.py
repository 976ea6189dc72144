"""Finds everything that is wrong with a message at once. The server uses it, and so does the client before it sends.

The descriptor of a message is read once and gives a list of checks. The rules are in `rampd._contract.field_rules`.
"""

from collections.abc import Callable
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from rampd import v1
from rampd._contract.field_rules import MESSAGES, Rule, rule_of
from rampd._contract.grammar import Violation, check_resolve, shown

__all__ = ["MOST_VIOLATIONS", "violations"]

MOST_VIOLATIONS = 100
"""No more of a list is looked at when so many are found: an answer has room for fewer. Otherwise one request of a thousand
wrong entries, from anybody, would stop a server for a tenth of a second.
"""

_ResolveRequest = v1.ResolveRequest
_OWN = f"{v1.ResolveRequest.DESCRIPTOR.file.package}."
_Check = Callable[[Message, str, list[Violation]], None]
"""Takes a message, its path and a list. Adds to the list what is wrong with one field of the message."""


def violations(message: Message) -> list[Violation]:
    """Returns what is wrong with a request: the path of each wrong field (`overrides[3].repo`, `attributes["memory"]`), what
    is expected and what was given. Of a long list it may be only the first `MOST_VIOLATIONS`. Empty if nothing is wrong. Raises LookupError if a field has no rule.
    """
    found: list[Violation] = []
    _walk(message, "", found)
    return found


def _walk(message: Message, path: str, found: list[Violation]) -> None:
    # Resolve is thousands of times as frequent as all other calls together.
    if (
        type(message) is _ResolveRequest
        and message.min_revision >= 0
        and not check_resolve(message.component, message.repo, message.job_id)
    ):
        return
    before = len(found)
    for check in _checks(message.DESCRIPTOR):
        check(message, path, found)
    rule = MESSAGES.get(message.DESCRIPTOR.name)
    if rule is not None:
        known = {field for field, _ in found[before:]}
        found.extend((path + field, text) for field, text in rule(message) if path + field not in known)


@cache
def _checks(message: Descriptor) -> tuple[_Check, ...]:
    return tuple(_field_check(field, rule_of(field)) for field in message.fields)


def _field_check(field: FieldDescriptor, rule: Rule) -> _Check:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_check(field.name, rule)
    if _is_repeated(field):
        return _repeated_check(field, rule)
    if field.message_type is not None and field.message_type.full_name.startswith(_OWN):
        return _message_check(field.name, rule)
    if field.has_presence:
        return _optional_check(field.name, rule)
    return _plain_check(field.name, rule)


def _is_repeated(field: FieldDescriptor) -> bool:
    # protobuf 5 has no `is_repeated` yet, protobuf 7 has no `label` any more.
    known: bool | None = getattr(field, "is_repeated", None)
    return getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED if known is None else known


def _plain_check(name: str, rule: Rule) -> _Check:
    """Checks a field whose default value means that it is absent."""

    def check(message: Message, path: str, found: list[Violation]) -> None:
        value = getattr(message, name)
        if not value:
            if rule.required:
                found.append((path + name, f"is required: {rule.expected}"))
        elif (wrong := rule.wrong(value)) is not None:
            found.append((path + name, wrong))

    return check


def _optional_check(name: str, rule: Rule) -> _Check:
    def check(message: Message, path: str, found: list[Violation]) -> None:
        if not message.HasField(name):
            if rule.required:
                found.append((path + name, f"is required: {rule.expected}"))
        elif (wrong := rule.wrong(getattr(message, name))) is not None:
            found.append((path + name, wrong))

    return check


def _message_check(name: str, rule: Rule) -> _Check:
    def check(message: Message, path: str, found: list[Violation]) -> None:
        if message.HasField(name):
            _walk(getattr(message, name), f"{path}{name}.", found)
        elif rule.required:
            found.append((path + name, "is required"))

    return check


def _repeated_check(field: FieldDescriptor, rule: Rule) -> _Check:
    name, is_message = field.name, field.message_type is not None

    def check(message: Message, path: str, found: list[Violation]) -> None:
        values = getattr(message, name)
        if not _check_whole(values, path + name, rule, found):
            return
        for index, value in enumerate(values):
            if len(found) >= MOST_VIOLATIONS:
                return
            if is_message:
                _walk(value, f"{path}{name}[{index}].", found)
            elif (wrong := rule.wrong(value)) is not None:
                found.append((f"{path}{name}[{index}]", wrong))

    return check


def _map_check(name: str, rule: Rule) -> _Check:
    def check(message: Message, path: str, found: list[Violation]) -> None:
        values = getattr(message, name)
        if not _check_whole(values, path + name, rule, found):
            return
        for key in sorted(values):
            where = f"{path}{name}[{shown(key)}]"
            if rule.key is not None and (wrong := rule.key.wrong(key)) is not None:
                found.append((where, f"its key {wrong}"))
            if (wrong := rule.wrong(values[key])) is not None:
                found.append((where, wrong))

    return check


def _check_whole(values: object, path: str, rule: Rule, found: list[Violation]) -> bool:
    """Checks the field as a whole. Returns whether each value should be checked too."""
    wrong = rule.whole.wrong(values) if rule.whole is not None else None
    if wrong is not None:
        found.append((path, wrong))
    return wrong is None
