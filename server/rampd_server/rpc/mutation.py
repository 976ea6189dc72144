"""The code that all mutating RPCs share: from a request to an author, and from the service's answer to a response."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from rampd import v1
from rampd_server.domain.rollout.commands import Command
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Author, Override
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
    dry_run: bool

    def HasField(self, field_name: Any) -> bool: ...  # noqa: ANN401, N802 - as protobuf's stubs have it


class Previewer(Protocol):
    """Says to whom a change of a component would give another version."""

    async def __call__(
        self, before: Rollout | Absent, after: Rollout | Absent, overrides: Mapping[str, Override | None], /
    ) -> v1.Preview | None:
        """`before` and `after` are the component as it is and as it would be. `overrides` are the overrides that would be set, and
        None for each that would be deleted. None: nothing is known.
        """


async def no_preview(
    _before: Rollout | Absent, _after: Rollout | Absent, _overrides: Mapping[str, Override | None]
) -> None:
    """The previewer of a server that does not know which repos there are."""


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
        is_dry_run=request.dry_run,
    )


def expected_revision(request: MutatingRequest) -> int | None:
    """Returns the revision that the caller requires; None if there is none."""
    return request.expected_revision if request.HasField("expected_revision") else None


async def respond(
    answer: Answer,
    request: MutatingRequest,
    response: type[Response],
    replica: Replica,
    preview: Previewer,
    *,
    overrides: Mapping[str, Override | None] | None = None,
    **fields: object,
) -> Response:
    """Returns the response of a mutation: the fields that all mutations share, and its own fields. `overrides` are the changes of
    overrides, for the preview of a dry run.
    """
    before, after, previewed = answer.before, answer.rollout, None
    if request.dry_run and before is not None and after is not None:
        previewed = await preview(before, after, overrides or {})
    return response(
        rollout=rollout_or_none(answer.rollout, answer.namespace, replica.now_ms()),
        changed=answer.result.changed,
        replayed=answer.is_replayed,
        message=answer.message,
        revision=answer.result.revision,
        replicas=answer.replicas,
        preview=previewed,
        **fields,
    )
