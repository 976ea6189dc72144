"""Reads from the API what the page shows, in the name of the person who looks."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Final, NamedTuple

from google.rpc import code_pb2

from rampd import v1
from rampd._standing.clock import as_datetime
from rampd._standing.standing import urgency
from rampd_server.page.charts.course import Stretch, course
from rampd_server.page.person import Person
from rampd_server.page.turns import in_turns
from rampd_server.replica.replica import Replica
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.messages.convert import freeze_message

MOST_WITH_JOBS: Final = 40
"""Of how many components the front page shows the jobs of their trial: the most urgent ones, because each costs a call."""
_PAGE: Final = 250
_AT_A_TIME: Final = 100
"""How many components are looked at before other tasks get a turn. They take about a millisecond."""
_AT_ONCE: Final = 8
_MOST_OF_COURSE: Final = 100
"""Of how many events the small line of a row is drawn."""
_DAMAGED: Final = v1.ErrorReason.Name(v1.ERROR_REASON_STORE_CORRUPT).removeprefix("ERROR_REASON_")


def freeze_of_everything(replica: Replica) -> v1.FreezeStatus | None:
    """Returns the freeze of everything, if one is in force. It is there also for a person who sees no component."""
    freeze = replica.namespace.freeze
    if freeze is None or not freeze.is_in_force(replica.likely_ms()):
        return None
    return freeze_message(freeze, is_all=True)


async def rollout(person: Person, component: str) -> v1.Rollout:
    """Returns one component, with the jobs of its trial. Raises CallError."""
    return (await person.ask(v1.GetRolloutRequest(component=component), v1.GetRolloutResponse)).rollout


async def one(person: Person, component: str) -> v1.Rollout:
    """Returns one component. If its data can't be read, the rollout says only that. Raises CallError."""
    try:
        return await rollout(person, component)
    except CallError as error:
        if error.reason != _DAMAGED:
            raise
        return v1.Rollout(component=component, damage=v1.Damage(problem=error.status.message))


class Everything(NamedTuple):
    """All components, with the jobs of current."""

    rollouts: Sequence[v1.Rollout]
    moving: Mapping[str, v1.Rollout]
    """Those with the jobs of their trial, too: the most urgent ones. By their names."""


async def everything(person: Person) -> Everything:
    """Returns all components. Raises CallError."""
    found = await listed(person)
    places = [place(each) async for each in in_turns(found, _AT_A_TIME)]
    detailed = {each.component: each for each in await some(person, moving(places))}
    return Everything([detailed.get(each.component, each) for each in found], detailed)


Place = tuple[int, str]
"""Where a component stands among others: its kind, and its name."""


def place(rollout: v1.Rollout) -> Place | None:
    """Returns the place of a component of which the page shows the jobs of a trial. None: there is no trial."""
    if not rollout.HasField("next") or rollout.HasField("damage"):
        return None
    return urgency(rollout)


def moving(places: Iterable[Place | None]) -> list[str]:
    """Returns the components of which the page shows the jobs of a trial, the most urgent first."""
    return [component for _, component in nsmallest(MOST_WITH_JOBS, filter(None, places))]


async def some(person: Person, components: Iterable[str]) -> list[v1.Rollout]:
    """Returns those of some components that are there; one that can't be read says so. Raises CallError."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def found(component: str) -> v1.Rollout | None:
        async with turn:
            try:
                return await one(person, component)
            except CallError as error:
                if error.status.code != code_pb2.NOT_FOUND:
                    raise
                return None

    return [each for each in await asyncio.gather(*map(found, components)) if each is not None]


async def listed(person: Person) -> list[v1.Rollout]:
    """Returns all components, with the jobs of current. Raises CallError."""
    request = v1.ListRolloutsRequest(page_size=_PAGE, current_outcomes=True)
    found: list[v1.Rollout] = []
    while True:
        answer = await person.ask(request, v1.ListRolloutsResponse)
        found += answer.rollouts
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def courses(person: Person, rollouts: Iterable[v1.Rollout]) -> dict[str, list[Stretch]]:
    """Returns the course of each rollout since its next became next, as far as its newest events tell it. Empty: they can't be read."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def found(each: v1.Rollout) -> list[Stretch]:
        async with turn:
            # A clock of a server made this time, and that of the store the time of the event.
            since = as_datetime(each.next.update_time) - timedelta(seconds=1)
            try:
                newest = await events(person, each.component, _MOST_OF_COURSE, since)
                return course(each, newest, is_cut=len(newest) == _MOST_OF_COURSE)
            except CallError:  # it is gone, for example: better a page without its line than no page
                return []

    under_way = [each for each in rollouts if each.HasField("next")]
    made = await asyncio.gather(*map(found, under_way))
    return {each.component: stretches for each, stretches in zip(under_way, made, strict=True)}


async def events(person: Person, component: str, most: int, since: datetime | None = None) -> list[v1.Event]:
    """Returns the newest events, newest first: since a moment, at most so many. `component` is empty for those of the namespace.
    Raises CallError.
    """
    # The id of an event begins with its time.
    after = "" if since is None else f"{max(int(since.timestamp() * 1000), 0)}-0"
    request = v1.ListEventsRequest(component=component, page_size=min(most, _PAGE), after=after)
    found: list[v1.Event] = []
    while len(found) < most:
        answer = await person.ask(request, v1.ListEventsResponse)
        found += answer.events
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    return found[:most]
