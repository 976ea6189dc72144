"""The record of a run: what was asked, answered, written and seen, and which faults there were. It can be kept in a file.

All times are seconds of one monotonic clock, that of the process that records.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import Message

from rampd import v1

Overrides: TypeAlias = Mapping[str, tuple[str, str, int | None]]
"""Repo to channel, tag and expiry in ms."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client, with its answer or its error."""

    who: str
    server: int
    method: str
    request: Message
    began_s: float
    ended_s: float
    response: Message | None = None
    code: str = ""
    """The gRPC status of an error; empty if there is a response."""
    reason: str = ""
    message: str = ""

    @property
    def request_id(self) -> str:
        return getattr(self.request, "request_id", "")

    @property
    def component(self) -> str:
        return getattr(self.request, "component", "")

    @property
    def is_mutation(self) -> bool:
        return "request_id" in self.request.DESCRIPTOR.fields_by_name


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the feed, as the witness has read it from a store."""

    life: int
    """Of the store. It rises when the data of the store are replaced by older ones."""
    id: str
    fields: Mapping[str, str]
    author: Mapping[str, str]
    """The fields of the entry in the history; empty if the history has no such entry."""
    after_s: float
    """The store did not have the entry before this time."""
    by_s: float
    """The store had the entry at this time."""


@dataclass(frozen=True, slots=True)
class Life:
    """From now on the store has the data up to `head`, and whatever is written after that."""

    number: int
    head: str
    after_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Clock:
    """How far the store's clock was ahead of the clock of the record."""

    at_s: float
    ahead_ms: float


@dataclass(frozen=True, slots=True)
class Known:
    """One component as a watcher knows it."""

    revision: int
    state: str
    current: str
    next: str
    basis_points: int
    overrides: Overrides


@dataclass(frozen=True, slots=True)
class Watched:
    """What a watcher knows after one message."""

    who: str
    server: int
    at_s: float
    cursor: str
    components: Mapping[str, Known]
    confirmed_s: float
    """When the store confirmed this, as the watcher believes."""
    is_rewound: bool = False
    """Whether a rewind came since the last whole state."""
    problem: str = ""
    """Why the watcher could not use the message."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A disturbance. `server` is -1 for one of the store."""

    kind: str
    server: int
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class End:
    """What a server, or the store itself (server -1), has of a component when everything has become quiet."""

    server: int
    component: str
    at_s: float
    rollout: Message | None = None
    problem: str = ""


Event: TypeAlias = Call | Entry | Life | Clock | Watched | Fault | End


@dataclass(slots=True)
class Record:
    """All events of a run. Threads append to the lists."""

    seed: int = 0
    calls: list[Call] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    under_way: dict[int, Call] = field(default_factory=dict, compare=False)
    """Calls without an answer yet, by the thread that makes them. They are not in the file."""

    _LISTS: ClassVar[Mapping[type, str]] = {
        Call: "calls",
        Entry: "entries",
        Life: "lives",
        Clock: "clocks",
        Watched: "watched",
        Fault: "faults",
        End: "ends",
    }

    def add(self, event: Event) -> None:
        getattr(self, self._LISTS[type(event)]).append(event)

    def events(self) -> Iterator[Event]:
        for name in self._LISTS.values():
            yield from list(getattr(self, name))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"seed": self.seed}) + "\n")
            for event in self.events():
                file.write(json.dumps({"event": type(event).__name__} | _shown(event)) + "\n")


def load(path: Path) -> Record:
    """Reads what `Record.save` has written."""
    kinds = {kind.__name__: kind for kind in Record._LISTS}
    with path.open(encoding="utf-8") as file:
        record = Record(json.loads(next(file))["seed"])
        for line in file:
            values = json.loads(line)
            record.add(_read(kinds[values.pop("event")], values))
    return record


def line_of(event: Event) -> str:
    """Returns an event as one line for a person."""
    return f"{type(event).__name__} {json.dumps(_shown(event))}"


def _shown(event: Event) -> dict[str, Any]:
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    for name, value in values.items():
        if isinstance(value, Message):
            values[name] = json_format.MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(event, Watched):
        values["components"] = {name: asdict(known) for name, known in event.components.items()}
    return values


def _read(kind: type, values: dict[str, Any]) -> Event:
    messages = {"rollout": v1.Rollout}
    if kind is Call:
        method = values["method"]
        messages = {"request": getattr(v1, f"{method}Request"), "response": getattr(v1, f"{method}Response")}
    for name, message in messages.items():
        if isinstance(values.get(name), dict):
            values[name] = json_format.ParseDict(values[name], message())
    if kind is Watched:
        values["components"] = {name: _known(each) for name, each in values["components"].items()}
    return kind(**values)  # type: ignore[no-any-return]


def _known(values: dict[str, Any]) -> Known:
    overrides: dict[str, Sequence[Any]] = values.pop("overrides")
    return Known(**values, overrides={repo: tuple(choice) for repo, choice in overrides.items()})  # type: ignore[misc]
