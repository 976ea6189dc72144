"""The history of a component, entry by entry, with every field that changed. Pure."""

from dataclasses import dataclass
from datetime import datetime

from rampd import v1
from rampd._contract.wording import counted
from rampd._standing.clock import as_datetime
from rampd_server.page.charts.course import is_turn


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after."""

    field: str
    before: str
    """Empty: the field was absent, or at its default."""
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One event."""

    id: str
    at: datetime
    actor: str
    is_claimed: bool
    action: str
    note: str
    changes: tuple[Change, ...]
    bulk: str
    """`20 overrides`. Empty if it was no bulk change."""
    revision: int
    request_id: str
    is_turn: bool
    """Whether the charts mark it."""

    @property
    def anchor(self) -> str:
        """The id of the entry in the page."""
        return f"event-{self.id}"


def entry(event: v1.Event) -> Entry:
    """Returns the entry of an event."""
    return Entry(
        id=event.id,
        at=as_datetime(event.time),
        actor=event.actor,
        is_claimed=event.actor_claimed,
        action=event.action,
        note=event.note,
        changes=tuple(Change(change.field, change.before, change.after) for change in event.changes),
        bulk=counted(event.count, "override") if event.count else "",
        revision=event.revision,
        request_id=event.request_id,
        is_turn=is_turn(event),
    )
