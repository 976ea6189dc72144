"""The enums of rampd.v1: numbers that print as their names."""

import pickle

import pytest
from google.protobuf.descriptor import EnumDescriptor

from rampd import v1
from rampd.v1 import error_reason_pb2, release_service_pb2, resolver_service_pb2, rollout_pb2

ENUMS = [
    enum
    for file in (error_reason_pb2, release_service_pb2, resolver_service_pb2, rollout_pb2)
    for enum in file.DESCRIPTOR.enum_types_by_name.values()
]


def test_the_state_of_a_rollout_prints_as_its_name() -> None:
    rollout = v1.Rollout(state=v1.ROLLOUT_STATE_HELD)
    assert str(v1.RolloutState(rollout.state)) == f"{v1.RolloutState(rollout.state)}" == "ROLLOUT_STATE_HELD"
    assert f"{v1.ROLLOUT_STATE_HELD}" == "ROLLOUT_STATE_HELD"
    assert rollout.state == v1.ROLLOUT_STATE_HELD == v1.RolloutState.ROLLOUT_STATE_HELD == 3


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_every_value_of_every_enum_is_a_member_and_works_in_messages_and_pickles(enum: EnumDescriptor) -> None:
    kind = getattr(v1, enum.name)
    assert kind.DESCRIPTOR is enum
    for value in enum.values:
        member = getattr(v1, value.name)
        assert kind(value.number) is kind[value.name] is kind.Value(value.name) is member
        assert (kind.Name(value.number), str(member), int(member)) == (value.name, value.name, value.number)
        assert pickle.loads(pickle.dumps(member)) is member
    assert kind.keys() == [value.name for value in enum.values]
    assert kind.items() == list(zip(kind.keys(), kind.values(), strict=True))
    # The protobuf wrapper that this replaces can do the same.
    [wrapper] = [
        vars(file)[enum.name]
        for file in (error_reason_pb2, release_service_pb2, resolver_service_pb2, rollout_pb2)
        if enum.name in vars(file)
    ]
    assert (kind.keys(), kind.values(), kind.items()) == (wrapper.keys(), wrapper.values(), wrapper.items())


def test_a_value_that_a_later_server_sends_prints_as_its_number() -> None:
    rollout = v1.Rollout()
    rollout.state = 99  # type: ignore[assignment]
    assert f"{v1.RolloutState(rollout.state)}" == "99"
    assert v1.RolloutState(rollout.state) == 99


@pytest.mark.parametrize("call", [lambda: v1.RolloutState.Name(99), lambda: v1.RolloutState.Value("HELD")])
def test_an_unknown_name_or_number_is_a_value_error(call) -> None:
    with pytest.raises(ValueError, match="RolloutState has no"):
        call()


def test_a_value_that_is_not_a_number_is_not_a_member() -> None:
    with pytest.raises(ValueError, match="HELD"):
        v1.RolloutState("HELD")
