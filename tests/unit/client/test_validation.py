"""Every field of every request: a valid value passes, and the error for a wrong value names only that field."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from rampd import v1
from rampd._contract.field_rules import rule_of
from rampd._contract.validation import MOST_VIOLATIONS, violations
from rampd.v1 import release_service_pb2, resolver_service_pb2, rollout_service_pb2
from tests.messages import requests

REQUESTS: list[Descriptor] = [
    method.input_type
    for file in (resolver_service_pb2, release_service_pb2, rollout_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]

RIGHT: dict[str, Any] = {
    "component": "restyler",
    "components": ["restyler", "runner"],
    "confirm": "restyler",
    "repo": "acme/app",
    "prefix": "acme/",
    "job_id": "42",
    "client_id": "host-1",
    "request_id": "0a.b-c_d",
    "note": "because, naïvely 🚀",
    "tag": "pb/secret-branch",
    "attributes": {"commit": "1a2b", "memory/limit": "512 MiB"},
    "release": 7,
    "percent": 12.34,
    "page_token": "x",
    "after": "1795475919747-3120985532",
    "cursor": "epoch/1-2",
    "epoch": "epoch",
    "sequence": 1,
    "query": 'rate(jobs{tag="x"}[5m])\n> 0.1',
    "name": "error-rate",
    "stuck_after": Duration(seconds=3600),
    "alpha": 0.01,
    "tolerance": 1.25,
    "max_failure_rate": 0.1,
    "max_percent": 95.0,
    "min": -1.5,
    "max": 1.5,
    "update_mask": FieldMask(paths=["queue_mode", "unit"]),
    "expire_time": Timestamp(seconds=1_600_000_000, nanos=5),
}
# Fields that must be absent if another field is present.
EXCLUDED = {
    "SetOverrideRequest.tag",
    "OverrideChange.tag",
    "OverrideChange.delete",
    "FreezeRequest.all",
    "ListEventsRequest.every_component",
    "UnfreezeRequest.all",
}

TEXTS = {"note", "query", "attributes"}
HOSTILE_TEXTS = ["\0", "a\x1b[1m", "\x7f", "a\x85", "x" * 1_000_000]
HOSTILE_WORDS = [*HOSTILE_TEXTS, " ", "a b", "a\n", "\n", "é", "🚀", "a\u202eb", "\u3000"]
HOSTILE_DOUBLES = [float("nan"), float("inf"), float("-inf")]
HOSTILE_TIMES = [Timestamp(seconds=-1), Timestamp(seconds=2**62), Timestamp(nanos=-1), Timestamp(nanos=10**9)]
HOSTILE_DURATIONS = [Duration(seconds=-1), Duration(seconds=2**62), Duration(nanos=-1), Duration(nanos=10**9)]


def is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def is_own(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name.startswith("rampd.v1.")


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def put(message: Any, name: str, value: Any) -> None:
    """Sets a field of any kind; None clears it."""
    message.ClearField(name)
    if isinstance(value, dict):
        getattr(message, name).update(value)
    elif isinstance(value, list):
        getattr(message, name).extend(value)
    elif isinstance(value, Message):
        getattr(message, name).CopyFrom(value)
    elif value is not None:
        setattr(message, name, value)


def right_value(field: FieldDescriptor) -> Any:
    if is_own(field) and not is_map(field):
        values = [filled(field.message_type, index) for index in range(2)]
        return values if is_repeated(field) else values[0]
    if field.name in RIGHT:
        return RIGHT[field.name]
    if field.enum_type is not None:
        return 1
    if field.message_type is not None:
        return Duration(seconds=5)
    return True if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else 5


def filled(descriptor: Descriptor, index: int = 0) -> Any:
    """Returns a message with every field that it may have at the same time. Messages of one list differ by `index`."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if f"{descriptor.name}.{field.name}" not in EXCLUDED:
            put(message, field.name, right_value(field))
    if descriptor.name == "OverrideChange":
        message.repo += str(index)
    if descriptor.name == "Step":
        message.percent += index
    if descriptor.name == "Check":
        message.name += str(index)
    return message


@dataclass(frozen=True)
class Case:
    """A request that is wrong in one place."""

    request: Descriptor
    path: str
    reach: Callable[[Any], Any]
    field: str
    value: Any

    def __str__(self) -> str:
        return f"{self.request.name}-{self.path}-{ascii(self.value)[:40]}"

    def message(self) -> Message:
        message = filled(self.request)
        put(self.reach(message), self.field, self.value)
        return message  # type: ignore[no-any-return]


def cases(request: Descriptor, within: Descriptor, prefix: str, reach: Callable[[Any], Any]) -> Iterator[Case]:
    for field in within.fields:
        name = field.name
        for where, value in wrong_values(within, field):
            yield Case(request, f"{prefix}{name}{where}", reach, name, value)
        if is_own(field) and not is_map(field):
            index = "[1]" if is_repeated(field) else ""

            def deeper(message: Any, name: str = name, index: str = index) -> Any:
                child = getattr(reach(message), name)
                return child[1] if index else child

            yield from cases(request, field.message_type, f"{prefix}{name}{index}.", deeper)


def wrong_values(within: Descriptor, field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    if is_map(field):
        yield "", {f"key-{number}": "x" for number in range(65)}
        yield "", {f"key-{number}": "x" * 1000 for number in range(17)}
        for key in ["", "A", "a b", "a\n"]:
            yield f"[{key!r}]", {key: "x"}
        yield "['a']", {"a": "\0"}
        yield "['a']", {"a": "é" * 513}
    elif is_repeated(field):
        many = [RIGHT["component"]] * 1001 if field.message_type is None else [filled(field.message_type)] * 1001
        yield "", many
        if rule_of(field).whole.required:
            yield "", []
        if field.message_type is None:
            yield from (("[1]", ["restyler", hostile]) for hostile in HOSTILE_WORDS)
            yield "[2]", ["restyler", "runner", "restyler"]
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        hostile = HOSTILE_TEXTS if field.name in TEXTS else HOSTILE_WORDS
        yield from (("", text) for text in hostile if not (field.name == "query" and text == "\n"))
    elif field.enum_type is not None:
        yield from (("", number) for number in (77, -1, 2**31 - 1))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        yield from (("", number) for number in HOSTILE_DOUBLES)
        if field.name not in {"min", "max"}:
            yield from (("", number) for number in (-0.01, 100.01, -1e300))
        if "percent" in field.name:
            yield "", 12.345
    elif field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}:
        yield from (("", number) for number in (-1, -(2**31)))
        if field.name == "page_size":
            yield "", 1001
    elif field.message_type is not None and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        yield from (("", time) for time in HOSTILE_TIMES)
    elif field.message_type is not None and field.message_type.full_name == Duration.DESCRIPTOR.full_name:
        yield from (("", duration) for duration in HOSTILE_DURATIONS)
    if not is_repeated(field) and f"{within.name}.{field.name}" not in EXCLUDED and rule_of(field).required:
        yield "", None


CASES = [case for request in REQUESTS for case in cases(request, request, "", lambda message: message)]


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda descriptor: descriptor.name)
def test_every_field_of_every_request_has_a_rule(request_type: Descriptor) -> None:
    reached = [request_type]
    for message in reached:
        for field in message.fields:
            rule_of(field)
            if is_own(field) and not is_map(field) and field.message_type not in reached:
                reached.append(field.message_type)


def test_a_field_without_a_rule_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"no rule covers ReleaseResponse\.message"):
        violations(v1.ReleaseResponse())


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda descriptor: descriptor.name)
def test_a_valid_request_passes(request_type: Descriptor) -> None:
    assert violations(filled(request_type)) == []


def test_there_is_a_wrong_value_for_every_field_but_flags() -> None:
    covered = {(case.request.name, case.path.partition("[")[0].partition(".")[0]) for case in CASES}
    for request_type in REQUESTS:
        for field in request_type.fields:
            is_free = field.cpp_type == FieldDescriptor.CPPTYPE_BOOL or field.name == "update_mask"
            assert is_free or (request_type.name, field.name) in covered


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_error_names_a_wrong_value_and_nothing_else(case: Case) -> None:
    found = violations(case.message())
    assert [path for path, _ in found] == [case.path]
    [(_, text)] = found
    assert text.isprintable()
    assert len(text) < 300


def test_all_wrong_fields_are_found_at_once() -> None:
    request = v1.RampRequest(component="A", tag="-", percent=101, expected_revision=-1, request_id="é", note="\0")
    assert {path for path, _ in violations(request)} == {
        "component",
        "tag",
        "percent",
        "expected_revision",
        "request_id",
        "note",
    }


def test_a_violation_says_what_was_given_and_what_is_expected() -> None:
    [(_, text)] = violations(v1.RampRequest(component="restyler", percent=12.345))
    assert text == "must be a number from 0 to 100 with at most two decimals, such as 10 or 0.25; got 12.345"


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (v1.SetOverrideRequest(component="a", repo="b"), ["channel"]),
        (v1.SetOverrideRequest(component="a", repo="b", channel=1, tag="t"), ["tag"]),
        (v1.SetOverrideRequest(component="a", repo="b", tag="t"), []),
        (v1.SetOverrideRequest(component="a", repo="acme/*", channel=2), []),
        *((v1.SetOverrideRequest(component="a", repo=repo, tag="t"), ["repo"]) for repo in ("*", "a*", "a/*/b", "/*")),
        (v1.DeleteOverrideRequest(component="a", repo="a/*/b"), []),
        (v1.ResolveRequest(component="a", repo="a/*/b"), []),
        (
            v1.BatchSetOverridesRequest(
                component="a",
                overrides=[
                    v1.OverrideChange(repo="group/sub/*", tag="t"),
                    v1.OverrideChange(repo="group/*/x", tag="t"),
                    v1.OverrideChange(repo="*", delete=True),
                ],
            ),
            ["overrides[1].repo"],
        ),
        (v1.FreezeRequest(), ["component"]),
        (v1.FreezeRequest(all=True), []),
        (v1.FreezeRequest(all=True, component="a"), ["component"]),
        (v1.UnfreezeRequest(all=True, expected_revision=1), ["expected_revision"]),
        (v1.DeleteComponentRequest(component="a", confirm="b"), ["confirm"]),
        (v1.DeleteComponentRequest(component="a", confirm="a"), []),
        (v1.ListEventsRequest(), []),
        (v1.ListEventsRequest(every_component=True, after="1795475919747-3120985532"), []),
        (v1.ListEventsRequest(every_component=True, component="a"), ["component"]),
        (v1.ListEventsRequest(component="a", after="now"), ["after"]),
        (v1.ListReleasesRequest(component="a", page_size=101), ["page_size"]),
        (v1.GetReleaseRequest(component="a", release=0), ["release"]),
        (v1.RampRequest(component="a"), ["percent"]),
        (v1.RampRequest(component="a", percent=0), []),
        (v1.RampRequest(component="a", percent=1, confirm_within=Duration()), ["confirm_within"]),
        (v1.SetPolicyRequest(component="a", policy=v1.Policy()), []),
        (v1.SetPolicyRequest(component="a", policy=v1.Policy(alpha=0)), ["policy.alpha"]),
        (v1.SetPolicyRequest(component="a", policy=v1.Policy(alpha=1)), ["policy.alpha"]),
        (
            v1.SetPolicyRequest(component="a", policy=v1.Policy(), update_mask=FieldMask(paths=["queue_mod"])),
            ["update_mask"],
        ),
        (
            v1.SetPolicyRequest(component="a", policy=v1.Policy(), update_mask=FieldMask(paths=["unit", "unit"])),
            ["update_mask"],
        ),
        (
            v1.SetPolicyRequest(
                component="a", policy=v1.Policy(max_percent=50, steps=[v1.Step(percent=p) for p in (5, 5, 60)])
            ),
            ["policy.steps[1].percent", "policy.steps[2].percent"],
        ),
        (
            v1.SetPolicyRequest(component="a", policy=v1.Policy(steps=[v1.Step(percent=p) for p in range(1, 52)])),
            ["policy.steps"],
        ),
        (
            v1.SetPolicyRequest(
                component="a",
                policy=v1.Policy(checks=[v1.Check(name="n", query="q", interval=Duration(seconds=1), min=2, max=1)]),
            ),
            ["policy.checks[0].max"],
        ),
        (
            v1.SetPolicyRequest(
                component="a", policy=v1.Policy(checks=[v1.Check(name="n", query="q", interval=Duration(seconds=1))])
            ),
            ["policy.checks[0].min"],
        ),
        (
            v1.BatchSetOverridesRequest(
                component="a",
                overrides=[
                    v1.OverrideChange(repo="x", tag="t"),
                    v1.OverrideChange(repo="X", delete=True),
                    v1.OverrideChange(repo="x", channel=1),
                    v1.OverrideChange(repo="y", delete=True, expire_time=Timestamp(seconds=1)),
                    v1.OverrideChange(repo="z", channel=1, delete=True),
                ],
            ),
            ["overrides[3].expire_time", "overrides[4].delete", "overrides[2].repo"],
        ),
    ],
    ids=str,
)
def test_contradicting_fields_of_a_request_are_named(request_: Message, paths: list[str]) -> None:
    assert [path for path, _ in violations(request_)] == paths


def test_the_error_names_a_wrong_job_of_a_batch_by_its_index() -> None:
    jobs = [v1.ResolveRequest(component="a", repo="b"), v1.ResolveRequest(component="A", repo="b", min_revision=-1)]
    found = violations(v1.BatchResolveRequest(requests=jobs))
    assert [path for path, _ in found] == ["requests[1].component", "requests[1].min_revision"]


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda descriptor: descriptor.name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_request_can_be_checked_and_errors_name_existing_fields(
    request_type: Descriptor, data: st.DataObject
) -> None:
    message = data.draw(requests(request_type))
    for path, text in violations(message):
        assert path.partition(".")[0].partition("[")[0] in request_type.fields_by_name
        assert text.isprintable()


def test_of_a_long_list_only_the_first_mistakes_are_found() -> None:
    """Each costs time, and a request may have a thousand."""
    wrong = v1.ResolveRequest(component="A", repo="acme/app")
    found = violations(v1.BatchResolveRequest(requests=[wrong] * 1000))
    assert len(found) == MOST_VIOLATIONS
    assert found[-1][0] == "requests[99].component"
