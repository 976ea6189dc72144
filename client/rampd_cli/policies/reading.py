"""Reads policies from files: YAML or JSON with the names of the API. Finds everything that is wrong with them at once."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rampd_cli.arguments import duration_of
from rampd_cli.policies.nodes import MOST_BYTES, Items, Node, Pair, Pairs, Scalar, TextError, nodes_of

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

    from rampd import v1

STDIN: Final = "-"
ROOT: Final = "policies"
"""The one key of a file."""
_OF_REQUEST: Final = "policy."
_MOST_READ: Final = 20_000
"""An alias costs nothing in the file. So it is counted how much is read of it."""
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_WHOLE: Final = re.compile(r"-?(?:0|[1-9]\d{0,18})", re.ASCII)
_NUMBER_OF_YAML_1_2: Final = re.compile(r"0o[0-7]+|[-+]?\d+[eE][-+]?\d+", re.ASCII)
_TRUTH: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong with a line of a file."""

    file: str
    line: int
    """0: the file as a whole."""
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file} {self.text}"


@dataclass(frozen=True, slots=True)
class WrittenPolicy:
    """The policy of one component, as a file says it."""

    component: str
    file: str
    line: int
    policy: "v1.Policy"
    lines: dict[str, int] = field(default_factory=dict)
    """The line of each field, by its path in the policy: `steps[1].percent`."""
    unread: set[str] = field(default_factory=set)
    """The paths of values that could not be read."""

    def problems(self, violations: Iterable[tuple[str, str]]) -> list[Problem]:
        """Returns each violation of the policy with its line."""
        return [
            Problem(self.file, self._line_of(path), f"{self.component}: {path} {text}") for path, text in violations
        ]

    def refused(self, violations: Iterable[tuple[str, str]]) -> list[Problem]:
        """Returns each violation of a SetPolicy that is about the policy, with its line."""
        return self.problems(
            (path.removeprefix(_OF_REQUEST), text) for path, text in violations if path.startswith(_OF_REQUEST)
        )

    def _line_of(self, path: str) -> int:
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.line


def read_files(names: Sequence[str]) -> tuple[list[WrittenPolicy], list[Problem]]:
    """Reads files; `-` is stdin. Returns all policies, and everything that is wrong, in the order of the files."""
    found: dict[str, WrittenPolicy] = {}
    problems: list[Problem] = []
    for name in names:
        reader = _Reader("<stdin>" if name == STDIN else name)
        for written in reader.read(name):
            first = found.setdefault(written.component, written)
            if first is not written:
                reader.wrong(written.line, f"{written.component} is already in {first.file}:{first.line}.")
        problems += sorted(set(reader.problems))
    return list(found.values()), problems


def read_text(text: str, name: str) -> tuple[list[WrittenPolicy], list[Problem]]:
    """Reads the text of one file. As `read_files`."""
    reader = _Reader(name)
    return list(reader.policies(text.encode(errors="replace"))), sorted(set(reader.problems))


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self._read = 0

    def wrong(self, line: int, text: str) -> None:
        self.problems.append(Problem(self.name, line, text))

    def read(self, name: str) -> Iterable[WrittenPolicy]:
        try:
            if name == STDIN:
                content = sys.stdin.buffer.read(MOST_BYTES + 1)
            else:
                with Path(name).open("rb") as file:
                    content = file.read(MOST_BYTES + 1)
        except OSError as error:
            self.wrong(0, f"can't be read: {error.strerror}.")
            return []
        return self.policies(content)

    def policies(self, content: bytes) -> Iterable[WrittenPolicy]:
        try:
            root, twice = nodes_of(content)
            for error in twice:
                self.wrong(error.line, f"The file {error.text}")
            return list(self._policies(root))
        except TextError as error:
            self.wrong(error.line, f"The file {error.text}")
            return []

    def _policies(self, root: Node) -> Iterable[WrittenPolicy]:
        from rampd._contract.grammar import COMPONENT  # noqa: PLC0415 - it is slow to import

        if not isinstance(root, Pairs) or ROOT not in root.nodes:
            self.wrong(root.line, f"The file must begin with `{ROOT}:`, and have the name of each component below it.")
            return
        for name, pair in root.nodes.items():
            if name != ROOT:
                self.wrong(pair.line, f"{name!r} is not known here. A file has only `{ROOT}`.")
        components = root.nodes[ROOT].value
        if not isinstance(components, Pairs):
            self.wrong(components.line, f"`{ROOT}` must have the name of each component, with its policy below it.")
            return
        for name, pair in components.nodes.items():
            if COMPONENT.matches(name):
                yield self._policy(name, pair)
            else:
                self.wrong(pair.line, f"A component must be {COMPONENT.expected}; got {COMPONENT.told(name)}")

    def _policy(self, component: str, pair: Pair) -> WrittenPolicy:
        from rampd import v1  # noqa: PLC0415 - it is slow to import
        from rampd._contract.validation import violations  # noqa: PLC0415

        written = WrittenPolicy(component, self.name, pair.line, v1.Policy())
        self._fill(written, written.policy, pair.value, "")
        # A value that could not be read is reported only once.
        found = [each for each in violations(written.policy) if not any(map(each[0].startswith, written.unread))]
        self.problems += written.problems(found)
        return written

    def _fill(self, written: WrittenPolicy, message: Any, node: Node, path: str) -> None:
        """Reads the fields of a message."""
        at = f"{written.component}: {path.removesuffix('.')}".rstrip(": ")
        self._read += 1
        if self._read > _MOST_READ:
            raise TextError(node.line, f"has more than {_MOST_READ:,} values.")
        if not isinstance(node, Pairs):
            empty = isinstance(node, Scalar) and node.is_plain and node.text in {"", "~", "null"}
            hint = " Write {} for a policy that has only defaults." if empty and not path else ""
            self.wrong(node.line, f"{at} must have fields, such as `{message.DESCRIPTOR.fields[0].name}`.{hint}")
            written.unread.add(path)
            return
        fields = {name: each for each in message.DESCRIPTOR.fields for name in (each.json_name, each.name)}
        for name, pair in node.nodes.items():
            described = fields.get(name)
            if described is None:
                self.wrong(pair.line, f"{at} has no field {name!r}.{_instead(name, message.DESCRIPTOR.fields_by_name)}")
            elif f"{path}{described.name}" in written.lines:
                self.wrong(pair.line, f"{at} has {described.name!r} twice, as {name!r} too.")
            else:
                written.lines[f"{path}{described.name}"] = pair.line
                self._field(written, message, described, pair.value, f"{path}{described.name}")

    def _field(self, written: WrittenPolicy, message: Any, described: "FieldDescriptor", node: Node, path: str) -> None:
        if described.message_type is None or described.message_type.full_name.startswith("google."):
            try:
                _set(message, described, node)
            except _ValueError as error:
                self._unread(written, node, path, str(error))
        elif not isinstance(node, Items):
            # Every message in a policy is in a list.
            self._unread(written, node, path, "must be a list.")
        else:
            for place, each in enumerate(node.nodes):
                written.lines[f"{path}[{place}]"] = each.line
                self._fill(written, getattr(message, described.name).add(), each, f"{path}[{place}].")

    def _unread(self, written: WrittenPolicy, node: Node, path: str, text: str) -> None:
        written.unread.add(path)
        self.wrong(node.line, f"{written.component}: {path} {text}")


class _ValueError(Exception):
    """Raised when a field can't have a value. Says what is wrong with it."""


def _set(message: Any, described: "FieldDescriptor", node: Node) -> None:
    if not isinstance(node, Scalar):
        raise _ValueError("must be a single value.")
    if node.is_plain and node.text in {"", "~", "null"}:
        raise _ValueError("has no value. Leave the field out for its default.")
    try:
        if described.message_type is not None:
            getattr(message, described.name).FromTimedelta(_duration(node))
        else:
            setattr(message, described.name, _value(described, node))
    except (ValueError, OverflowError):
        raise _ValueError(f"is too large: {_shown(node)}") from None


def _duration(node: Scalar) -> timedelta:
    if (duration := duration_of(node.text)) is not None:
        return duration
    raise _ValueError(f"must be a duration with its unit, such as 90s, 10m, 1h30m or 7d; got {_shown(node)}")


def _value(described: "FieldDescriptor", node: Scalar) -> object:
    """Returns the value of a text, as the type of the field says."""
    if described.enum_type is not None:
        numbers = numbers_of(described.enum_type)
        if (number := numbers.get(node.text.removeprefix(prefix_of(described.enum_type)))) is not None:
            return number
        raise _ValueError(f"must be one of {', '.join(numbers)}; got {_shown(node)}")
    if described.cpp_type == described.CPPTYPE_BOOL:
        if node.is_plain and node.text in _TRUTH:
            return _TRUTH[node.text]
        raise _ValueError(f"must be true or false; got {_shown(node)}")
    if described.cpp_type == described.CPPTYPE_INT64:
        # The API writes such numbers in quotes.
        if _WHOLE.fullmatch(node.text):
            return int(node.text)
        raise _ValueError(f"must be a whole number in decimal digits, such as 100; got {_shown(node)}")
    if described.cpp_type == described.CPPTYPE_DOUBLE:
        if node.is_plain and _NUMBER.fullmatch(node.text):
            return float(node.text)
        raise _ValueError(f"must be a number in decimal digits, such as 10 or 0.25; got {_shown(node)}")
    if node.is_plain and _is_other(node.text):
        raise _ValueError(f"must be a text. Put it into quotes: {_shown(node)}")
    return node.text


def prefix_of(enum: "EnumDescriptor") -> str:
    """Returns what the names of all values begin with: `QUEUE_MODE_`."""
    return str(enum.values_by_number[0].name).removesuffix("UNSPECIFIED")


def numbers_of(enum: "EnumDescriptor") -> dict[str, int]:
    """Returns the values that a file may have, by their short names: `FIFO`."""
    prefix = prefix_of(enum)
    return {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}


def _is_other(text: str) -> bool:
    """Whether one version of YAML takes a text without quotes for a number, a truth value or a date."""
    import yaml  # noqa: PLC0415 - few commands read a file

    resolver: Any = yaml.resolver.Resolver
    tag = resolver().resolve(yaml.ScalarNode, text, (True, False))
    return tag != "tag:yaml.org,2002:str" or _NUMBER_OF_YAML_1_2.fullmatch(text) is not None


def _shown(node: Scalar) -> str:
    from rampd._contract.grammar import shown  # noqa: PLC0415 - it is slow to import

    return shown(node.text)


def _instead(name: str, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    near = get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(known)}."
