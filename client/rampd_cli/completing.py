"""The names that a shell offers while a person types: those that the server has now. Without an answer there are none."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from rampd_cli.profiles import read_profiles
from rampd_cli.session import Session, Settings

if TYPE_CHECKING:
    from rampd import Admin

WITHIN_S = 0.6
"""How long the server has for all answers. With the start of Python, a person waits for less than a second."""
MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Question:
    """What a person has typed so far."""

    session: Session
    component: str
    incomplete: str
    until: float
    """When the time is over, by the monotonic clock."""

    @property
    def admin(self) -> "Admin":
        # `explain` takes several servers.
        return self.session.admin_of(self.session.places()[0])

    @property
    def timeout(self) -> float:
        return max(self.until - time.monotonic(), 0.001)


def names(ctx: click.Context, kind: str, incomplete: str) -> list[str]:
    """Returns the names that begin with what was typed, 200 at most. `kind` is a key of KINDS."""
    from rampd.errors import RampdError  # noqa: PLC0415 - it is slow to import

    found: dict[str, None] = {}
    # With an unfinished line, a value that is wrong or missing is None.
    component = ctx.params.get("component") or ""
    # Nobody reads an error while typing. The command tells it.
    with Session(Settings.of(ctx)) as session, suppress(RampdError, click.ClickException, OSError):
        question = Question(session, component, incomplete, time.monotonic() + WITHIN_S)
        for name in KINDS[kind](question):
            if name.startswith(incomplete) and _is_word(name):
                found[name] = None
            if len(found) >= MOST or time.monotonic() > question.until:
                break
    return list(found)


def _is_word(name: str) -> bool:
    """Whether it is one word of printable ASCII. A server sends no other one; a script reads the answers line by line."""
    return name != "" and name.isascii() and name.isprintable() and " " not in name


def _components(question: Question) -> Iterator[str]:
    for rollout in question.admin.list_rollouts(page_size=1000, timeout=question.timeout):
        yield rollout.component


def _tags(question: Question) -> Iterator[str]:
    """The tags that are in use first, then those of earlier releases."""
    if not question.component:
        return
    rollout = question.admin.get_rollout(question.component, timeout=question.timeout)
    for each in (rollout.next, rollout.current, *rollout.queue, *rollout.previous):
        yield each.tag
    for release in question.admin.list_releases(question.component, page_size=1000, timeout=question.timeout):
        yield release.tag


def _next(question: Question) -> Iterator[str]:
    """The only tag that the guard `--tag` lets through."""
    return iter([question.admin.get_rollout(question.component, timeout=question.timeout).next.tag])


def _previous(question: Question) -> Iterator[str]:
    """The tags to which `revert` can go back, the newest first."""
    rollout = question.admin.get_rollout(question.component, timeout=question.timeout)
    return (each.tag for each in rollout.previous if each.tag != rollout.current.tag)


def _queued(question: Question) -> Iterator[str]:
    rollout = question.admin.get_rollout(question.component, timeout=question.timeout)
    return (each.tag for each in rollout.queue)


def _quarantined(question: Question) -> Iterator[str]:
    listed = question.admin.list_quarantine(question.component, page_size=1000, timeout=question.timeout)
    return (each.tag for each in listed)


def _repos(question: Question) -> Iterator[str]:
    """Repos with an override: the only ones that the server lists."""
    overrides = question.admin.list_overrides(
        question.component, prefix=question.incomplete, page_size=MOST, timeout=question.timeout
    )
    return (each.repo for each in overrides)


def _profiles(_question: Question) -> Iterator[str]:
    return iter(read_profiles().by_name)


def _servers(_question: Question) -> Iterator[str]:
    return (profile.server for profile in read_profiles().by_name.values())


KINDS: Final[Mapping[str, Callable[[Question], Iterator[str]]]] = {
    "component": _components,
    "tag": _tags,
    "next": _next,
    "previous": _previous,
    "queued": _queued,
    "quarantined": _quarantined,
    "repo": _repos,
    "profile": _profiles,
    "server": _servers,
}
