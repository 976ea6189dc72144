"""A text of YAML or JSON as nodes that know their lines.

A node says only what was written. What `on`, `010` or `1:30` means depends on the field that it is written for, so the traps
of YAML are decided there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

MOST_BYTES: Final = 1024 * 1024
"""The largest file that is read."""
_MOST_NODES: Final = 100_000
"""Also after merges, which repeat what was written once."""
_MOST_DEPTH: Final = 20
_MERGE: Final = "<<"


class TextError(Exception):
    """Raised when a text is not YAML, or more than is read."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text."""

    line: int
    text: str
    is_plain: bool
    """Whether it was written without quotes."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    line: int
    nodes: list["Node"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping. No key is there twice."""

    line: int
    nodes: dict[str, "Pair"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A key of a mapping with its value."""

    line: int
    value: "Node"


Node: TypeAlias = Scalar | Items | Pairs


def nodes_of(content: bytes) -> tuple[Node, list[TextError]]:
    """Returns the one document of a file, and each key that is there twice. Raises TextError."""
    if len(content) > MOST_BYTES:
        raise TextError(1, f"is larger than {MOST_BYTES // 1024:,} KiB. Write the components into several files.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(content[: error.start].count(b"\n") + 1, "is not UTF-8.") from None
    import yaml  # noqa: PLC0415 - few commands read a file

    # The loader in C is twenty times as fast. Events are flat: a deep text can't exhaust the stack of C.
    loader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    try:
        composer = _Composer(yaml.parse(_without_tabs(text), Loader=loader))
        return composer.document(), composer.twice
    except yaml.MarkedYAMLError as error:
        raise TextError(*_place(error, text)) from None
    except yaml.YAMLError as error:
        at = getattr(error, "position", 0)
        raise TextError(text[:at].count("\n") + 1, "has a character that YAML does not allow.") from None


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, YAML may not. In valid JSON, a tab is never inside of a string."""
    if text.lstrip()[:1] == "{" and "\t" in text:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return text
        return text.replace("\t", " ")
    return text


def _place(error: Any, text: str) -> tuple[int, str]:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    lines = text.splitlines()
    if line <= len(lines) and "\t" in lines[line - 1][: mark.column + 1 if mark is not None else 0]:
        return line, "has a tab. YAML is indented with spaces only."
    return line, f"is not YAML: {error.problem or error.context}."


class _Composer:
    """Makes nodes of events."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self.twice: list[TextError] = []

    def document(self) -> Node:
        found: list[Node] = []
        for event in self._events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and found:
                raise TextError(
                    event.start_mark.line + 1, "begins a second document. Write every component into the first one."
                )
            if kind not in {"StreamStartEvent", "DocumentStartEvent", "DocumentEndEvent", "StreamEndEvent"}:
                found.append(self._node(event, 0))
        if not found:
            raise TextError(1, "is empty. It begins with `policies:`, and has the name of each component below it.")
        return found[0]

    def _node(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        self._counted(1, line)
        if depth > _MOST_DEPTH:
            raise TextError(line, f"is nested more than {_MOST_DEPTH} levels deep.")
        kind = type(event).__name__
        if kind == "AliasEvent":
            if (known := self._anchors.get(event.anchor)) is None:
                raise TextError(line, f"has *{event.anchor}, and there is no &{event.anchor} before it.")
            return known
        if event.tag is not None:
            raise TextError(line, f"has the tag {event.tag}. Tags can't be used here.")
        if kind == "ScalarEvent":
            node: Node = Scalar(line, _whole(event.value), not event.style)
        elif kind == "SequenceStartEvent":
            node = Items(line, [self._node(each, depth + 1) for each in self._until("SequenceEndEvent")])
        else:
            node = self._pairs(line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _pairs(self, line: int, depth: int) -> Pairs:
        pairs = Pairs(line)
        merged: list[Pairs] = []
        for event in self._until("MappingEndEvent"):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                raise TextError(key.line, "has a key that is not a text.")
            if key.text == _MERGE and key.is_plain:
                merged += self._merged(value)
            elif key.text in pairs.nodes:
                first = pairs.nodes[key.text].line
                self.twice.append(TextError(key.line, f"has {key.text!r} again, which is already on line {first}."))
            else:
                pairs.nodes[key.text] = Pair(key.line, value)
        for other in merged:
            self._counted(len(other.nodes), line)
            pairs.nodes.update({name: pair for name, pair in other.nodes.items() if name not in pairs.nodes})
        return pairs

    def _merged(self, node: Node) -> list[Pairs]:
        found = node.nodes if isinstance(node, Items) else [node]
        pairs = [each for each in found if isinstance(each, Pairs)]
        if len(pairs) != len(found):
            raise TextError(node.line, f"has {_MERGE} with something that is not a mapping.")
        return pairs

    def _until(self, end: str) -> Iterator[Any]:
        while type(event := next(self._events)).__name__ != end:
            yield event

    def _counted(self, count: int, line: int) -> None:
        self._count += count
        if self._count > _MOST_NODES:
            raise TextError(line, f"has more than {_MOST_NODES:,} values.")


def _whole(text: str) -> str:
    r"""JSON writes characters beyond the first plane in two halves, such as `\ud83d\ude00`."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
