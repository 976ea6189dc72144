"""ResolverService: what launchers call. Answered from memory; only `min_revision` may wait."""

import asyncio
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd.resolution import Decision, Resolution, resolve
from rampd_server.domain.errors import NoSnapshotError, RampdError
from rampd_server.domain.outcome import component_not_found
from rampd_server.replica import Replica
from rampd_server.rpc.binding import Call
from rampd_server.rpc.errors import to_status

CATCH_UP_S = 1.0


class ResolverServicer:
    """Resolve and BatchResolve; one coroutine for each."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def resolve(self, request: v1.ResolveRequest, _call: Call) -> v1.ResolveResponse:
        if request.min_revision:
            await self._catch_up(request)
        resolution = self._resolve(request, self._replica.age_s)
        response = _response(resolution)
        response.attributes.update(resolution.decision.attributes)
        return response

    async def batch_resolve(self, request: v1.BatchResolveRequest, _call: Call) -> v1.BatchResolveResponse:
        behind = await self._catch_up_all(request.requests)
        # From here on nothing is awaited: all are answered from one state.
        age_s = self._replica.age_s
        response = v1.BatchResolveResponse()
        named: dict[tuple[str, int], Decision] = {}
        for index, each in enumerate(request.requests):
            result = response.results.add()
            try:
                if index in behind:
                    raise behind[index]
                resolution = self._resolve(each, age_s)
            except RampdError as error:
                result.status.CopyFrom(to_status(error))
            else:
                result.response.CopyFrom(_response(resolution))
                if resolution.release:
                    named[each.component, resolution.release] = resolution.decision
        for (component, release), decision in named.items():
            response.release_attributes.add(component=component, release=release, attributes=decision.attributes)
        return response

    def _resolve(self, request: v1.ResolveRequest, age_s: float) -> Resolution:
        known = self._replica.get(request.component)
        if known is None:
            raise component_not_found(request.component)
        return resolve(known.snapshot, known.overrides, request.repo, request.job_id, self._replica.now_ms, age_s=age_s)

    async def _catch_up_all(self, requests: Sequence[v1.ResolveRequest]) -> dict[int, RampdError]:
        """Waits for all at once; which of them did not get there, and why."""
        waiting = [(index, each) for index, each in enumerate(requests) if each.min_revision]
        if not waiting:
            return {}
        caught_up = await asyncio.gather(*(self._catch_up(each) for _, each in waiting), return_exceptions=True)
        behind: dict[int, RampdError] = {}
        for (index, _), error in zip(waiting, caught_up, strict=True):
            if isinstance(error, RampdError):
                behind[index] = error
            elif error is not None:
                raise error
        return behind

    async def _catch_up(self, request: v1.ResolveRequest) -> None:
        if await self._replica.wait_for(request.component, request.min_revision, timeout_s=CATCH_UP_S):
            return
        known = self._replica.get(request.component)
        if known is None:
            raise component_not_found(request.component)
        raise NoSnapshotError(
            f"{request.component} is at revision {known.rollout.revision} here, and revision {request.min_revision} "
            f"did not come in {CATCH_UP_S:g} s. Try again, or ask without min_revision.",
            revision=known.rollout.revision,
        )


def _response(resolution: Resolution) -> v1.ResolveResponse:
    """The answer, its attributes aside."""
    age_s = resolution.snapshot_age_s
    channel = resolution.channel
    return v1.ResolveResponse(
        tag=resolution.tag,
        channel=f"CHANNEL_{channel}" if channel else None,
        reason=f"RESOLVE_REASON_{resolution.reason}",
        release=resolution.release,
        bucket=resolution.bucket,
        revision=resolution.revision,
        stale=resolution.stale,
        snapshot_age=Duration(seconds=int(age_s), nanos=int(age_s % 1 * 1_000_000) * 1000),
    )
