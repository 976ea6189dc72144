"""An event of a history in a pipe: one row, with its changes in words."""

from typing import Final

from rampd import v1
from rampd._contract.wording import counted, one_line

_NOTHING: Final = "none"


def row(event: v1.Event) -> tuple[str, ...]:
    """Returns the columns of `rampd history`. Times are in UTC."""
    return (
        event.time.ToJsonString(),
        event.component,
        event.actor,
        "yes" if event.actor_claimed else "no",
        event.action,
        event.note,
        "; ".join(changes_of(event)),
        str(event.revision),
        event.id,
    )


def changes_of(event: v1.Event) -> list[str]:
    """Returns what an event changed, each field as `next_percent: 10 % -> 25 %`."""
    if event.count:
        return [counted(event.count, "override")]
    return [f"{one_line(change.field)}: {_before(change)} -> {_after(change)}" for change in event.changes]


def _before(change: v1.FieldChange) -> str:
    return one_line(change.before) if change.HasField("before") else _NOTHING


def _after(change: v1.FieldChange) -> str:
    return one_line(change.after) if change.HasField("after") else _NOTHING
