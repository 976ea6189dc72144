"""RolloutService: the verbs and reads of admins and dashboards."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress

from rampd import v1
from rampd._contract.grammar import EVENT_ID
from rampd_server.access.rpc_roles import REQUEST_FLAGS
from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.evidence.admission import trial_of
from rampd_server.domain.rollout import commands
from rampd_server.ports import Event, OutcomeStore, Override, Store
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import PERMISSIONS, Call
from rampd_server.rpc.messages import convert
from rampd_server.rpc.messages.outcomes import show_current_outcomes, show_outcomes
from rampd_server.rpc.messages.policy import Judge, basis_points, judged, policy_message, set_policy_of
from rampd_server.rpc.mutation import (
    MutatingRequest,
    Previewer,
    Response,
    author_of,
    execute,
    expected_revision,
    no_preview,
    respond,
)
from rampd_server.rpc.paging import one_by_one, page_token, paged, piece_size
from rampd_server.rpc.rollout_list import RolloutList, with_damage
from rampd_server.rpc.server_status import ServerStatus
from rampd_server.service.service import Service
from rampd_server.service.whole_history import WholeHistory

_DRY_RUN = "dry_run"
"""A flag that every caller may set. Clients look for it before they send a dry run, because a server that does not know the field
would make the change.
"""
_EVENT_ID = re.compile(EVENT_ID)


class RolloutServicer:
    """One coroutine for each RPC: read the request, ask the service, write the response."""

    def __init__(
        self,
        service: Service,
        replica: Replica,
        store: Store,
        outcomes: OutcomeStore,
        judge: Judge,
        *,
        preview: Previewer = no_preview,
        status: ServerStatus,
    ) -> None:
        self._service = service
        self._replica = replica
        self._store = store
        self._outcomes = outcomes
        self._judge = judge
        self._preview = preview
        self._list = RolloutList(store, replica, outcomes)
        self._whole_history = WholeHistory(store, replica)
        self._status = status

    async def _execute(
        self,
        request: MutatingRequest,
        call: Call,
        command: commands.Command,
        response: type[Response],
        *,
        judge: Callable[[], Awaitable[None]] | None = None,
    ) -> Response:
        answer = await execute(self._service, request, call, command, judge=judge)
        return await respond(answer, request, response, self._replica, self._preview)

    async def ramp(self, request: v1.RampRequest, call: Call) -> v1.RampResponse:
        within_ms = request.confirm_within.ToMilliseconds() if request.HasField("confirm_within") else None
        command = commands.Ramp(basis_points(request.percent), request.tag, within_ms)
        return await self._execute(request, call, command, v1.RampResponse)

    async def confirm(self, request: v1.ConfirmRequest, call: Call) -> v1.ConfirmResponse:
        return await self._execute(request, call, commands.Confirm(request.tag), v1.ConfirmResponse)

    async def rollback(self, request: v1.RollbackRequest, call: Call) -> v1.RollbackResponse:
        return await self._execute(
            request, call, commands.Rollback(request.tag, request.quarantine), v1.RollbackResponse
        )

    async def finalize(self, request: v1.FinalizeRequest, call: Call) -> v1.FinalizeResponse:
        return await self._execute(request, call, commands.Finalize(request.tag, request.force), v1.FinalizeResponse)

    async def abandon(self, request: v1.AbandonRequest, call: Call) -> v1.AbandonResponse:
        return await self._execute(request, call, commands.Abandon(request.tag, request.quarantine), v1.AbandonResponse)

    async def revert(self, request: v1.RevertRequest, call: Call) -> v1.RevertResponse:
        quarantine = request.quarantine if request.HasField("quarantine") else True
        return await self._execute(request, call, commands.Revert(request.tag, quarantine), v1.RevertResponse)

    async def pause(self, request: v1.PauseRequest, call: Call) -> v1.PauseResponse:
        return await self._execute(request, call, commands.Pause(), v1.PauseResponse)

    async def resume(self, request: v1.ResumeRequest, call: Call) -> v1.ResumeResponse:
        return await self._execute(request, call, commands.Resume(), v1.ResumeResponse)

    async def freeze(self, request: v1.FreezeRequest, call: Call) -> v1.FreezeResponse:
        expire_ms = convert.milliseconds(request.expire_time) if request.HasField("expire_time") else None
        if request.all:
            answer = await self._service.freeze_all(expire_ms, author_of(request, call), timeout_s=call.timeout_s)
            return await respond(answer, request, v1.FreezeResponse, self._replica, self._preview, frozen_all=True)
        return await self._execute(request, call, commands.Freeze(expire_ms), v1.FreezeResponse)

    async def unfreeze(self, request: v1.UnfreezeRequest, call: Call) -> v1.UnfreezeResponse:
        if request.all:
            answer = await self._service.unfreeze_all(author_of(request, call), timeout_s=call.timeout_s)
            return await respond(answer, request, v1.UnfreezeResponse, self._replica, self._preview, frozen_all=False)
        return await self._execute(request, call, commands.Unfreeze(), v1.UnfreezeResponse)

    async def quarantine(self, request: v1.QuarantineRequest, call: Call) -> v1.QuarantineResponse:
        return await self._execute(request, call, commands.Quarantine(request.tag), v1.QuarantineResponse)

    async def unquarantine(self, request: v1.UnquarantineRequest, call: Call) -> v1.UnquarantineResponse:
        return await self._execute(request, call, commands.Unquarantine(request.tag), v1.UnquarantineResponse)

    async def set_policy(self, request: v1.SetPolicyRequest, call: Call) -> v1.SetPolicyResponse:
        command, doubts = set_policy_of(request), ""

        async def judge() -> None:
            nonlocal doubts
            left_s = call.timeout_s
            timeout_s = None if left_s is None else left_s / 2
            doubts = await judged(command, request.component, self._judge, timeout_s=timeout_s)

        response = await self._execute(request, call, command, v1.SetPolicyResponse, judge=judge)
        response.message += doubts
        return response

    async def delete_component(self, request: v1.DeleteComponentRequest, call: Call) -> v1.DeleteComponentResponse:
        return await self._execute(request, call, commands.DeleteComponent(), v1.DeleteComponentResponse)

    async def set_override(self, request: v1.SetOverrideRequest, call: Call) -> v1.SetOverrideResponse:
        changes = {request.repo: convert.override_of(request)}
        return await self._set_overrides(request, call, changes, v1.SetOverrideResponse)

    async def delete_override(self, request: v1.DeleteOverrideRequest, call: Call) -> v1.DeleteOverrideResponse:
        return await self._set_overrides(
            request, call, {request.repo: None}, v1.DeleteOverrideResponse, must_exist=True
        )

    async def batch_set_overrides(
        self, request: v1.BatchSetOverridesRequest, call: Call
    ) -> v1.BatchSetOverridesResponse:
        changes = {change.repo: None if change.delete else convert.override_of(change) for change in request.overrides}
        return await self._set_overrides(request, call, changes, v1.BatchSetOverridesResponse)

    async def _set_overrides(
        self,
        request: MutatingRequest,
        call: Call,
        changes: dict[str, Override | None] | dict[str, Override] | dict[str, None],
        response: type[Response],
        *,
        must_exist: bool = False,
    ) -> Response:
        answer = await self._service.set_overrides(
            request.component,
            changes,
            author_of(request, call),
            expected_revision=expected_revision(request),
            must_exist=must_exist,
            timeout_s=call.timeout_s,
        )
        return await respond(answer, request, response, self._replica, self._preview, overrides=changes)

    # Reads give the present state of the store: from the store itself, or from a copy that has everything of it.

    async def who_am_i(self, _request: v1.WhoAmIRequest, call: Call) -> v1.WhoAmIResponse:
        caller, grant = call.caller, call.caller.grant
        response = v1.WhoAmIResponse(
            identity=caller.identity,
            role=grant.role,
            components=grant.components,
            proof=caller.proof,
            methods=sorted(name for name, each in PERMISSIONS.items() if grant.may(name, each.roles)),
            flags=sorted({_DRY_RUN, *filter(grant.may_set, REQUEST_FLAGS)}),
        )
        if caller.expires_s is not None:
            response.expire_time.FromMilliseconds(int(caller.expires_s * 1000))
        return response

    async def get_server(self, _request: v1.GetServerRequest, call: Call) -> v1.GetServerResponse:
        return v1.GetServerResponse(server=await self._status.of(call))

    async def get_rollout(self, request: v1.GetRolloutRequest, _call: Call) -> v1.GetRolloutResponse:
        rollout, namespace, now_ms = await self._service.read(request.component)
        message = convert.rollout_message(rollout, namespace, now_ms)
        trial = trial_of(rollout)
        with suppress(StoreUnavailableError):  # they may be on a shard that is away
            counters = await self._outcomes.counters(rollout.component, trial.release, trial.number)
            show_outcomes(message, rollout, counters)
            show_current_outcomes(message, rollout, await self._outcomes.release_counters(rollout.component), now_ms)
        return v1.GetRolloutResponse(rollout=with_damage(message, self._replica))

    async def list_rollouts(self, request: v1.ListRolloutsRequest, call: Call) -> v1.ListRolloutsResponse:
        shown, token = await paged(request, self._list.rollouts(request, call.sees))
        return v1.ListRolloutsResponse(rollouts=shown, next_page_token=token)

    async def list_quarantine(self, request: v1.ListQuarantineRequest, _call: Call) -> v1.ListQuarantineResponse:
        rollout, _, _ = await self._service.read(request.component)
        marks = (mark for mark in sorted(rollout.quarantine.items()) if mark[0] > request.page_token)
        tags = ((tag, convert.quarantined_message(tag, mark)) for tag, mark in marks)
        shown, token = await paged(request, one_by_one(tags))
        return v1.ListQuarantineResponse(tags=shown, next_page_token=token)

    async def list_overrides(self, request: v1.ListOverridesRequest, _call: Call) -> v1.ListOverridesResponse:
        _, _, now_ms = await self._service.read(request.component)
        shown, token = await paged(request, self._overrides(request, now_ms))
        return v1.ListOverridesResponse(overrides=shown, next_page_token=token)

    async def _overrides(
        self, request: v1.ListOverridesRequest, now_ms: int
    ) -> AsyncGenerator[tuple[str, v1.Override]]:
        """The overrides that have not expired. They are read in pieces, because each may have been set by a change of its
        own, and the store is busy while it finds a thousand changes.
        """
        name, prefix, after, piece = request.component, request.prefix, request.page_token, piece_size(request)
        while True:
            found = await self._store.list_overrides(name, prefix=prefix, after=after, limit=piece)
            for listed in found:
                if listed.override.expire_ms is None or listed.override.expire_ms > now_ms:
                    yield listed.repo, convert.override_message(listed)
            if len(found) < piece:
                return
            after = found[-1].repo

    async def get_policy(self, request: v1.GetPolicyRequest, _call: Call) -> v1.GetPolicyResponse:
        rollout, _, _ = await self._service.read(request.component)
        return v1.GetPolicyResponse(policy=policy_message(rollout.policy))

    async def list_events(self, request: v1.ListEventsRequest, call: Call) -> v1.ListEventsResponse:
        before = page_token(request, _EVENT_ID)
        damage: list[StoreCorruptError] = []
        if request.every_component:
            events = self._whole_history.events(
                call.sees, damage, before=before, after=request.after, page=piece_size(request)
            )
        else:
            events = self._events(request.component, before, request.after, piece_size(request))
        shown, token = await paged(request, _event_messages(events))
        if not shown and request.component and not before and not request.after:
            await self._service.read(request.component)
        return v1.ListEventsResponse(
            events=shown, next_page_token=token, damage=[convert.damage_message(error) for error in damage]
        )

    async def _events(self, component: str, before: str, after: str, piece: int) -> AsyncGenerator[Event]:
        while True:
            events = await self._store.events(component, before=before, after=after, limit=piece)
            for event in events:
                yield event
            if len(events) < piece:
                return
            before = events[-1].id


async def _event_messages(events: AsyncGenerator[Event]) -> AsyncGenerator[tuple[str, v1.Event]]:
    async with aclosing(events):
        async for event in events:
            yield event.id, convert.event_message(event)
