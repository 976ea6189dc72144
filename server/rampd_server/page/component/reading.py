"""Reads from the API what the page of one component shows, in the name of the person who looks."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from heapq import merge
from typing import Final, TypeVar

from google.rpc import code_pb2

from rampd import v1
from rampd._standing.candidates import candidates
from rampd._standing.explanation import Explanation
from rampd._standing.failing import LEAST_RATE, failing_one, usual_rate
from rampd_server.domain.errors import RampdError
from rampd_server.domain.evidence.samples import Sample
from rampd_server.domain.repo_sample import RepoSample
from rampd_server.page import reading
from rampd_server.page.charts.axis import Axis, axis_of
from rampd_server.page.charts.course import course, highest
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.blast import Reach, reach
from rampd_server.page.component.known import Events, Explained, Known, Lasting, Overrides, Quarantine
from rampd_server.page.component.lists import quarantine
from rampd_server.page.person import Person
from rampd_server.replica.replica import Replica
from rampd_server.rpc.call_error import CallError

_LISTED: Final = 50
"""How many events and overrides a page lists."""
_MOST_EVENTS: Final = 300
"""How many events the charts look at. An open tab keeps them."""
_PAGE: Final = 1_000
_SAYS_S: Final = 2.0
_SAYS_AGAIN: Final = timedelta(seconds=20)
"""What automation waits for is asked again after this time, or with the next change."""

_Found = TypeVar("_Found")

Samples = Callable[[str], Awaitable[Sequence[Sample]]]
"""Returns the counters of a component over time."""
Seen = Callable[[str], Awaitable[RepoSample]]
"""Returns the repos of a component that were seen in the last day."""


class ComponentReading:
    """Reads one component again and again for one person."""

    def __init__(
        self, person: Person, component: str, asked: Asked, *, replica: Replica, samples: Samples, seen: Seen
    ) -> None:
        """`samples` and `seen` look at nobody's rights. They are asked only for a component that this person may see."""
        self._person = person
        self._component = component
        self._asked = asked
        self._replica = replica
        self._samples = samples
        self._seen = seen
        self._namespace: object = None
        """A freeze of everything is here, and in the charts. It is a change of no component."""
        self._troubles: list[str] = []

    async def read(self, now: datetime, before: Known | None = None) -> Known:
        """Returns what the page shows. `before`: what was read before, if the component has not changed since then. Raises
        CallError: there is no such component for this person, or it can't be read now. What else can't be read is left out.
        """
        # Taken before the reading, so that a freeze that comes meanwhile is read again.
        is_same_namespace, self._namespace = self._namespace is self._replica.namespace, self._replica.namespace
        rollout = await reading.one(self._person, self._component)
        self._troubles = []
        # What could not be read is not known to be the same.
        if before and (before.troubles or not is_same_namespace or before.rollout.revision != rollout.revision):
            before = None
        axis = axis_of(rollout, self._asked.span, now)
        if not rollout.HasField("current"):
            history = await self._tried(self._history(""), Events())
            return Known(rollout, axis, lasting=Lasting(newest=history.events, history=history))
        if before is not None and before.said_at is not None and now - before.said_at < _SAYS_AGAIN:
            says, said_at = _same(before.says), before.said_at
        else:
            says, said_at = self._tried(self._says(rollout), ""), now
        said, release, lasting = await asyncio.gather(
            says,
            self._tried(self._release(rollout), None),
            self._lasting(rollout, axis) if before is None else _same(before.lasting),
        )
        # Where no job was counted, there is no new sample.
        is_same = before is not None and _jobs(before.rollout, before.release) == _jobs(rollout, release)
        samples = before.samples if before and is_same else await self._tried(self._samples(self._component), ())
        return Known(
            rollout,
            axis,
            says=said,
            said_at=said_at,
            release=release,
            samples=samples,
            lasting=lasting,
            troubles=tuple(dict.fromkeys(self._troubles)),
        )

    async def _tried(self, read: Awaitable[_Found], otherwise: _Found) -> _Found:
        try:
            return await read
        except CallError as error:
            self._troubles.append(error.status.message)
        except RampdError as error:
            self._troubles.append(error.message)
        return otherwise

    async def _says(self, rollout: v1.Rollout) -> str:
        """What WatchRelease says first about next, which is what automation waits for."""
        if not rollout.HasField("next"):
            return ""
        request = v1.WatchReleaseRequest(component=self._component, release=rollout.next.number)
        found = await self._person.first(request, v1.WatchReleaseResponse, within_s=_SAYS_S)
        return "" if found is None else found.message

    async def _release(self, rollout: v1.Rollout) -> v1.Release | None:
        if not rollout.HasField("next"):
            return None
        request = v1.GetReleaseRequest(component=self._component, release=rollout.next.number)
        return (await self._person.ask(request, v1.GetReleaseResponse)).release

    async def _lasting(self, rollout: v1.Rollout, axis: Axis) -> Lasting:
        asked = self._asked
        newest, overrides, in_quarantine, policy = await asyncio.gather(
            self._tried(self._history(""), Events()),
            self._tried(self._overrides(), Overrides()),
            self._tried(self._quarantine(rollout), Quarantine()),
            self._tried(self._policy(), v1.Policy()),
        )
        history, (of_axis, is_cut), usual, explained = await asyncio.gather(
            _same(newest) if asked.is_history_newest else self._tried(self._listed_history(), Events()),
            self._tried(self._of_axis(newest, axis), (newest.events, bool(newest.token))),
            self._tried(self._usual_rate(rollout), LEAST_RATE),
            self._tried(self._explained(rollout), None),
        )
        most = highest(course(rollout, of_axis), rollout.next.number)
        return Lasting(
            newest=newest.events,
            of_axis=of_axis,
            is_cut=is_cut,
            history=history,
            overrides=overrides,
            quarantine=in_quarantine,
            policy=policy,
            usual_rate=usual,
            highest=most,
            reach=await self._tried(self._reach(rollout, most), None),
            explained=explained,
        )

    async def _history(self, token: str) -> Events:
        request = v1.ListEventsRequest(component=self._component, page_size=_LISTED, page_token=token)
        answer = await self._person.ask(request, v1.ListEventsResponse)
        return Events(answer.next_page_token, events=answer.events)

    async def _listed_history(self) -> Events:
        try:
            return await self._history(self._asked.history_token)
        except CallError as error:
            return Events(refusal=_refusal(error))

    async def _of_axis(self, newest: Events, axis: Axis) -> tuple[Sequence[v1.Event], bool]:
        """Returns the events of the component and of the namespace, newest first, and whether the component has earlier ones."""
        of_all = reading.events(self._person, "", _MOST_EVENTS, axis.start)
        if not newest.token:
            return _newest_first(newest.events, await of_all), False
        own = reading.events(self._person, self._component, _MOST_EVENTS, axis.start)
        found, others = await asyncio.gather(own, of_all)
        return _newest_first(found, others), len(found) == _MOST_EVENTS

    async def _overrides(self) -> Overrides:
        asked = self._asked
        request = v1.ListOverridesRequest(
            component=self._component, page_size=_LISTED, prefix=asked.prefix, page_token=asked.overrides
        )
        try:
            answer = await self._person.ask(request, v1.ListOverridesResponse)
        except CallError as error:
            return Overrides(refusal=_refusal(error))
        return Overrides(answer.next_page_token, overrides=answer.overrides)

    async def _quarantine(self, rollout: v1.Rollout) -> Quarantine:
        request = v1.ListQuarantineRequest(component=self._component, page_size=_PAGE)
        return quarantine(rollout, (await self._person.ask(request, v1.ListQuarantineResponse)).tags)

    async def _policy(self) -> v1.Policy:
        return (await self._person.ask(v1.GetPolicyRequest(component=self._component), v1.GetPolicyResponse)).policy

    async def _usual_rate(self, rollout: v1.Rollout) -> float:
        """What the list of all components compares with, so that both name the same ones."""
        return LEAST_RATE if failing_one(rollout) is None else usual_rate(await reading.listed(self._person))

    async def _reach(self, rollout: v1.Rollout, most: float) -> Reach | None:
        known = self._replica.get(self._component)
        if known is None or known.snapshot.next is None or known.snapshot.next.number != rollout.next.number:
            return None
        sample = await self._seen(self._component)
        return reach(known.snapshot, known.overrides, sample, most, self._replica.likely_ms)

    async def _explained(self, rollout: v1.Rollout) -> Explained | None:
        repo, job_id = self._asked.repo, self._asked.job_id
        if not repo:
            return None
        request = v1.ResolveRequest(component=self._component, repo=repo, job_id=job_id)
        try:
            answer = await self._person.ask(request, v1.ResolveResponse)
            override = await self._override_of(repo)
        except CallError as error:
            return Explained(_refusal(error))
        return Explained(explanation=Explanation(rollout, override, repo, job_id), answer=answer)

    async def _override_of(self, repo: str) -> v1.Override | None:
        """The override that decides. Where it is, this server's copy says: to ask for each place would be up to 127 calls."""
        place = self._place_of_override(repo)
        if place is None:
            return None
        # The overrides come in order, so the one with exactly this name is the first.
        request = v1.ListOverridesRequest(component=self._component, prefix=place, page_size=1)
        found = (await self._person.ask(request, v1.ListOverridesResponse)).overrides
        return found[0] if found and found[0].repo == place else None

    def _place_of_override(self, repo: str) -> str | None:
        known = self._replica.get(self._component)
        if known is None:
            return None
        for candidate in candidates(repo):
            choice = known.overrides.get(candidate)
            if choice is not None and (choice.expire_ms is None or self._replica.likely_ms() < choice.expire_ms):
                return candidate
        return None


def _jobs(rollout: v1.Rollout, release: v1.Release | None) -> tuple[int, int]:
    return rollout.current_outcomes.jobs, release.jobs if release is not None else 0


async def _same(known: _Found) -> _Found:
    return known


def _refusal(error: CallError) -> str:
    """Returns why what a person asked for is wrong. Raises the error again if something else is wrong."""
    if error.status.code != code_pb2.INVALID_ARGUMENT:
        raise error
    return str(error.status.message)


def _newest_first(own: Sequence[v1.Event], of_all: Sequence[v1.Event]) -> list[v1.Event]:
    return list(merge(own, of_all, key=lambda event: event.time.ToNanoseconds(), reverse=True))
