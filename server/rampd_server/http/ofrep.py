"""OpenFeature's remote evaluation protocol (OFREP): each component is a string flag, and its value is the tag to run.

Evaluations are calls of Resolve and BatchResolve, so the same rules hold for them. `evaluation.py` has the words.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

from google.rpc import code_pb2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rampd import v1
from rampd_server.access.grants import Caller, Grant
from rampd_server.domain.errors import RampdError, Reason
from rampd_server.http import body, evaluation
from rampd_server.http.call import call, caller_of, counted, proven, refuse
from rampd_server.http.evaluation import MAX_CONTEXT_BYTES, ErrorCode, Question, Refusal
from rampd_server.http.unchanged import Unchanged
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import PERMISSIONS, Handlers
from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.door import Door

FLAGS: Final = "/ofrep/v1/evaluate/flags"
_RESOLVE: Final = "/rampd.v1.ResolverService/Resolve"
_BATCH: Final = "/rampd.v1.ResolverService/BatchResolve"
_JSON: Final = "application/json"
_AT_ONCE: Final = 50
"""How many flags are written before others get a turn."""


def routes(handlers: Handlers, door: Door, replica: Replica) -> list[BaseRoute]:
    """One flag by its name, and all flags that the caller sees."""
    flags = _Flags(handlers, door, replica)
    return [
        Route(FLAGS, flags.evaluate_all, methods=["POST"]),
        # Any name, so that a wrong one is a flag that is not there, and not a page that is not there.
        Route(FLAGS + "/{component:path}", flags.evaluate, methods=["POST"]),
    ]


class _Flags:
    def __init__(self, handlers: Handlers, door: Door, replica: Replica) -> None:
        self._handlers = handlers
        self._door = door
        self._replica = replica
        self._unchanged = Unchanged(replica)

    async def evaluate(self, request: Request) -> Response:
        component = request.path_params["component"]
        try:
            question = await self._question(request, _RESOLVE)
            asked = v1.ResolveRequest(component=component, repo=question.repo, job_id=question.job_id)
            answer = v1.ResolveResponse.FromString(
                await call(self._handlers, _RESOLVE, asked.SerializeToString(), request)
            )
        except Refusal as refusal:
            self._handlers.count(_RESOLVE, *_counted_as(refusal))
            return _refused(refusal, component)
        except CallError as error:
            return _refused(evaluation.refusal(error.status), component)
        return JSONResponse(
            evaluation.flag(component, answer, answer.attributes), headers={"cache-control": "no-store"}
        )

    async def evaluate_all(self, request: Request) -> Response:
        if_none_match = request.headers.get("if-none-match")
        try:
            question = await self._question(request, _BATCH)
            with counted(self._handlers, _BATCH):
                caller = await proven(self._door, request)
                await self._require(caller, request)
            grant = caller.grant
            asked, state = (grant.components, question), self._unchanged.state
            etag = self._unchanged.etag(asked)
            if etag is not None and evaluation.is_known(etag, if_none_match):
                await self._count(request)
                return _not_modified(etag)
            components = self._seen_by(grant)
            batch = await self._batch(components, question, request)
            answer = v1.BatchResolveResponse()
            if components:
                answer.ParseFromString(await call(self._handlers, _BATCH, batch.SerializeToString(), request))
            else:
                await self._count(request)
        except Refusal as refusal:
            self._handlers.count(_BATCH, *_counted_as(refusal))
            return _refused(refusal)
        except CallError as error:
            return _refused(evaluation.bulk_refusal(error.status))
        etag = evaluation.etag(components, answer)
        self._unchanged.keep(asked, state, etag, components, answer)
        if evaluation.is_known(etag, if_none_match):
            return _not_modified(etag)
        return Response(await _written(evaluation.flags(components, answer)), headers=_kept_by(etag), media_type=_JSON)

    async def _question(self, request: Request, method: str) -> Question:
        with counted(self._handlers, method):
            try:
                _require_json(request)
                return evaluation.question_of(await body.beginning(request, self._door, MAX_CONTEXT_BYTES))
            except Refusal:
                # Credentials are checked before the question is refused, and a wrong question counts against the limits, too.
                await caller_of(self._door, request)
                raise

    async def _batch(self, components: Sequence[str], question: Question, request: Request) -> v1.BatchResolveRequest:
        try:
            return evaluation.batch(components, question)
        except Refusal:
            with counted(self._handlers, _BATCH):
                await caller_of(self._door, request)
            raise

    async def _count(self, request: Request) -> None:
        """Counts a call that gets its answer without BatchResolve, as if it had called that. Raises CallError."""
        with counted(self._handlers, _BATCH):
            await caller_of(self._door, request)
        self._handlers.count(_BATCH, code_pb2.Code.Name(code_pb2.OK))

    async def _require(self, caller: Caller, request: Request) -> None:
        """Raises CallError if a caller may not resolve, or if this server has no state."""
        try:
            # The handlers ask for this too, but not where no component is there to resolve.
            PERMISSIONS["BatchResolve"].require(
                caller.grant, v1.BatchResolveRequest(), partial(self._door.how_else, _BATCH.strip("/"))
            )
            _ = self._replica.age_s
        except RampdError as error:
            await refuse(error, request, caller)

    def _seen_by(self, grant: Grant) -> list[str]:
        """The names of the components that a caller may see, in order. Damaged components are among them."""
        names = {known.rollout.component for known in self._replica.components()} | self._replica.damaged.keys()
        return sorted(names if grant.sees_every_component else filter(grant.sees, names))


def _counted_as(refusal: Refusal) -> tuple[str, str]:
    """The status and the reason that a refusal before the call has in the metrics."""
    return code_pb2.Code.Name(code_pb2.INVALID_ARGUMENT), refusal.reason or Reason.INVALID_FIELD


def _require_json(request: Request) -> None:
    """Raises Refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        # Only JSON: a browser sends other types to another host without a preflight request.
        raise Refusal(
            ErrorCode.PARSE_ERROR,
            f"Send the context as JSON, with the header content-type: {_JSON}; got {kind or 'none'}.",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


def _kept_by(etag: str) -> dict[str, str]:
    return {"etag": etag, "cache-control": "private, no-cache"}


def _not_modified(etag: str) -> Response:
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=_kept_by(etag))


async def _written(flags: Iterator[evaluation.Json]) -> bytes:
    """All flags as JSON. Others get a turn in between, because a thousand flags take as long as hundreds of calls."""
    pieces: list[str] = []
    for each in flags:
        pieces.append(json.dumps(each, ensure_ascii=False, separators=(",", ":")))
        if len(pieces) % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return f'{{"flags":[{",".join(pieces)}]}}'.encode()


def _refused(refusal: Refusal, component: str | None = None) -> JSONResponse:
    return JSONResponse(refusal.body(component), refusal.status, headers=refusal.headers)
