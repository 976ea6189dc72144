"""RolloutService: the verbs and reads of admins and dashboards."""

import asyncio
import re

from rampd import v1
from rampd_server.domain import commands
from rampd_server.domain.admission import trial_of
from rampd_server.ports import Override, Store
from rampd_server.replica import Replica
from rampd_server.rpc import convert
from rampd_server.rpc.binding import Call
from rampd_server.rpc.mutation import MutatingRequest, Response, author_of, expected_revision, respond
from rampd_server.rpc.paging import page_size, page_token, paged
from rampd_server.rpc.policy import basis_points, policy_message, set_policy_of
from rampd_server.rpc.trial_outcomes import show_outcomes
from rampd_server.service import Service

_EVENT_ID = re.compile("[0-9]{1,15}-[0-9]{1,15}", re.ASCII)


class RolloutServicer:
    """One coroutine for each RPC: read the request, ask the service, write the response."""

    def __init__(self, service: Service, replica: Replica, store: Store) -> None:
        self._service = service
        self._replica = replica
        self._store = store

    async def _execute(
        self, request: MutatingRequest, call: Call, command: commands.Command, response: type[Response]
    ) -> Response:
        answer = await self._service.execute(
            request.component,
            command,
            author_of(request, call),
            expected_revision=expected_revision(request),
            timeout_s=call.timeout_s,
        )
        return respond(answer, response, self._replica)

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
            return respond(answer, v1.FreezeResponse, self._replica, frozen_all=True)
        return await self._execute(request, call, commands.Freeze(expire_ms), v1.FreezeResponse)

    async def unfreeze(self, request: v1.UnfreezeRequest, call: Call) -> v1.UnfreezeResponse:
        if request.all:
            answer = await self._service.unfreeze_all(author_of(request, call), timeout_s=call.timeout_s)
            return respond(answer, v1.UnfreezeResponse, self._replica, frozen_all=False)
        return await self._execute(request, call, commands.Unfreeze(), v1.UnfreezeResponse)

    async def quarantine(self, request: v1.QuarantineRequest, call: Call) -> v1.QuarantineResponse:
        return await self._execute(request, call, commands.Quarantine(request.tag), v1.QuarantineResponse)

    async def unquarantine(self, request: v1.UnquarantineRequest, call: Call) -> v1.UnquarantineResponse:
        return await self._execute(request, call, commands.Unquarantine(request.tag), v1.UnquarantineResponse)

    async def set_policy(self, request: v1.SetPolicyRequest, call: Call) -> v1.SetPolicyResponse:
        return await self._execute(request, call, set_policy_of(request), v1.SetPolicyResponse)

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
        return respond(answer, response, self._replica)

    # Reads: as the store has it now.

    async def get_rollout(self, request: v1.GetRolloutRequest, _call: Call) -> v1.GetRolloutResponse:
        rollout, namespace, now_ms = await self._service.read(request.component)
        message = convert.rollout_message(rollout, namespace, now_ms)
        trial = trial_of(rollout)
        show_outcomes(message, rollout, await self._store.counters(rollout.component, trial.release, trial.number))
        return v1.GetRolloutResponse(rollout=message)

    async def list_rollouts(self, request: v1.ListRolloutsRequest, _call: Call) -> v1.ListRolloutsResponse:
        limit = page_size(request)
        names = await self._store.components(after=request.page_token, limit=limit + 1)
        shown, token = paged(names, limit, str)
        stored = await asyncio.gather(*(self._store.read(name) for name in shown))
        rollouts = (convert.rollout_or_none(each.rollout, each.namespace, each.time_ms) for each in stored)
        return v1.ListRolloutsResponse(rollouts=[each for each in rollouts if each], next_page_token=token)

    async def list_quarantine(self, request: v1.ListQuarantineRequest, _call: Call) -> v1.ListQuarantineResponse:
        rollout, _, _ = await self._service.read(request.component)
        marks = [mark for mark in sorted(rollout.quarantine.items()) if mark[0] > request.page_token]
        shown, token = paged(marks, page_size(request), lambda mark: mark[0])
        return v1.ListQuarantineResponse(
            tags=[convert.quarantined_message(tag, mark) for tag, mark in shown], next_page_token=token
        )

    async def list_overrides(self, request: v1.ListOverridesRequest, _call: Call) -> v1.ListOverridesResponse:
        _, _, now_ms = await self._service.read(request.component)
        limit, after = page_size(request), request.page_token
        shown: list[tuple[str, Override]] = []
        while len(shown) <= limit:
            wanted = limit + 1 - len(shown)
            found = await self._store.list_overrides(
                request.component, prefix=request.prefix, after=after, limit=wanted
            )
            shown += [each for each in found if each[1].expire_ms is None or each[1].expire_ms > now_ms]
            if len(found) < wanted:
                break
            after = found[-1][0]
        shown, token = paged(shown, limit, lambda each: each[0])
        return v1.ListOverridesResponse(
            overrides=[convert.override_message(repo, override) for repo, override in shown], next_page_token=token
        )

    async def get_policy(self, request: v1.GetPolicyRequest, _call: Call) -> v1.GetPolicyResponse:
        rollout, _, _ = await self._service.read(request.component)
        return v1.GetPolicyResponse(policy=policy_message(rollout.policy))

    async def list_events(self, request: v1.ListEventsRequest, _call: Call) -> v1.ListEventsResponse:
        limit = page_size(request)
        events = await self._store.events(request.component, before=page_token(request, _EVENT_ID), limit=limit + 1)
        if not events and request.component and not request.page_token:
            await self._service.read(request.component)
        shown, token = paged(events, limit, lambda event: event.id)
        return v1.ListEventsResponse(events=[convert.event_message(event) for event in shown], next_page_token=token)
