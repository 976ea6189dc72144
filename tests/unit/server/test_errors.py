"""The table from reasons to status codes, against the contract."""

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from rampd import v1
from rampd._contract.validation import violations
from rampd_server.domain.errors import InvalidRequestError, RampdError, Reason
from rampd_server.rpc.error_status import STATUS_CODES, not_implemented, to_status

PROTO = Path(__file__).parents[3] / "proto" / "rampd" / "v1" / "error_reason.proto"


def test_reasons_are_those_of_the_contract():
    contract = {name.removeprefix("ERROR_REASON_") for name, _ in v1.ErrorReason.items()} - {"UNSPECIFIED"}
    assert set(Reason) == contract


def test_every_reason_has_the_status_code_that_its_comment_names():
    comments = re.findall(r"// ([A-Z_]+): .*\n(?: *//.*\n)* *ERROR_REASON_(\w+) =", PROTO.read_text())
    commented = {reason: code for code, reason in comments}
    assert {reason.value: code.name for reason, code in STATUS_CODES.items()} == commented


def test_a_status_has_one_error_info():
    status = to_status(RampdError(Reason.HELD, "Held.", held_reason="bad"))
    assert (status.code, status.message) == (grpc.StatusCode.FAILED_PRECONDITION.value[0], "Held.")
    info = error_details_pb2.ErrorInfo()
    [detail] = status.details
    assert detail.Unpack(info)
    assert (info.domain, info.reason, dict(info.metadata)) == ("rampd", "HELD", {"held_reason": "bad"})


def test_what_is_cut_from_a_list_is_counted():
    status = to_status(InvalidRequestError([(f"overrides[{n}].repo", "is empty") for n in range(1000)]))
    shown = status.message.count("is empty")
    assert 10 < shown < 100
    assert status.message.endswith(f"; … and {1000 - shown} more")


def test_a_short_list_is_whole():
    status = to_status(InvalidRequestError([("a", "is empty"), ("b", "is empty")]))
    assert status.message == "a: is empty; b: is empty"


@pytest.mark.parametrize(
    "request_",
    [
        v1.SetOverrideRequest(component="a", repo="a" * 200 + "/*/" + "b" * 50, tag="t"),
        v1.SetOverrideRequest(component="a", repo="🚀" * 100 + "b", tag="t"),
        v1.QuarantineRequest(component="a", tag="a" * 100 + "🚀" * 100),
        v1.QuarantineRequest(component="a", tag="t", note="a" * 400 + "\x1b" * 50),
        v1.RampRequest(component="a" * 40 + "\0" * 40, percent=1),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_wrong_with_a_name_is_told_to_the_end(request_):
    [(field, text)] = violations(request_)
    status = to_status(InvalidRequestError([(field, text)]))
    assert status.message == f"{field}: {text}"
    request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(request)
    assert request.field_violations[0].description == text


@pytest.mark.parametrize("text", ["é" * 5000, "😀" * 5000, "x" * 5000])
def test_no_character_is_cut_in_two(text):
    message = to_status(RampdError(Reason.HELD, text)).message
    assert message.rstrip("…") == text[: len(message) - 1]
    assert len(message.encode()) <= 800


def test_text_that_is_no_unicode_does_not_break_the_answer():
    status = to_status(RampdError(Reason.HELD, "a\udc80b", tag="\udc80"))
    assert status.message == "a?b"


def test_what_is_not_there_yet_is_unimplemented():
    status = to_status(not_implemented("confirm_within"))
    assert status.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert status.message.startswith("confirm_within is declared but not there yet")
