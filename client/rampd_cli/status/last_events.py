"""The last events of a component, a line each. `rampd history` shows all of them in full. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, one_line
from rampd._standing.clock import Clock
from rampd_cli.drawing import palette
from rampd_cli.drawing.columns import GAP, aligned
from rampd_cli.drawing.short import shortened

_AUTOMATION: Final = "rampd"
_LEAST_ABOUT: Final = 24
_RISING: Final = ("CURRENT", "NEXT", "QUEUED")


def last_events(events: Sequence[v1.Event], clock: Clock, width: int) -> Iterator[Text]:
    """Yields the lines. What an event is about is cut at the end of the line; if there is little room, it gets its own line."""
    rows = [[Text(clock.short(event.time), style=palette.FAINT), Text(shortened(event.actor, 16))] for event in events]
    actions = [Text(one_line(event.action), style=palette.TITLE) for event in events]
    heads = aligned([[*row, action] for row, action in zip(rows, actions, strict=True)])
    taken = max((head.cell_len for head in heads), default=0) + GAP
    if width - taken >= _LEAST_ABOUT:
        for head, event in zip(heads, events, strict=True):
            about = about_event(event)
            yield _cut(head.append(" " * (taken - head.cell_len)).append(about) if about else head, width)
        return
    for head, action, event in zip(aligned(rows), actions, events, strict=True):
        yield _cut(head, width)
        yield _cut(Text("  ").append_text(action).append(f" {about_event(event)}"), width)


def _cut(line: Text, width: int) -> Text:
    line.truncate(max(width, 1), overflow="ellipsis")
    line.rstrip()
    return line


def about_event(event: v1.Event) -> str:
    """Says in a few words what an event changed, and why, as one line."""
    note = one_line(event.note)
    if event.actor == _AUTOMATION and not event.actor_claimed and note:
        return note
    said = [*_changes(event)]
    if event.count:
        said.append(counted(event.count, "override"))
    return " ".join(filter(None, (", ".join(map(one_line, said)), f'"{note}"' if note else "")))


def _changes(event: v1.Event) -> Iterator[str]:
    policy = [change.field.removeprefix("policy.") for change in event.changes if change.field.startswith("policy.")]
    if policy and len(policy) == len(event.changes):
        yield ", ".join(policy)
        return
    yield from _releases(event)
    is_same_next = all(change.field != "next" for change in event.changes)
    for change in event.changes:
        kind, _, name = change.field.partition("/")
        if change.field == "next_percent" and change.before and change.after and is_same_next:
            yield f"{change.before} % → {change.after} %"
        elif kind == "override":
            yield f"{name} → {change.after or 'none'}"
        elif kind == "quarantine":
            # Who did it and why are the actor and the note of the event.
            yield f"{name} {'in' if change.after else 'out of'} quarantine"


def _releases(event: v1.Event) -> list[str]:
    """`2.0 CURRENT`, then `1.0 RETIRED`: the version that comes is before the one that goes. Why one goes is what the event did, so
    the line says it already.
    """
    texts = [change.after.partition(": ")[0] for change in event.changes if change.field.startswith("release/")]
    states = {text: text.rpartition(" ")[2] for text in texts if text}
    return sorted(states, key=lambda text: _RISING.index(states[text]) if states[text] in _RISING else len(_RISING))
