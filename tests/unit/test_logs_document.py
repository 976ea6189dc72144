"""docs/observability/logs.md lists every event of the server's log, with its level and its fields, and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "observability" / "logs.md").read_text()

LOGGERS = {"log", "_log"}
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
OF_AN_OUTAGE = ("warning", {"error", "for_s"}), ("info", {"after_s"})


class Event(NamedTuple):
    name: str
    level: str
    fields: frozenset[str]


def events_of(code: str) -> Iterator[Event]:
    for call in ast.walk(ast.parse(code)):
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=logger), attr=level)) if (
                logger in LOGGERS and level in LEVELS
            ):
                name = call.args[0]
                fields = {each.arg for each in call.keywords if each.arg not in {None, "exc_info"}}
                if isinstance(name, ast.Constant):
                    yield Event(name.value, LEVELS[level], frozenset(fields))
                else:
                    yield Event(f"not constant: {ast.unparse(call)}", "", frozenset())
            case ast.Call(func=ast.Name(id="Outage" | "Outages")):
                # They log the begin and the end, with the fields that tell what is away.
                more = {each.arg for each in call.keywords} - {"monotonic"}
                more |= {each.value for names in call.args[2:] for each in names.elts}
                for name, (level, own) in zip(call.args, OF_AN_OUTAGE, strict=False):
                    yield Event(name.value, level, frozenset(own | more))


def found() -> dict[str, Event]:
    events: dict[str, Event] = {}
    for path in sorted((ROOT / "server").rglob("*.py")):
        if path.name == "outage.py":
            continue  # it logs the events that others name
        for event in events_of(path.read_text()):
            known = events.get(event.name, event)
            level = known.level if event.level in known.level.split(", ") else f"{known.level}, {event.level}"
            events[event.name] = Event(event.name, level, known.fields | event.fields)
    return events


def listed() -> dict[str, Event]:
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| (.*?) \| .+? \| .+? \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == len({name for name, *_ in rows}), "an event is there twice"
    return {name: Event(name, level, frozenset(re.findall(r"`(\w+)`", fields))) for name, level, fields in rows}


def test_the_document_lists_every_event_with_its_level_and_its_fields_and_nothing_else() -> None:
    there, written = found(), listed()
    missing = [f"add     {there[name]}" for name in sorted(there.keys() - written.keys())]
    gone = [f"remove  {name}" for name in sorted(written.keys() - there.keys())]
    wrong = [
        f"correct {written[name]} to {there[name]}"
        for name in sorted(there.keys() & written.keys())
        if there[name] != written[name]
    ]
    assert not (changes := [*missing, *gone, *wrong]), "\n".join(["in docs/observability/logs.md:", *changes])


def test_events_are_found_whatever_their_logger_and_level() -> None:
    code = '_log.exception("broke", a=1, exc_info=e)\nlog.debug("waits")\nOutage("lost", "found", x=y, monotonic=z)\nOutages("gone", "back", ("which",))\nother.info("no")'
    assert list(events_of(code)) == [
        Event("broke", "error", frozenset({"a"})),
        Event("waits", "debug", frozenset()),
        Event("lost", "warning", frozenset({"error", "for_s", "x"})),
        Event("found", "info", frozenset({"after_s", "x"})),
        Event("gone", "warning", frozenset({"error", "for_s", "which"})),
        Event("back", "info", frozenset({"after_s", "which"})),
    ]
