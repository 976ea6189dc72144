"""What an event of a history did, in a few words. Pure."""

from collections.abc import Iterator
from typing import Final

from rampd import v1
from rampd._contract.wording import counted, one_line

_RISING: Final = ("CURRENT", "NEXT", "QUEUED")


def is_by_automation(event: v1.Event) -> bool:
    """Whether rampd itself did it. A person who claims that name did not."""
    return event.actor == "rampd" and not event.actor_claimed


def about_event(event: v1.Event) -> str:
    """Says in a few words what an event changed, and why, as one line."""
    note = one_line(event.note)
    if note and is_by_automation(event):
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
