"""Every RPC refuses hostile input clearly, changes nothing, and the server goes on."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rampd_server import testing
from rampd_server.rpc.binding import SERVICES
from tests.messages import COMPONENT, requests
from tests.nights import IS_NIGHT
from tests.over_http import HttpChannel, stubs_over_http
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer

METHODS = [method for service in SERVICES.values() for method in service.methods]
NOT_UTF8 = b"\x02\xff\xfe"
# The statuses that a well-formed request may get. INTERNAL and UNKNOWN are defects.
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


@pytest.fixture(scope="module", params=["grpc", "proto"])
def call(request: pytest.FixtureRequest, store_process: StoreServer) -> Iterator[Stubs]:
    settings = {"namespace": f"bad-input-{request.param}", "http": "127.0.0.1:0"}
    with (
        short_directory() as directory,
        testing.listening(directory, store_process.url, **settings) as found,
        stubs(str(found.grpc))
        if request.param == "grpc"
        else stubs_over_http(f"http://{found.http}", request.param) as made,
    ):
        yield made


def send(
    call: Stubs, method: MethodDescriptor, data: bytes, *, stream_s: float = 60
) -> tuple[grpc.StatusCode, grpc.RpcError | None]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.server_streaming:
            stream = call.channel.unary_stream(path)(data, timeout=stream_s)
            next(iter(stream), None)
            stream.cancel()
        else:
            call.channel.unary_unary(path)(data, timeout=60)
    except grpc.RpcError as error:
        return error.code(), error
    return grpc.StatusCode.OK, None


def state(call: Stubs) -> list[bytes]:
    answer = call("ListRollouts", page_size=1000)
    return [rollout.SerializeToString(deterministic=True) for rollout in answer.rollouts]


def newest(call: Stubs) -> str:
    """Returns the id of the newest event."""
    return next((event.id for event in call("ListEvents", every_component=True, page_size=1).events), "")


def has_changed_by_itself(call: Stubs, since: str) -> bool:
    """Whether automation has changed something after the event `since`, and nobody else. An earlier request may have begun that."""
    return {event.actor for event in call("ListEvents", every_component=True, after=since).events} == {"rampd"}


def named_fields(error: grpc.RpcError) -> list[str]:
    """Returns the fields that a refusal names. Fails if the error is not a refusal of rampd."""
    for detail in rpc_status.from_call(error).details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            return [violation.field for violation in bad.field_violations]
    raise AssertionError(error)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@settings(
    max_examples=25 if IS_NIGHT else 10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_any_request_is_done_or_refused_completely(call: Stubs, method: MethodDescriptor, data: st.DataObject) -> None:
    for tag in ("20200301", "20200409"):
        call("Release", component=COMPONENT, tag=tag, force=True)
    request: Message = data.draw(requests(method.input_type))
    last, before = newest(call), state(call)
    # A stream may have nothing to send, although its request is valid.
    code, error = send(call, method, request.SerializeToString(), stream_s=0.3)
    assert code in ANSWERS, error
    if error is not None:
        assert "Traceback" not in str(error.details())
        assert "rampd_server" not in str(error.details())
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        assert error is not None
        assert _reason(error) == "REQUEST_ID_REUSED" or named_fields(error)
        assert state(call) == before or has_changed_by_itself(call, last)


def _reason(error: grpc.RpcError) -> str:
    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    raise AssertionError(error)


NO_MESSAGE = {
    "cut-tag": b"\xff",
    "cut-length": b"\x0a\xff",
    "not-utf-8": NOT_UTF8,
    "cut-text": b"\x0a\x05abc",
    "json": b"{}",
    "zeros": b"\x00" * 64,
}
OF_A_FIELD = frozenset({"not-utf-8", "zeros"})
"""Wrong only where the request has a field of that number."""


@pytest.mark.parametrize(
    ("method", "data"),
    [
        pytest.param(method, data, id=f"{kind}-{method.name}")
        for kind, data in NO_MESSAGE.items()
        for method in METHODS
        if method.input_type.fields or kind not in OF_A_FIELD
    ],
)
def test_bytes_that_are_not_a_message_are_an_invalid_field(call: Stubs, method: MethodDescriptor, data: bytes) -> None:
    if data == NOT_UTF8:
        texts = [field.number for field in method.input_type.fields if field.cpp_type == field.CPPTYPE_STRING]
        data = bytes([(texts or [1])[0] << 3 | 2]) + data
    code, error = send(call, method, data)
    assert code is grpc.StatusCode.INVALID_ARGUMENT, (code, error)
    assert error is not None
    assert _reason(error) == "INVALID_FIELD"
    assert named_fields(error)


def test_a_message_over_four_mebibytes_is_refused_and_the_server_lives(call: Stubs) -> None:
    method = SERVICES["ReleaseService"].methods_by_name["Release"]
    code, error = send(call, method, b"\x0a" + b"\xff\xff\xff\x02" + b"a" * (5 << 20))
    # gRPC refuses it by itself, without a reason.
    is_grpc = not isinstance(call.channel, HttpChannel)
    assert code is (grpc.StatusCode.RESOURCE_EXHAUSTED if is_grpc else grpc.StatusCode.INVALID_ARGUMENT)
    assert is_grpc or (error is not None and _reason(error) == "TOO_LARGE")
    assert state(call) is not None
