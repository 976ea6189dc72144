"""From Python values to requests: any invalid value is refused with the name of its field."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from rampd import Channel, InvalidArgumentError, v1
from rampd._calls.request import actor_metadata, make


def refused(request: type[Message], **fields: object) -> dict[str, str]:
    with pytest.raises(InvalidArgumentError) as caught:
        make(request, **fields)
    assert caught.value.reason == "INVALID_FIELD"
    assert not caught.value.retryable
    return dict(caught.value.violations)


def test_times_durations_and_channels_are_accepted_as_python_values() -> None:
    at = datetime(2026, 5, 4, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    request = make(v1.SetOverrideRequest, component="a", repo="b", channel=Channel.NEXT, expire_time=at)
    assert request.channel == v1.CHANNEL_NEXT
    assert request.expire_time.ToDatetime(tzinfo=UTC) == at
    ramp = make(v1.RampRequest, component="a", percent=10, confirm_within=timedelta(minutes=1, microseconds=5))
    assert ramp.confirm_within.ToTimedelta() == timedelta(minutes=1, microseconds=5)


@pytest.mark.parametrize("channel", ["NEXT", "CHANNEL_NEXT", 2])
def test_a_channel_may_be_given_by_name_or_number(channel: object) -> None:
    assert make(v1.SetOverrideRequest, component="a", repo="b", channel=channel).channel == v1.CHANNEL_NEXT


def test_a_none_value_leaves_the_field_absent() -> None:
    request = make(v1.RampRequest, component="a", percent=1, expected_revision=None, tag=None)
    assert not request.HasField("expected_revision")
    assert "percent" in refused(v1.RampRequest, component="a", percent=None)


HOSTILE: list[Any] = [
    b"bytes", "\ud800", "\0", "x" * 1_000_000, float("nan"), float("inf"), 2**70, -(2**70), 1.5, True, object(), [],
    [1], {}, {"a": 1}, (1,), {1, 2}, datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=-1), timedelta.max,
    datetime(2026, 1, 1), FieldMask(paths=["x"]), v1.Policy(alpha=7), Channel.NEXT, lambda: None,
]  # fmt: skip
FIELDS = [
    (v1.RampRequest, {"component": "a", "percent": 1.0}),
    (v1.ReleaseRequest, {"component": "a", "tag": "b"}),
    (v1.SetOverrideRequest, {"component": "a", "repo": "b", "channel": Channel.NEXT}),
    (v1.SetPolicyRequest, {"component": "a", "policy": v1.Policy()}),
    (v1.FreezeRequest, {"component": "a"}),
    (v1.ListOverridesRequest, {"component": "a"}),
    (v1.GetReleaseRequest, {"component": "a", "release": 1}),
]


@pytest.mark.parametrize(
    ("request_type", "right", "field"),
    [
        pytest.param(request_type, right, field.name, id=f"{request_type.DESCRIPTOR.name}-{field.name}")
        for request_type, right in FIELDS
        for field in request_type.DESCRIPTOR.fields
    ],
)
def test_any_value_is_accepted_or_refused_with_the_name_of_its_field(
    request_type: type[Message], right: dict[str, Any], field: str
) -> None:
    for value in HOSTILE:
        found = wrong_of(request_type, {**right, field: value})
        # Without a valid channel the error requires one. With `all`, a component is one field too many.
        assert {path.partition("[")[0].partition(".")[0] for path, _ in found} <= {field, "channel", "component"}
        assert all(len(text) < 400 and text.isprintable() for _, text in found)


def wrong_of(request_type: type[Message], fields: dict[str, Any]) -> Sequence[tuple[str, str]]:
    try:
        assert make(request_type, **fields).SerializeToString()
    except InvalidArgumentError as error:
        return error.violations
    return ()


@pytest.mark.parametrize("value", [b"a", "\ud800", 3, ["a"], True])
def test_the_error_says_that_a_value_is_not_a_string(value: object) -> None:
    assert refused(v1.RampRequest, component=value, percent=1)["component"].startswith("must be ")


@pytest.mark.parametrize("value", [True, "10", [10], 2j])
def test_the_error_says_that_a_value_is_not_a_number(value: object) -> None:
    text = refused(v1.RampRequest, component="a", percent=value)["percent"]
    assert text.startswith("must be a number from 0 to 100 with at most two decimals, such as 10 or 0.25; got ")


def test_the_error_names_each_wrong_attribute() -> None:
    attributes: Any = {"ok": "fine", "number": 3, "surrogate": "\ud800", "BIG": "x", 4: "x", "long": "x" * 2000}
    found = refused(v1.ReleaseRequest, component="a", tag="b", attributes=attributes)
    assert set(found) == {
        "attributes['number']",
        "attributes['surrogate']",
        "attributes['BIG']",
        "attributes[4]",
        "attributes['long']",
    }


def test_a_time_without_a_zone_is_refused() -> None:
    found = refused(v1.FreezeRequest, component="a", expire_time=datetime(2026, 1, 1))
    assert found["expire_time"].startswith("must have a time zone")


def test_an_unknown_enum_name_is_refused_with_the_list_of_valid_names() -> None:
    found = refused(v1.SetOverrideRequest, component="a", repo="b", channel="next")
    assert found == {"channel": "must be one of CURRENT, NEXT; got 'next'"}


def test_wrong_types_and_broken_rules_are_reported_together() -> None:
    assert set(refused(v1.RampRequest, component=3, percent=101, note="\0")) == {"component", "percent", "note"}


def test_an_unknown_field_is_a_defect_of_the_caller() -> None:
    with pytest.raises(TypeError, match="RampRequest has no percents"):
        make(v1.RampRequest, component="a", percents=1)


def test_the_message_of_the_error_lists_as_many_fields_as_fit() -> None:
    with pytest.raises(InvalidArgumentError) as few:
        make(v1.RampRequest, component="A", percent=101)
    assert few.value.message == str(few.value) == "; ".join(f"{path}: {text}" for path, text in few.value.violations)
    attributes = {f"KEY-{number}": "x" for number in range(60)}
    with pytest.raises(InvalidArgumentError) as many:
        make(v1.ReleaseRequest, component="a", tag="b", attributes=attributes)
    assert len(many.value.violations) == 60
    assert len(many.value.message) < 1000
    assert many.value.message.endswith(" more")


def test_an_actor_is_sent_as_metadata() -> None:
    assert actor_metadata("") == ()
    assert actor_metadata("deploy bot") == (("x-rampd-actor", "deploy bot"),)


@pytest.mark.parametrize("actor", [" x", "a\nb", "é", "x" * 129, 3, b"x", "\ud800"])
def test_an_actor_that_every_server_refuses_is_refused_by_the_client(actor: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        actor_metadata(actor)
    assert [field for field, _ in caught.value.violations] == ["x-rampd-actor"]
