"""The form of a verb, and what came of it, as templates show them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from rampd import v1
from rampd._contract.wording import counted
from rampd._standing.clock import Clock, as_datetime
from rampd._standing.event import about_event
from rampd_server.page.front import Row
from rampd_server.page.verb_fields import ON, Choice, Field, Kind


@dataclass(frozen=True, slots=True)
class Shown:
    """A field, with what was filled in."""

    field: Field
    text: str
    offers: Sequence[Choice]

    @property
    def kind(self) -> Kind:
        """How it is shown."""
        return self.field.kind

    @property
    def is_ticked(self) -> bool:
        """Whether a box has its tick."""
        return self.text == ON


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The answer of a dry run."""

    message: str
    has_effect: bool
    """Whether anything would change."""
    moved: str
    """How many repos would get another version. Empty if no repos were seen lately."""
    moves: Sequence[v1.RepoMove]
    dropped: str
    """Says that a Ramp that nobody has confirmed would stay. Empty if there is none, or if it would go back still."""


class Entry(NamedTuple):
    """A change that somebody else has made."""

    at: datetime
    actor: str
    action: str
    about: str
    """What it changed, and why, in a few words. May be empty."""


@dataclass(frozen=True, slots=True)
class News:
    """What has changed since the person looked."""

    revision: int
    """That which the person saw."""
    tag: str
    """Next, as the person saw it. Empty if the verb is not about next."""
    entries: Sequence[Entry]
    """The changes since, newest first. Empty if they are not known."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a verb."""

    label: str
    tone: str
    path: str
    component: str
    """Empty: all components."""
    stands: Row | None
    """How the component stands now."""
    fields: Sequence[Shown]
    note: str
    hidden: Mapping[str, str]
    """What the form carries: what the person sees, and the id of the request."""
    said: str
    """Why what was sent before was not done. Empty: nothing was sent."""
    news: News | None
    foreseen: Foreseen | None
    """None: something has to be filled in first, or the server would refuse."""
    refusal: str
    """Why the server would refuse. Empty: it would not."""

    @property
    def can_do(self) -> bool:
        """Whether there is a button that does it."""
        return self.foreseen is not None and self.foreseen.has_effect


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    label: str
    component: str
    """Empty: all components."""
    message: str
    is_repeat: bool
    """Whether the form was sent before, and this changed nothing more."""
    stands: Row | None


def shown(fields: Iterable[Field], given: Mapping[str, str], rollout: v1.Rollout) -> list[Shown]:
    """Returns the fields of a form. What was filled in can be chosen, even if it is not offered any more."""
    found = []
    for field in fields:
        text, offers = field.text(given), list(field.offers(rollout))
        if field.kind is Kind.CHOICE and text not in {choice.value for choice in offers}:
            offers.insert(0, Choice(text, text or "choose"))
        found.append(Shown(field, text, offers))
    return found


def foreseen(answer: Any, before: v1.Rollout, clock: Clock) -> Foreseen:  # noqa: ANN401 - the answer of any change
    """Returns what a dry run says. `before`: the component as it is now."""
    is_ramp = isinstance(answer, v1.RampResponse)
    return Foreseen(
        answer.message,
        answer.changed,
        _moved(answer.preview),
        answer.preview.moves,
        dropped=_dropped(before, answer.rollout, clock) if is_ramp else "",
    )


def _dropped(before: v1.Rollout, after: v1.Rollout, clock: Clock) -> str:
    if not before.HasField("confirm_deadline") or after.HasField("confirm_deadline"):
        return ""
    return f"The way back to 0 % at {clock.time(before.confirm_deadline)} is dropped: nobody has to confirm any more."


def _moved(preview: v1.Preview) -> str:
    if not preview.repos_seen:
        return ""
    about = "about " if preview.estimated else ""
    return (
        f"Of the {about}{counted(preview.repos_seen, 'repo')} that rampd saw in the last day, "
        f"{about}{preview.repos_moved:,} would get another version."
    )


def entry(event: v1.Event) -> Entry:
    """Returns a change of the history."""
    actor = f"{event.actor} (claimed)" if event.actor_claimed else event.actor
    return Entry(as_datetime(event.time), actor, event.action, about_event(event))
