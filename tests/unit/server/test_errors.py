"""The reasons, their status codes and their metadata, against the contract."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from rampd import v1
from rampd._contract.validation import violations
from rampd_server.domain import errors, refusals
from rampd_server.domain.errors import InvalidRequestError, RampdError, Reason
from rampd_server.rpc.error_status import STATUS_CODES, to_status

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "proto" / "rampd" / "v1" / "error_reason.proto"
SERVER = ROOT / "server" / "rampd_server"

HOMES: Mapping[Reason, Callable[..., RampdError]] = {
    Reason.INVALID_FIELD: InvalidRequestError,
    Reason.STORE_UNAVAILABLE: errors.StoreUnavailableError,
    Reason.STORE_RESET: errors.StoreResetError,
    Reason.NO_SNAPSHOT: errors.NoSnapshotError,
    Reason.STORE_CORRUPT: errors.StoreCorruptError,
    Reason.LIMIT_EXCEEDED: errors.LimitExceededError,
} | {reason: found for reason in Reason if (found := getattr(refusals, reason.lower(), None))}
"""What makes the error of each reason."""


def test_reasons_are_those_of_the_contract():
    contract = {name.removeprefix("ERROR_REASON_") for name, _ in v1.ErrorReason.items()} - {"UNSPECIFIED"}
    assert set(Reason) == contract


def test_every_reason_has_the_status_code_that_its_comment_names():
    comments = re.findall(r"// ([A-Z_]+): .*\n(?: *//.*\n)* *ERROR_REASON_(\w+) =", PROTO.read_text())
    commented = {reason: code for code, reason in comments}
    assert {reason.value: code.name for reason, code in STATUS_CODES.items()} == commented


def documented_metadata() -> dict[Reason, set[str]]:
    """Returns the keys that the comment of each reason promises: the quoted words after `Metadata`, outside of parentheses."""
    found: dict[Reason, set[str]] = {}
    comment = ""
    for line in PROTO.read_text().splitlines():
        if match := re.match(r" *// ?(.*)", line):
            comment += f" {match[1]}"
        elif match := re.match(r" *ERROR_REASON_(\w+) =", line):
            if match[1] != "UNSPECIFIED":
                told = re.sub(r"\(.*?\)", "", comment.partition("Metadata")[2])
                found[Reason(match[1])] = set(re.findall("`([a-z_]+)`", told)) - {"min_revision"}
            comment = ""
        else:
            comment = ""
    return found


def test_every_reason_has_one_function_or_class_that_makes_its_error():
    assert HOMES.keys() == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_an_error_has_the_metadata_that_the_comment_of_its_reason_promises(reason: Reason):
    documented = documented_metadata()[reason]
    make = HOMES[reason]
    parameters = inspect.signature(make).parameters.values()
    given = {p.name: 7 for p in parameters if p.kind is p.KEYWORD_ONLY}
    texts = ["a" for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    error = make([("field", "is wrong")]) if reason is Reason.INVALID_FIELD else make(*texts, **given)
    assert (error.reason, set(error.metadata)) == (reason, documented)
    assert set(error.metadata.values()) <= {"7"}


def test_no_error_of_a_reason_is_made_anywhere_else():
    homes = {SERVER / "domain" / "errors.py", SERVER / "domain" / "refusals.py"}
    others = [
        f"{path.relative_to(SERVER)}:{node.lineno}"
        for path in SERVER.rglob("*.py")
        if path not in homes
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in {"RampdError", "RefusedError"}
    ]
    assert others == []


def test_a_status_has_exactly_one_error_info():
    status = to_status(RampdError(Reason.HELD, "Held.", held_reason="bad"))
    assert (status.code, status.message) == (grpc.StatusCode.FAILED_PRECONDITION.value[0], "Held.")
    info = error_details_pb2.ErrorInfo()
    [detail] = status.details
    assert detail.Unpack(info)
    assert (info.domain, info.reason, dict(info.metadata)) == ("rampd", "HELD", {"held_reason": "bad"})


def test_the_items_that_are_cut_from_a_list_are_counted():
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
def test_the_description_of_a_wrong_name_is_complete(request_):
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


def test_text_that_is_not_unicode_does_not_break_the_answer():
    status = to_status(RampdError(Reason.HELD, "a\udc80b", tag="\udc80"))
    assert status.message == "a?b"


def test_a_feature_that_does_not_exist_yet_is_unimplemented():
    status = to_status(refusals.not_implemented("confirm_within"))
    assert status.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert status.message.startswith("confirm_within is declared but not there yet")
