"""The lines of an export, written and read. docs/backup.md has the format.

1. a JSON object about the whole, which begins with `rampd_export`, the version of the format;
2. the components and the tombstones of deleted ones, as `storage/codec/component_lines.py` writes them;
3. with the history: pieces of the histories, and of who set the overrides;
4. the number of the lines before, and their SHA-256, so that a file that was cut off is refused.
"""

import hashlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rampd._contract.grammar import COMPONENT, REPO, word_violation
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.wording import counted, moment
from rampd_server.ports import Namespace, Override, entry_order
from rampd_server.storage.codec import component_lines, feed_entry, history, texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.exporting import RawEvent
from rampd_server.storage.limits import MAX_COMPONENTS, MAX_OVERRIDES
from rampd_server.storage.schema import SCHEMA

FORMAT: Final = 1
_MAX_NUMBER: Final = 1 << 53
"""Up to here Lua counts exactly."""
_MAX_TIME_MS: Final = 1 << 52
"""The store goes on after this one, so there must be room."""
_FORMAT, _HISTORY, _ORIGINS, _LINES = "rampd_export", "history", "origins", "lines"


class InputError(Exception):
    """Raised when the input can't be imported. `sentences` say what is wrong with it, and what to do."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


@dataclass(frozen=True, slots=True)
class About:
    """What an export says of itself."""

    namespace: str
    epoch: str
    entry: str
    """The newest entry of the feed that the export has: it has everything up to this one, and nothing later."""
    time_ms: int
    """When the export began, by the store's clock."""
    shared: Namespace = field(default_factory=Namespace)


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be imported."""

    about: About
    note: str
    """Where it comes from, for the history."""
    components: Sequence[tuple[Rollout, Mapping[str, Override]]]
    gone: Sequence[Absent] = ()
    events: Mapping[str, Sequence[RawEvent]] = field(default_factory=dict)
    """The history of each component, oldest first; that of the namespace itself has the name ""."""
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each component: repo to the id of the event that set its override."""
    is_table: bool = False
    """Whether it says nothing of a component but its tags and the percentage of next."""


class Writer:
    """Writes the lines one after the other. `write` gets each line as bytes."""

    def __init__(self, write: Callable[[bytes], object], about: About) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self._lines = 0
        freeze = about.shared.freeze
        self.put(
            {
                _FORMAT: FORMAT,
                "schema": SCHEMA,
                "namespace": about.namespace,
                "epoch": about.epoch,
                "entry": about.entry,
                "time_ms": about.time_ms,
                "freeze": None if freeze is None else texts.write_freeze(freeze),
            }
        )

    def component(self, rollout: Rollout | Absent, overrides: Iterable[tuple[str, Override]] = ()) -> None:
        for line in component_lines.write(rollout, overrides):
            self._put(line)

    def events(self, component: str, events: Sequence[RawEvent]) -> None:
        self.put({_HISTORY: component, "events": events})

    def origins(self, component: str, origins: Mapping[str, str]) -> None:
        self.put({_ORIGINS: component, "repos": origins})

    def end(self) -> None:
        """Writes the last line."""
        self.put({_LINES: self._lines, "sha256": self._digest.hexdigest()})

    def put(self, value: Mapping[str, object]) -> None:
        self._put(component_lines.line(value))

    def _put(self, line: bytes) -> None:
        self._write(line)
        self._digest.update(line)
        self._lines += 1


def require_fitting(content: Content) -> None:
    """Raises InputError if the content is more than a namespace may have."""
    for number, noun, most in (
        (len(content.components), "component", MAX_COMPONENTS),
        (max((len(overrides) for _, overrides in content.components), default=0), "override", MAX_OVERRIDES),
    ):
        if number > most:
            where = "a namespace" if noun == "component" else "a component"
            raise InputError(
                f"The input has {counted(number, noun)}, and {where} may have at most {most:,}. Nothing was written."
            )


def is_export(content: bytes) -> bool:
    """Whether the content is an export, whole or not, and not a table. An editor may have put a mark before it."""
    return content.removeprefix(BOM_UTF8).startswith(b'{"%s":' % _FORMAT.encode())


def read(content: bytes) -> Content:
    """Reads an export. Raises InputError."""
    lines = content.splitlines(keepends=True)
    _check_whole(content, lines)
    try:
        first, *values = (texts.read_object(line.decode()) for line in lines[:-1])
        return _read(_read_about(first), values)
    except (MalformedError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise InputError(f"The input is not what rampd wrote: {exc!r}. Give an export as it was written.") from exc


def _check_whole(content: bytes, lines: Sequence[bytes]) -> None:
    try:
        last = texts.read_object(lines[-1].decode())
        number, digest = last[_LINES], last["sha256"]
    except (ValueError, KeyError):
        raise InputError(
            "The input is not a whole export: it was cut off. Its last line must say how many lines there are. Nothing was "
            "written. Give the whole file, or export again."
        ) from None
    end = len(content) - len(lines[-1])
    if number != len(lines) - 1 or hashlib.sha256(content[:end]).hexdigest() != digest:
        raise InputError(
            "The input was changed or damaged after the export: its checksum does not fit. Nothing was written. Give an export "
            "as it was written."
        )


def _read_about(first: Mapping[str, Any]) -> About:
    if first[_FORMAT] != FORMAT or first["schema"] > SCHEMA:
        raise InputError(
            f"The input is of a later rampd (format {first[_FORMAT]}, schema {first['schema']}; this one reads format {FORMAT} and "
            f"up to schema {SCHEMA}). Nothing was written. Import it with that version of rampd-server."
        )
    return About(
        namespace=str(first["namespace"]),
        epoch=str(first["epoch"]),
        entry=str(first["entry"]),
        time_ms=texts.read_integer(str(first["time_ms"])),
        shared=feed_entry.read_namespace(first["freeze"]),
    )


def _read(about: About, values: Sequence[Mapping[str, Any]]) -> Content:
    events: dict[str, list[RawEvent]] = {}
    origins: dict[str, dict[str, str]] = {}
    rest = []
    for value in values:
        if _HISTORY in value:
            events.setdefault(value[_HISTORY], []).extend(
                (str(entry_id), fields) for entry_id, fields in value["events"]
            )
        elif _ORIGINS in value:
            origins.setdefault(value[_ORIGINS], {}).update(value["repos"])
        else:
            rest.append(value)
    components: list[tuple[Rollout, Mapping[str, Override]]] = []
    gone: list[Absent] = []
    for whole in component_lines.gather(rest):
        rollout, overrides = component_lines.read(whole)
        if wrong := word_violation(COMPONENT, rollout.component, required=True):
            raise ValueError(f"component: {wrong}")
        for repo in overrides:
            if not REPO.matches(repo):
                raise ValueError(f"overrides of {rollout.component}: {word_violation(REPO, repo, required=True)}")
        if isinstance(rollout, Rollout):
            components.append((rollout, overrides))
        else:
            gone.append(rollout)
    names = [each.component for each, _ in components] + [each.component for each in gone]
    if len(set(names)) < len(names) or not {*events, *origins} <= {"", *names}:
        raise ValueError("a component is there twice, or a history has no component")
    states: list[Rollout | Absent] = [*(rollout for rollout, _ in components), *gone]
    for entry_id in (each.entry for each in states if each.entry):
        _order(entry_id)
    for component, entries in events.items():
        before = (0, 0)
        for entry_id, fields in entries:
            history.read_event(component, entry_id, fields)
            order = _order(entry_id)
            if order <= before:
                raise ValueError(
                    f"history of {component or 'the namespace'}: {entry_id} is not later than the event before it"
                )
            before = order
    for entry_id in (each for repos in origins.values() for each in repos.values()):
        _order(entry_id)
    note = f"from namespace {about.namespace}, as of {moment(about.time_ms)}"
    return Content(about, note, components, gone, events, origins)


def _order(entry_id: str) -> tuple[int, int]:
    """Reads an id. Raises ValueError if the store could not go on after it."""
    order = entry_order(texts.read_entry_id(entry_id))
    if order > (_MAX_TIME_MS, 0) or order[1] > _MAX_NUMBER:
        raise ValueError(f"is {entry_id!r}, which is later than any clock")
    return order
