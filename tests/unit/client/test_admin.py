"""`Admin` has every call with each of its fields, and so has its asynchronous twin."""

import inspect
import pydoc
import re
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor

from rampd import Admin, AsyncAdmin, v1
from rampd._verbs import verbs
from rampd.v1 import release_service_pb2, rollout_service_pb2

METHODS = [
    method
    for file in (release_service_pb2, rollout_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
CHANGE = {"request_id", "expected_revision", "note", "dry_run"}


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("face", [Admin, AsyncAdmin])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_there_is_a_method_for_every_rpc_with_its_documentation_and_its_arguments(
    face: type, method: MethodDescriptor
) -> None:
    verb = getattr(verbs, snake_case(method.name))
    call = getattr(face, snake_case(method.name))
    assert call.__doc__.startswith(inspect.getdoc(verb))
    assert call.__name__ == snake_case(method.name)
    own = [name for name in inspect.signature(verb).parameters if name not in {"change", "read"}]
    assert list(inspect.signature(call).parameters)[: len(own) + 1] == ["self", *own]


@pytest.mark.parametrize("face", [Admin, AsyncAdmin])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_help_describes_each_argument_of_a_call(face: type, method: MethodDescriptor) -> None:
    """Given help(Admin.revert), expect `note`, `request_id` and the rest, each with its purpose."""
    told = pydoc.plain(pydoc.render_doc(getattr(face, snake_case(method.name))))
    is_change = "request_id" in method.input_type.fields_by_name
    for name in {*(CHANGE if is_change else ()), "timeout"}:
        assert re.search(rf"\b{name}: \w+( \| None)? = None", told), told
        assert f"`{name}`" in told
    assert "Unpack" not in told
    assert "**" not in told


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_field_of_a_request_is_an_argument(method: MethodDescriptor) -> None:
    arguments = set(inspect.signature(getattr(verbs, snake_case(method.name))).parameters)
    fields = {field.name for field in method.input_type.fields}
    if "change" in arguments:
        arguments |= CHANGE
    assert arguments - {"change", "read", "timeout", "on_damage"} == fields - {"page_token"}
    assert (fields >= CHANGE) == ("change" in inspect.signature(getattr(verbs, snake_case(method.name))).parameters)


def test_the_twins_have_the_same_methods() -> None:
    assert {name for name in vars(Admin) if name[0] != "_"} == {name for name in vars(AsyncAdmin) if name[0] != "_"}


ARGUMENTS: dict[str, dict[str, Any]] = {
    "release": {"tag": "b", "attributes": {"k": "v"}, "expedite": True, "force": True},
    "ramp": {"percent": 10.5, "tag": "t"},
    "rollback": {"tag": "t", "quarantine": True},
    "finalize": {"tag": "t", "force": True},
    "abandon": {"tag": "t", "quarantine": True},
    "revert": {"tag": "t", "quarantine": False},
    "confirm": {"tag": "t"},
    "cancel_release": {"release": 3},
    "set_override": {"repo": "acme/*", "tag": "t"},
    "delete_override": {"repo": "acme/*"},
    "batch_set_overrides": {"overrides": [v1.OverrideChange(repo="a", tag="t")]},
    "quarantine": {"tag": "t"},
    "unquarantine": {"tag": "t"},
    "delete_component": {"confirm": "a"},
}


@pytest.mark.parametrize(("verb", "arguments"), ARGUMENTS.items())
def test_every_given_argument_is_in_the_request(verb: str, arguments: dict[str, Any]) -> None:
    given = {**arguments, "note": "why", "expected_revision": 0, "request_id": "r-1", "dry_run": True}
    request = getattr(verbs, verb)("a", **given).request
    for name, value in {**given, "component": "a"}.items():
        assert getattr(request, name) == value
        assert request.DESCRIPTOR.fields_by_name[name].has_presence is False or request.HasField(name)


def test_a_revert_quarantines_the_version_that_it_leaves_by_default() -> None:
    asked = verbs.revert("a", request_id="x").request
    assert asked == v1.RevertRequest(component="a", quarantine=True, request_id="x")


def test_an_update_mask_of_a_policy_is_sent_only_if_it_is_given() -> None:
    policy = v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST)
    assert not verbs.set_policy("a", policy).request.HasField("update_mask")  # type: ignore[attr-defined]
    masked: Any = verbs.set_policy("a", policy, update_mask=["unit", "queue_mode"]).request
    assert list(masked.update_mask.paths) == ["unit", "queue_mode"]
