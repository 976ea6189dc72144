"""ReleaseService: the RPCs that CI calls."""

import re
from collections.abc import AsyncGenerator

from rampd import v1
from rampd._contract.grammar import MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES
from rampd_server.domain.refusals import release_not_found
from rampd_server.domain.rollout import commands
from rampd_server.ports import OutcomeStore
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import Call
from rampd_server.rpc.messages.outcomes import release_with_outcomes
from rampd_server.rpc.mutation import Previewer, execute, no_preview, respond
from rampd_server.rpc.paging import one_by_one, page_token, paged
from rampd_server.rpc.watch.release import ReleaseWatches
from rampd_server.service.service import Service
from rampd_server.tracing import TRACEPARENT, switch

_NUMBER = re.compile("[0-9]{1,18}", re.ASCII)


class ReleaseServicer:
    """One coroutine for each RPC: read the request, ask the service, write the response."""

    def __init__(
        self,
        service: Service,
        replica: Replica,
        outcomes: OutcomeStore,
        watches: ReleaseWatches,
        *,
        preview: Previewer = no_preview,
    ) -> None:
        self._service = service
        self._replica = replica
        self._outcomes = outcomes
        self._watches = watches
        self._preview = preview
        self._caller = switch.caller()

    async def release(self, request: v1.ReleaseRequest, call: Call) -> v1.ReleaseResponse:
        attributes = self._with_trace(dict(request.attributes), call)
        command = commands.Release(request.tag, attributes, request.expedite, request.force)
        answer = await execute(self._service, request, call, command)
        return await respond(
            answer,
            request,
            v1.ReleaseResponse,
            self._replica,
            self._preview,
            disposition=f"DISPOSITION_{answer.result.disposition}",
            queue_position=answer.result.queue_position,
            release=answer.result.release,
        )

    async def cancel_release(self, request: v1.CancelReleaseRequest, call: Call) -> v1.CancelReleaseResponse:
        answer = await execute(self._service, request, call, commands.CancelRelease(request.release))
        return await respond(answer, request, v1.CancelReleaseResponse, self._replica, self._preview)

    async def get_release(self, request: v1.GetReleaseRequest, _call: Call) -> v1.GetReleaseResponse:
        rollout, _, _ = await self._service.read(request.component)
        release = rollout.releases.get(request.release)
        if release is None:
            raise release_not_found(component=request.component, release=request.release)
        counters = await self._outcomes.release_counters(request.component)
        return v1.GetReleaseResponse(release=release_with_outcomes(release, counters))

    def watch_release(self, request: v1.WatchReleaseRequest, _call: Call) -> AsyncGenerator[v1.WatchReleaseResponse]:
        until_held = request.until_held if request.HasField("until_held") else True
        until_paused = request.until_paused if request.HasField("until_paused") else None
        return self._watches.stream(
            request.component, request.release, until_held=until_held, until_paused=until_paused
        )

    async def list_releases(self, request: v1.ListReleasesRequest, _call: Call) -> v1.ListReleasesResponse:
        token = page_token(request, _NUMBER)
        rollout, _, _ = await self._service.read(request.component)
        before = int(token) if token else rollout.last_number + 1
        newest_first = (number for number in sorted(rollout.releases, reverse=True) if number < before)
        counters = await self._outcomes.release_counters(request.component)
        releases = ((str(number), release_with_outcomes(rollout.releases[number], counters)) for number in newest_first)
        shown, next_token = await paged(request, one_by_one(releases))
        return v1.ListReleasesResponse(releases=shown, next_page_token=next_token)

    def _with_trace(self, attributes: dict[str, str], call: Call) -> dict[str, str]:
        """Adds the caller's place in a trace, so that the trace of a build leads to what becomes of its release. Leaves it out if
        the caller gives one itself, or if there is no room.
        """
        if TRACEPARENT not in attributes and (place := self._caller(call.context.invocation_metadata() or ())):
            size = sum(len(text.encode()) for text in (*attributes, *attributes.values(), TRACEPARENT, place))
            if len(attributes) < MAX_ATTRIBUTES and size <= MAX_ATTRIBUTES_BYTES:
                return {**attributes, TRACEPARENT: place}
        return attributes
