"""ResolverService: the RPCs that launchers call. All except ReportOutcomes are answered from memory; only a call with
`min_revision` may wait, and asks the store whether the revision is still its own.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

from rampd import v1
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd._decision.resolution import Decision, Resolution, resolve
from rampd._decision.staleness import CATCH_UP_S
from rampd_server.domain.errors import NoSnapshotError, RampdError
from rampd_server.domain.refusals import component_not_found, too_large
from rampd_server.replica.replica import Replica
from rampd_server.rpc import refused_calls
from rampd_server.rpc.answer_counts import AnswerCounts
from rampd_server.rpc.binding import Call
from rampd_server.rpc.error_status import to_status
from rampd_server.rpc.messages.resolution import BatchEncoder, encode
from rampd_server.rpc.outcomes import OutcomesServicer
from rampd_server.rpc.watch.selection import Selection
from rampd_server.rpc.watch.watch import Watches
from rampd_server.service.outcome_intake import Outcomes


class ResolverServicer(OutcomesServicer):
    """Resolve, BatchResolve and Watch; and ReportOutcomes."""

    def __init__(
        self,
        replica: Replica,
        watches: Watches,
        outcomes: Outcomes,
        answers: AnswerCounts | None = None,
        note_seen: Callable[[str, str], None] | None = None,
    ) -> None:
        """`answers` counts the answers of Resolve and BatchResolve. `note_seen` is told the component and the repo of each."""
        super().__init__(outcomes)
        self._note_seen = note_seen
        self._answers = answers
        self._replica = replica
        self._watches = watches

    def resolve(self, request: v1.ResolveRequest, _call: Call) -> bytes | Coroutine[None, None, bytes]:
        """Returns the answer at once, or a coroutine if the call must wait."""
        if request.min_revision:
            return self._resolve_later(request)
        return encode(self._resolve(request, self._replica.age_s))

    async def _resolve_later(self, request: v1.ResolveRequest) -> bytes:
        for error in await self._catch_up([request]):
            if error is not None:
                raise error
        return encode(self._resolve(request, self._replica.age_s))

    def watch(self, request: v1.WatchRequest, call: Call) -> AsyncGenerator[bytes]:
        """The stream of one watcher. It ends when the caller goes or the server stops."""
        refused_calls.tell_of_hidden(call, request.components)
        grant = call.caller.grant
        globs = () if grant.sees_every_component else grant.components
        return self._watches.stream(request, Selection(frozenset(request.components), globs, grant.sees))

    async def batch_resolve(self, request: v1.BatchResolveRequest, call: Call) -> bytes:
        """Returns all answers. Raises RefusedError (TOO_LARGE) if the answers and the attributes do not fit into a
        message.
        """
        refused_calls.tell_of_hidden(call, (each.component for each in request.requests))
        behind = await self._catch_up_all(request.requests, call)
        # Nothing is awaited from here on, so that all answers come from one state.
        age_s = self._replica.age_s
        response = v1.BatchResolveResponse()
        encoder = BatchEncoder()
        named: dict[tuple[str, int], Decision] = {}
        for index, each in enumerate(request.requests):
            result = response.results.add()
            try:
                if not call.sees(each.component):
                    raise component_not_found(component=each.component)
                if index in behind:
                    raise behind[index]
                resolution = self._resolve(each, age_s)
            except RampdError as error:
                result.status.CopyFrom(to_status(error))
            else:
                result.response.MergeFromString(encoder.encode(resolution))
                if resolution.release:
                    named[each.component, resolution.release] = resolution.decision
        for (component, release), decision in named.items():
            response.release_attributes.add(component=component, release=release, attributes=decision.attributes)
        return _held_to_limit(response.SerializeToString(), len(request.requests))

    def _resolve(self, request: v1.ResolveRequest, age_s: float) -> Resolution:
        # Each look at a field of the message makes a new text.
        component, repo = request.component, request.repo
        known = self._replica.get(component)
        if known is None:
            raise self._replica.why_unknown(component)
        if known.damaged_since_s is not None:
            age_s = self._replica.age_of(known, age_s)
        resolution = resolve(
            known.snapshot, known.overrides, repo, request.job_id, self._replica.likely_ms, age_s=age_s
        )
        if self._note_seen is not None:
            self._note_seen(component, repo)
        if self._answers is not None:
            self._answers.add(component, resolution.decision)
        return resolution

    async def _catch_up_all(self, requests: Sequence[v1.ResolveRequest], call: Call) -> dict[int, RampdError]:
        """Waits for all requests together. Returns the errors of those whose revision did not come, by index."""
        waiting = [
            (index, each) for index, each in enumerate(requests) if each.min_revision and call.sees(each.component)
        ]
        errors = await self._catch_up([each for _, each in waiting])
        return {index: error for (index, _), error in zip(waiting, errors, strict=True) if error is not None}

    async def _catch_up(self, requests: Sequence[v1.ResolveRequest]) -> list[RampdError | None]:
        """Waits for the revision of each request. Returns why it did not come, or None, for each.

        The store is asked once for all: after a failover that lost a revision, another change may have its number. If the store
        does not answer, the copy decides.
        """
        there = await asyncio.gather(*(self._is_there(each, CATCH_UP_S) for each in requests))
        if self._replica.is_confirmed:
            with contextlib.suppress(RampdError):
                await self._replica.require_history(
                    {each.component for each, is_there in zip(requests, there, strict=True) if is_there}
                )
        return [
            None if is_there and await self._is_there(each, 0) else self._behind(each)
            for each, is_there in zip(requests, there, strict=True)
        ]

    def _is_there(self, request: v1.ResolveRequest, timeout_s: float) -> Coroutine[None, None, bool]:
        return self._replica.wait_for(request.component, request.min_revision, timeout_s=timeout_s)

    def _behind(self, request: v1.ResolveRequest) -> RampdError:
        known = self._replica.get(request.component)
        if known is None:
            return self._replica.why_unknown(request.component)
        if known.rollout.has_lost(request.min_revision):
            return NoSnapshotError(
                f"The store has lost revision {request.min_revision} of {request.component}, so the revision will not come. "
                "Ask without min_revision.",
                revision=known.rollout.revision,
            )
        return NoSnapshotError(
            f"{request.component} is at revision {known.rollout.revision} here, and revision {request.min_revision} "
            f"did not come in {CATCH_UP_S:g} s. Try again, or ask without min_revision.",
            revision=known.rollout.revision,
        )


def _held_to_limit(answer: bytes, jobs: int) -> bytes:
    if len(answer) > MAX_MESSAGE_BYTES:
        raise too_large(
            f"The answer for these {jobs} jobs, with their releases' attributes, has {len(answer)} bytes, but a message "
            f"holds only {MAX_MESSAGE_BYTES}: ask for fewer jobs at once.",
            limit=MAX_MESSAGE_BYTES,
        )
    return answer
