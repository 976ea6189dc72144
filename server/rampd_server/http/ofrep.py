"""OpenFeature's remote evaluation protocol (OFREP): each component is a string flag, and its value is the tag to run.

Evaluations are calls of Resolve and BatchResolve, so the same rules hold for them. `evaluation.py` has the words.
"""

from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rampd import v1
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server.access.grants import Grant
from rampd_server.domain.errors import RampdError
from rampd_server.http import evaluation
from rampd_server.http.call import call, caller_of
from rampd_server.http.context import CallError
from rampd_server.http.evaluation import ErrorCode, Question, Refusal
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import PERMISSIONS, Handlers
from rampd_server.rpc.door import Door

_FLAGS: Final = "/ofrep/v1/evaluate/flags"
_RESOLVE: Final = "/rampd.v1.ResolverService/Resolve"
_BATCH: Final = "/rampd.v1.ResolverService/BatchResolve"
_JSON: Final = "application/json"


def routes(handlers: Handlers, door: Door, replica: Replica) -> list[BaseRoute]:
    """One flag by its name, and all flags that the caller sees."""
    flags = _Flags(handlers, door, replica)
    return [
        Route(_FLAGS, flags.evaluate_all, methods=["POST"]),
        # Any name, so that a wrong one is a flag that is not there, and not a page that is not there.
        Route(_FLAGS + "/{component:path}", flags.evaluate, methods=["POST"]),
    ]


class _Flags:
    def __init__(self, handlers: Handlers, door: Door, replica: Replica) -> None:
        self._handlers = handlers
        self._door = door
        self._replica = replica

    async def evaluate(self, request: Request) -> Response:
        component = request.path_params["component"]
        try:
            question = await self._question(request)
            asked = v1.ResolveRequest(component=component, repo=question.repo, job_id=question.job_id)
            answer = v1.ResolveResponse.FromString(
                await call(self._handlers, _RESOLVE, asked.SerializeToString(), request)
            )
        except Refusal as refusal:
            return _refused(refusal, component)
        except CallError as error:
            return _refused(evaluation.refusal(error.status), component)
        return JSONResponse(
            evaluation.flag(component, answer, answer.attributes), headers={"cache-control": "no-store"}
        )

    async def evaluate_all(self, request: Request) -> Response:
        try:
            question = await self._question(request)
            components = self._seen_by((await caller_of(self._door, request)).grant)
            asked = evaluation.batch(components, question)
            answer = v1.BatchResolveResponse()
            if components:
                answer.ParseFromString(await call(self._handlers, _BATCH, asked.SerializeToString(), request))
        except Refusal as refusal:
            return _refused(refusal)
        except CallError as error:
            return _refused(evaluation.bulk_refusal(error.status))
        etag = evaluation.etag(components, answer)
        headers = {"etag": etag, "cache-control": "private, no-cache"}
        if evaluation.is_known(etag, request.headers.get("if-none-match")):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return JSONResponse(evaluation.bulk(components, answer), headers=headers)

    async def _question(self, request: Request) -> Question:
        try:
            return evaluation.question_of(await _body(request))
        except Refusal:
            # Who is not let in learns this first, and a wrong question counts like a right one.
            await caller_of(self._door, request)
            raise

    def _seen_by(self, grant: Grant) -> list[str]:
        """The names of the components that are there for a caller, damaged ones too, in their order. Raises CallError."""
        try:
            # Nobody asks for the components one by one where there is none.
            PERMISSIONS["BatchResolve"].require(
                grant, v1.BatchResolveRequest(), partial(self._door.how_else, _BATCH.strip("/"))
            )
            _ = self._replica.age_s
        except RampdError as error:
            raise CallError.of(error) from error
        names = {known.rollout.component for known in self._replica.components()} | self._replica.damaged.keys()
        return sorted(names if grant.sees_every_component else filter(grant.sees, names))


async def _body(request: Request) -> bytes:
    """Raises Refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        # Nothing else: a browser sends text and forms for any page without a question.
        raise Refusal(
            ErrorCode.PARSE_ERROR,
            f"Send the context as JSON, with the header content-type: {_JSON}; got {kind or 'none'}.",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    kept, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_MESSAGE_BYTES:
            break
        # A caller that is still sending would not read an answer: what is too large is read to its end.
        kept += piece if size <= evaluation.MAX_CONTEXT_BYTES else b""
    if size > evaluation.MAX_CONTEXT_BYTES:
        raise evaluation.too_large(size)
    return bytes(kept)


def _refused(refusal: Refusal, component: str | None = None) -> JSONResponse:
    return JSONResponse(refusal.body(component), refusal.status, headers=refusal.headers)
