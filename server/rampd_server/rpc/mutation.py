"""The code that all mutating RPCs share: from a request to an author, and from the service's answer to a response."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from rampd_server.domain.rollout.commands import Command
from rampd_server.ports import Author
from rampd_server.replica.replica import Replica
from rampd_server.rpc.binding import Call
from rampd_server.rpc.messages.convert import rollout_or_none
from rampd_server.service.service import Answer, Service


class MutatingRequest(Protocol):
    """The fields that every mutating request has."""

    component: str
    request_id: str
    expected_revision: int
    note: str

    def HasField(self, field_name: Any) -> bool: ...  # noqa: ANN401, N802 - as protobuf's stubs have it


Response = TypeVar("Response", bound=Message)


async def execute(
    service: Service,
    request: MutatingRequest,
    call: Call,
    command: Command,
    *,
    judge: Callable[[], Awaitable[None]] | None = None,
) -> Answer:
    """Runs one verb of the state machine."""
    return await service.execute(
        request.component,
        command,
        author_of(request, call),
        expected_revision=expected_revision(request),
        timeout_s=call.timeout_s,
        judge=judge,
    )


def author_of(request: MutatingRequest, call: Call) -> Author:
    """Returns the author of a request, for the history and the idempotency record."""
    return Author(
        actor=call.actor,
        action=call.method,
        note=request.note,
        is_claimed=call.is_actor_claimed,
        request_id=request.request_id,
        digest=call.digest if request.request_id else "",
        parts=call.parts if request.request_id else {},
    )


def expected_revision(request: MutatingRequest) -> int | None:
    """Returns the revision that the caller requires; None if there is none."""
    return request.expected_revision if request.HasField("expected_revision") else None


def respond(answer: Answer, response: type[Response], replica: Replica, **fields: object) -> Response:
    """Returns the response of a mutation: the fields that all mutations share, and its own fields."""
    return response(
        rollout=rollout_or_none(answer.rollout, answer.namespace, replica.now_ms()),
        changed=answer.result.changed,
        replayed=answer.is_replayed,
        message=answer.message,
        revision=answer.result.revision,
        **fields,
    )
