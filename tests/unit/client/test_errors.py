"""From the status of a server to the raised exception."""

import pickle
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

import rampd
from rampd import errors, v1
from rampd._calls.status import error_of_call, error_of_status
from rampd_server.domain.errors import InvalidRequestError, Reason
from rampd_server.domain.errors import RampdError as Refusal
from rampd_server.rpc.error_status import to_status

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.RampdError)]
EXPECTED = {
    Reason.INVALID_FIELD: rampd.InvalidArgumentError,
    Reason.REQUEST_ID_REUSED: rampd.InvalidArgumentError,
    Reason.TOO_LARGE: rampd.InvalidArgumentError,
    Reason.COMPONENT_NOT_FOUND: rampd.NotFoundError,
    Reason.RELEASE_NOT_FOUND: rampd.NotFoundError,
    Reason.OVERRIDE_NOT_FOUND: rampd.NotFoundError,
    Reason.REVISION_MISMATCH: rampd.AbortedError,
    Reason.CONTENTION: rampd.AbortedError,
    Reason.QUEUE_FULL: rampd.ResourceExhaustedError,
    Reason.LIMIT_EXCEEDED: rampd.ResourceExhaustedError,
    Reason.NO_CREDENTIALS: rampd.UnauthenticatedError,
    Reason.BAD_CREDENTIALS: rampd.UnauthenticatedError,
    Reason.ROLE_REQUIRED: rampd.PermissionDeniedError,
    Reason.STORE_UNAVAILABLE: rampd.UnavailableError,
    Reason.STORE_RESET: rampd.UnavailableError,
    Reason.NO_SNAPSHOT: rampd.UnavailableError,
    Reason.STORE_CORRUPT: rampd.InternalError,
    Reason.INTERNAL: rampd.InternalError,
    Reason.NOT_IMPLEMENTED: rampd.UnimplementedError,
}
RETRYABLE = {Reason.CONTENTION, Reason.LIMIT_EXCEEDED, Reason.STORE_UNAVAILABLE, Reason.NO_SNAPSHOT}


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_of_the_server_becomes_the_matching_error(reason: Reason) -> None:
    error = error_of_status(to_status(Refusal(reason, "what to do", tag="20200409")))
    assert type(error) is EXPECTED.get(reason, rampd.FailedPreconditionError)
    assert error.reason == reason.value
    assert error.message == str(error) == "what to do"
    assert error.metadata == {"tag": "20200409"}
    assert error.retryable == (reason in RETRYABLE)


def test_the_server_knows_every_reason_of_the_api() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in v1.ErrorReason.keys()}  # noqa: SIM118 - it is not a dict
    assert {reason.value for reason in Reason} == names - {"UNSPECIFIED"}


def test_the_fields_of_a_refused_request_arrive() -> None:
    wrong = [("component", "must be ..."), ("attributes['A']", "its key ...")]
    error = error_of_status(to_status(InvalidRequestError(wrong)))
    assert isinstance(error, rampd.InvalidArgumentError)
    assert error.violations == tuple(wrong)


def test_the_client_refuses_with_the_words_of_the_server() -> None:
    wrong = [("component", "must be ..."), ("percent", "is required")]
    theirs = error_of_status(to_status(InvalidRequestError(wrong)))
    ours = rampd.InvalidArgumentError(violations=wrong)
    assert (ours.message, ours.reason, ours.violations) == (theirs.message, theirs.reason, theirs.violations)  # type: ignore[attr-defined]


class Call(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode, details: str = "", metadata: Any = ()) -> None:
        self._said = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._said[0]

    def details(self) -> str:
        return self._said[1]

    def trailing_metadata(self) -> Any:
        return self._said[2]

    add_callback = cancel = initial_metadata = is_active = time_remaining = None


def of_call(*said: Any) -> errors.RampdError:
    return error_of_call(Call(*said), method="Ramp", target="rampd:1", timeout_s=5)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_an_error_that_is_not_from_rampd_has_the_name_of_its_status(code: grpc.StatusCode) -> None:
    error = of_call(code, "says a proxy")
    assert isinstance(error, errors.RampdError)
    assert error.retryable == (code.name in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
    assert error.message
    if type(error) not in {rampd.InternalError, rampd.InvalidArgumentError, rampd.UnimplementedError}:
        assert error.reason == ("UNAVAILABLE" if code is grpc.StatusCode.CANCELLED else code.name)


def test_the_error_names_a_server_that_does_not_exist() -> None:
    error = of_call(grpc.StatusCode.UNAVAILABLE, "connection refused")
    assert error.message == "Can't reach a rampd server at rampd:1: connection refused"


def test_the_error_of_a_deadline_names_the_method_and_the_time() -> None:
    error = of_call(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    assert error.message == "rampd:1 has not answered Ramp in time (5 s)."


DETAILS = "grpc-status-details-bin"


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        [(DETAILS, b"\xff\xff")],
        [(DETAILS, Status(code=5).SerializeToString())],
        [("other", "x"), (DETAILS, Status(code=14).SerializeToString())],
    ],
    ids=["none", "no status", "of another code", "without a reason"],
)
def test_malformed_details_are_left_out(metadata: Any) -> None:
    error = of_call(grpc.StatusCode.UNAVAILABLE, "gone", metadata)
    assert type(error) is rampd.UnavailableError
    assert error.reason == "UNAVAILABLE"


def test_a_reason_of_another_domain_is_ignored() -> None:
    status = Status(code=grpc.StatusCode.ABORTED.value[0], message="no")
    status.details.add().Pack(ErrorInfo(reason="CONTENTION", domain="example.org"))
    error = error_of_status(status)
    assert (error.reason, error.retryable) == ("ABORTED", False)


def test_an_error_without_a_call_is_an_internal_error() -> None:
    error = error_of_call(grpc.RpcError("odd"), method="Ramp", target="rampd:1", timeout_s=None)
    assert type(error) is rampd.InternalError


@pytest.mark.parametrize("error_class", CLASSES)
def test_every_error_says_when_it_is_raised(error_class: type[errors.RampdError]) -> None:
    assert (error_class.__doc__ or "").startswith("Raised when")


@pytest.mark.parametrize("error_class", CLASSES)
def test_every_error_is_public_and_in_the_documented_tree(error_class: type[errors.RampdError]) -> None:
    assert error_class.__name__ in rampd.__all__
    assert error_class.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("error_class", CLASSES)
def test_an_error_can_be_pickled_for_another_process(error_class: type[errors.RampdError]) -> None:
    error = error_class("no", reason="CONTENTION", metadata={"a": "b"})
    if isinstance(error, errors.InvalidArgumentError):
        error = errors.InvalidArgumentError(reason="TOO_LARGE", violations=[("a", "b")])
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
