"""Errors as Connect's protocol writes them."""

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from rampd_server.http.errors import error_response
from rampd_server.rpc.call_error import CallError


@pytest.mark.parametrize(
    ("wait_s", "sent"), [(0, "1"), (0.2, "1"), (1, "1"), (1.0000001, "2"), (1.4, "2"), (59.5, "60")]
)
def test_who_waits_as_long_as_the_header_says_is_not_too_early(wait_s: float, sent: str) -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(round(wait_s * 1_000_000_000))
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED)
    status.details.add().Pack(retry)
    assert error_response(CallError(status)).headers["retry-after"] == sent
