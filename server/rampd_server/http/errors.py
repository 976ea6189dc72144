"""Errors as Connect's protocol writes them: a status of HTTP, and JSON with a code, a message and the details."""

import base64
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2
from starlette.responses import JSONResponse

from rampd_server.rpc.call_error import CallError

STATUS_OF: Final[Mapping[int, int]] = {
    code_pb2.CANCELLED: 499,
    code_pb2.UNKNOWN: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    code_pb2.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
    code_pb2.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    code_pb2.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    code_pb2.ABORTED: HTTPStatus.CONFLICT,
    code_pb2.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    code_pb2.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    code_pb2.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    code_pb2.DATA_LOSS: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
}
"""The status of HTTP for each code, as the protocol has it."""


def error_response(error: CallError) -> JSONResponse:
    """The answer to a call that is refused or fails."""
    status = error.status
    headers = {"cache-control": "no-store"}
    if status.code == code_pb2.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    retry = error_details_pb2.RetryInfo()
    if any(detail.Unpack(retry) for detail in status.details):
        headers["retry-after"] = str(max(1, math.ceil(retry.retry_delay.ToNanoseconds() / 1_000_000_000)))
    return JSONResponse(error_content(status), STATUS_OF[status.code], headers)


def error_content(status: status_pb2.Status) -> Mapping[str, Any]:
    """An error as the protocol has it in JSON."""
    content: dict[str, Any] = {"code": code_of(status), "message": status.message}
    if status.details:
        content["details"] = [_detail(detail) for detail in status.details]
    return content


def code_of(status: status_pb2.Status) -> str:
    """The code of an error as the protocol writes it: `not_found`."""
    return "canceled" if status.code == code_pb2.CANCELLED else code_pb2.Code.Name(status.code).lower()


def _detail(detail: Any) -> Mapping[str, Any]:  # noqa: ANN401 - google.protobuf.Any
    fields = json_format.MessageToDict(detail)
    fields.pop("@type")
    return {
        "type": detail.TypeName(),
        "value": base64.b64encode(detail.value).decode().rstrip("="),
        "debug": fields,
    }
