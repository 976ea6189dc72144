"""Converts the errors of gRPC, and the statuses in a batch, to the errors of this library."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from rampd import errors
from rampd._calls.tls_error import explained
from rampd.errors import InvalidArgumentError, RampdError

_DOMAIN = "rampd"
_DETAILS_KEY = "grpc-status-details-bin"

_CLASSES: Mapping[grpc.StatusCode, type[RampdError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPreconditionError,
    grpc.StatusCode.ABORTED: errors.AbortedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhaustedError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    # The server cancels a call when it shuts down.
    grpc.StatusCode.CANCELLED: errors.UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: errors.UnimplementedError,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}

RpcError: TypeAlias = grpc.RpcError
"""The error of a failed call. It has a code, details and trailing metadata."""

Detail = TypeVar("Detail", bound=Message)


def error_of_call(error: RpcError, *, method: str, target: str, timeout_s: float | None) -> RampdError:
    """Returns the RampdError for an error of gRPC."""
    if not isinstance(error, grpc.Call):
        return errors.InternalError(f"{method} of {target} failed: {error!r}")
    code: grpc.StatusCode = error.code()
    text = error.details() or code.name
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"{target} has not answered {method} in time"
        text += f" ({timeout_s:g} s)." if timeout_s is not None else "."
    elif (status := _status(error, code)) is not None:
        return error_of_status(status)
    elif code is grpc.StatusCode.UNAVAILABLE:
        text = f"Can't reach a rampd server at {target}: {explained(text, target)}"
    else:
        text = f"{method} of {target}: {text}"
    return _made(code, text, details=())


def error_of_status(status: Status) -> RampdError:
    """Returns the RampdError for a google.rpc.Status."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _made(code, status.message or code.name, status.details)


def _made(code: grpc.StatusCode, message: str, details: Iterable[AnyMessage]) -> RampdError:
    info = _detail(details, ErrorInfo)
    is_ours = info is not None and info.domain == _DOMAIN
    reason, metadata = (info.reason, dict(info.metadata)) if info is not None and is_ours else ("", {})
    error_class = _CLASSES.get(code, errors.InternalError)
    if error_class is not InvalidArgumentError:
        error = error_class(message, reason=reason, metadata=metadata)
        if (retry := _detail(details, RetryInfo)) is not None:
            error.retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        return error
    request = _detail(details, BadRequest) or BadRequest()
    violations = [(violation.field, violation.description) for violation in request.field_violations]
    return InvalidArgumentError(message, reason=reason, metadata=metadata, violations=violations)


def _detail(details: Iterable[AnyMessage], kind: type[Detail]) -> Detail | None:
    found = kind()
    for detail in details:
        try:
            if detail.Unpack(found):
                return found
        except DecodeError:
            continue
    return None


def _status(error: grpc.Call, code: grpc.StatusCode) -> Status | None:
    """Returns the Status that a rampd server sends beside the code. None if a proxy or another server has answered."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                status = Status.FromString(value)
            except DecodeError:
                return None
            return status if status.code == code.value[0] else None
    return None
