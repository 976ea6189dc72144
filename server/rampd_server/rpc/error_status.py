"""The table from reasons to gRPC status codes, and the conversion of errors into statuses."""

import typing

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from rampd_server.domain.errors import DeadlineError, InvalidRequestError, LimitExceededError, RampdError, Reason

DOMAIN = "rampd"
DETAILS_KEY = "grpc-status-details-bin"
"""The trailer that has a google.rpc.Status."""

STATUS_CODES = {
    Reason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.REQUEST_ID_REUSED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.COMPONENT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.RELEASE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.OVERRIDE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.NO_ROLLOUT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TAG_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_RAMPED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.HELD: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.FROZEN: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TAG_QUARANTINED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NO_PREVIOUS: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.QUEUE_REJECTS: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_QUEUED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOTHING_TO_CONFIRM: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ROLLOUT_IN_PROGRESS: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.REVISION_MISMATCH: grpc.StatusCode.ABORTED,
    Reason.CONTENTION: grpc.StatusCode.ABORTED,
    Reason.QUEUE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.NO_CREDENTIALS: grpc.StatusCode.UNAUTHENTICATED,
    Reason.BAD_CREDENTIALS: grpc.StatusCode.UNAUTHENTICATED,
    Reason.ROLE_REQUIRED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.STORE_RESET: grpc.StatusCode.UNAVAILABLE,
    Reason.NO_SNAPSHOT: grpc.StatusCode.UNAVAILABLE,
    Reason.STORE_CORRUPT: grpc.StatusCode.INTERNAL,
    Reason.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.LIMIT_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

# All headers of an answer together have room for 8 KiB. The message is sent twice, once with three bytes for each byte
# that is not ASCII. The details are sent as base64, four bytes for three. With these limits the worst case is 7.9 KiB.
_MAX_MESSAGE = 800
_MAX_METADATA = 256
_MAX_METADATA_SUM = 600
_MAX_FIELD = 128
_MAX_DESCRIPTION = 400
_MAX_VIOLATIONS_SUM = 2000
_LATE_S = 0.01
"""A call that ends so shortly before its deadline has ended with it: timers are not exact."""


def ending_of(error: RampdError | DeadlineError) -> tuple[grpc.StatusCode, str]:
    """The status and the reason with which an error ends a call. The reason is empty if rampd has none."""
    if isinstance(error, RampdError):
        return STATUS_CODES[error.reason], error.reason.value
    return grpc.StatusCode.DEADLINE_EXCEEDED, ""


def status_without_answer(left_s: float | None) -> grpc.StatusCode:
    """The status of a call that ends without an answer and without a refusal: its caller has gone, or its time is over. `left_s` is
    what is left of the time; None if the caller set no deadline.
    """
    is_late = left_s is not None and left_s <= _LATE_S
    return grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED


def to_status(error: RampdError) -> status_pb2.Status:
    """Returns the google.rpc.Status of an error, with an ErrorInfo, and with a BadRequest if fields are wrong.

    Long texts and lists are cut so that they fit into the headers of an answer. The message then says how much is
    missing.
    """
    message = _cut(error.message, _MAX_MESSAGE)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    ]
    if isinstance(error, InvalidRequestError):
        message = _summary(error.violations)
        details.append(_bad_request(error.violations))
    if isinstance(error, LimitExceededError):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(max(1, round(error.retry_after_s * 1000)))
        details.append(retry)
    return status_pb2.Status(
        code=STATUS_CODES[error.reason].value[0], message=message, details=[_packed(detail) for detail in details]
    )


async def abort(context: grpc.aio.ServicerContext[typing.Any, typing.Any], error: RampdError | DeadlineError) -> None:
    """Ends the call with the error; always raises, for gRPC to catch."""
    if isinstance(error, DeadlineError):
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, str(error))
    await context.abort_with_status(rpc_status.to_status(to_status(error)))


def _metadata(error: RampdError) -> dict[str, str]:
    found: dict[str, str] = {}
    room = _MAX_METADATA_SUM
    for key, value in error.metadata.items():
        text = _cut(value, _MAX_METADATA)
        room -= len(key) + len(text.encode())
        if room < 0:
            break
        found[key] = text
    return found


def _bad_request(violations: tuple[tuple[str, str], ...]) -> error_details_pb2.BadRequest:
    answer = error_details_pb2.BadRequest()
    room = _MAX_VIOLATIONS_SUM
    for violation in map(_cut_violation, violations):
        room -= len("".join(violation).encode()) + 8
        if room < 0:
            break
        answer.field_violations.add(field=violation[0], description=violation[1])
    return answer


def _summary(violations: tuple[tuple[str, str], ...]) -> str:
    room = _MAX_MESSAGE - len("; … and 1000000 more")
    parts: list[str] = []
    for violation in violations:
        part = ": ".join(_cut_violation(violation))
        room -= len(part.encode()) + 2
        if room < 0:
            parts.append(f"… and {len(violations) - len(parts)} more")
            break
        parts.append(part)
    return "; ".join(parts)


def _cut_violation(violation: tuple[str, str]) -> tuple[str, str]:
    return _cut(violation[0], _MAX_FIELD), _cut(violation[1], _MAX_DESCRIPTION)


def _cut(text: str, limit: int) -> str:
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed
