"""The lists of a component's page: releases that wait or were current before, overrides, tags in quarantine. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from typing import Final

from rampd import v1
from rampd._standing.clock import as_datetime
from rampd_server.page.component.known import Quarantine
from rampd_server.page.verbs import Button, May, entry_button

_MOST_TAGS: Final = 50
"""How many tags in quarantine are listed. There may be 1,000, and each look of each tab draws what is listed."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A release in the queue, or one that was current before."""

    number: int
    tag: str
    actor: str
    at: datetime
    button: Button | None
    """Takes it out of the queue. None: this person may not, or it does not wait."""


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """An override."""

    repo: str
    to: str
    ends: datetime | None
    actor: str
    note: str
    at: datetime | None
    button: Button | None
    """Deletes it. None: this person may not."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A tag in quarantine."""

    tag: str
    role: str
    """`current` or `next`. Empty: neither."""
    actor: str
    note: str
    at: datetime
    button: Button | None
    """Takes it out of quarantine. None: this person may not."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What stands beneath a list."""

    refusal: str
    more: str
    """The address of what follows. Empty: nothing does."""
    newest: str
    """The address of the beginning. Empty: this is it."""


def waiting(release: v1.Release, button: Button | None = None) -> Waiting:
    """Returns the row of a release."""
    return Waiting(release.number, release.tag, release.actor, as_datetime(release.update_time), button)


def override_row(override: v1.Override, button: Button | None) -> OverrideRow:
    """Returns the row of an override."""
    channel = "next" if override.channel == v1.CHANNEL_NEXT else "current"
    return OverrideRow(
        repo=override.repo,
        to=f"the tag {override.tag}" if override.tag else channel,
        ends=as_datetime(override.expire_time) if override.HasField("expire_time") else None,
        actor=override.actor + (" (claimed)" if override.actor_claimed else ""),
        note=override.note,
        at=as_datetime(override.create_time) if override.HasField("create_time") else None,
        button=button,
    )


def quarantine(rollout: v1.Rollout, tags: Sequence[v1.QuarantinedTag]) -> Quarantine:
    """Returns what is listed of all tags in quarantine: those of current and next first, then the newest."""
    of_jobs = {rollout.next.tag, rollout.current.tag}

    def place(each: v1.QuarantinedTag) -> tuple[bool, int, int]:
        return each.tag not in of_jobs, -each.create_time.seconds, -each.create_time.nanos

    listed = nsmallest(_MOST_TAGS, tags, key=place)
    return Quarantine(listed, len(tags) - len(listed))


def quarantined(rollout: v1.Rollout, tags: Sequence[v1.QuarantinedTag], may: May) -> Iterator[QuarantineRow]:
    """Yields the rows of tags in quarantine."""
    roles = {rollout.next.tag: "next", rollout.current.tag: "current"}
    for each in tags:
        button = entry_button("Unquarantine", rollout, may, tag=each.tag)
        yield QuarantineRow(
            each.tag, roles.get(each.tag, ""), each.actor, each.note, as_datetime(each.create_time), button
        )
