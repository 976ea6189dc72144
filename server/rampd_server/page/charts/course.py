"""The course of a component: what was in force when, by its history. Pure.

The history says of each change what was before it. So the course is found from its end, which is the present state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from rampd import v1
from rampd._standing.clock import as_datetime

_SAID: Final = frozenset({"Confirm", "Hold", "Notify"})
"""Decisions that change no field that is shown."""
_TURNS: Final = frozenset({"state", "current", "next", "next_percent", "paused", "freeze", "trial"})
"""The fields whose change is a turn of the course."""


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force at one time."""

    release: int = 0
    """The number of next. 0: there is none."""
    tag: str = ""
    percent: float | None = None
    """That of next. None: there is none."""
    is_held: bool = False
    is_paused: bool = False
    is_frozen: bool = False
    is_all_frozen: bool = False
    """Whether everything is frozen, not only the component."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nothing changed. It ends where the next one begins."""

    start: datetime | None
    """None: before all events that are known."""
    what: InForce


def course(rollout: v1.Rollout, events: Iterable[v1.Event], *, is_cut: bool = False) -> list[Stretch]:
    """Returns the course in the order of time. `events`: those of the component and of the namespace, newest first. `is_cut`: there
    are earlier ones that are not among them, so what was before them is not known.
    """
    now, found = _present(rollout), []
    for event in events:
        before = _before(now, event)
        if before != now:
            found.append(Stretch(as_datetime(event.time), now))
            now = before
    if not is_cut or not found:
        found.append(Stretch(None, now))
    return found[::-1]


def highest(stretches: Sequence[Stretch], release: int) -> float:
    """Returns the highest percent that a release has had."""
    return max((each.what.percent or 0.0 for each in stretches if each.what.release == release), default=0.0)


def is_turn(event: v1.Event) -> bool:
    """Whether an event belongs to the course: a decision, a pause, a freeze, a rollback, but no change of overrides."""
    return event.action in _SAID or any(change.field in _TURNS for change in event.changes)


def _present(rollout: v1.Rollout) -> InForce:
    has_next = rollout.HasField("next")
    return InForce(
        release=rollout.next.number,
        tag=rollout.next.tag,
        percent=rollout.next_percent if has_next else None,
        is_held=rollout.state == v1.ROLLOUT_STATE_HELD,
        is_paused=rollout.paused,
        is_frozen=any(not freeze.all for freeze in rollout.freezes),
        is_all_frozen=any(freeze.all for freeze in rollout.freezes),
    )


def _before(after: InForce, event: v1.Event) -> InForce:
    """Returns what was in force before an event."""
    found = after
    for change in event.changes:
        # Absent: the field was absent, too.
        text = change.before
        match change.field:
            case "next":
                found = replace(found, release=_number(text))
            case "next_tag":
                found = replace(found, tag=text)
            case "next_percent":
                found = replace(found, percent=_percent(text))
            case "state":
                found = replace(found, is_held=text == "HELD")
            case "paused":
                found = replace(found, is_paused=text == "true")
            case "freeze" if event.component:
                found = replace(found, is_frozen=bool(text))
            case "freeze":
                found = replace(found, is_all_frozen=bool(text))
            case _:
                pass
    return found


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # there was none
        return 0


def _percent(text: str) -> float | None:
    try:
        percent = float(text)
    except ValueError:  # there was none
        return None
    return percent if 0 <= percent <= 100 else None
