"""Which roles may call which method. The rule follows from the descriptors."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from rampd import v1
from rampd_server.access.rpc_roles import REQUEST_FLAGS, Role, flags_of, is_set, least, roles_of
from rampd_server.rpc.binding import NAMES, SERVICES

METHODS = {method.name: method for service in SERVICES.values() for method in service.methods}
READS = {
    "GetRelease",
    "ListReleases",
    "WatchRelease",
    "GetRollout",
    "ListRollouts",
    "ListQuarantine",
    "ListOverrides",
    "GetPolicy",
    "ListEvents",
    "GetServer",
}
RELEASING = {"Release", "CancelRelease"}
OPERATING = {
    "Ramp",
    "Confirm",
    "Rollback",
    "Finalize",
    "Abandon",
    "Revert",
    "Pause",
    "Resume",
    "Freeze",
    "Unfreeze",
    "Quarantine",
    "Unquarantine",
    "SetOverride",
    "DeleteOverride",
    "BatchSetOverrides",
}
RESOLVING = {"Resolve", "BatchResolve", "Watch"}
OF_ROLE = {
    Role.LAUNCHER: RESOLVING | {"ReportOutcomes", "WhoAmI"},
    Role.VIEWER: RESOLVING | READS | {"WhoAmI"},
    Role.CI: RESOLVING | READS | RELEASING | {"WhoAmI"},
    Role.OPERATOR: RESOLVING | READS | RELEASING | OPERATING | {"WhoAmI"},
    Role.ADMIN: set(METHODS),
}


@pytest.mark.parametrize("role", Role)
def test_a_role_has_these_methods_and_no_others(role: Role) -> None:
    assert {name for name, method in METHODS.items() if role in roles_of(method)} == OF_ROLE[role]


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_every_method_has_a_rule(method: MethodDescriptor) -> None:
    """An admin may call each method that has a rule, and nobody may call a method without a rule."""
    assert Role.ADMIN in roles_of(method)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_a_method_reads_or_changes_something_or_takes_reports(method: MethodDescriptor) -> None:
    is_read = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    is_change = "request_id" in method.input_type.fields_by_name
    assert is_read + is_change + (method.name == "ReportOutcomes") == 1


def made(service: str, name: str = "Explode", *, reads: bool = False, changes: bool = False) -> MethodDescriptor:
    """Returns a method that is not in the contract."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{service}.proto", package="rampd.v1", syntax="proto3")
    request = file.message_type.add(name=f"{name}Request")
    if changes:
        request.field.add(name="request_id", number=1, type=9, label=1)
    method = file.service.add(name=service).method.add(name=name, input_type=request.name, output_type=request.name)
    if reads:
        method.options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    return (
        descriptor_pool.DescriptorPool()
        .AddSerializedFile(file.SerializeToString())
        .services_by_name[service]
        .methods[0]
    )


@pytest.mark.parametrize("service", ["ReleaseService", "RolloutService", "NewService"])
def test_nobody_may_call_a_method_that_neither_reads_nor_has_a_request_id(service: str) -> None:
    assert roles_of(made(service)) == frozenset()


def test_nobody_may_call_a_change_in_a_service_without_a_rule() -> None:
    assert roles_of(made("NewService", changes=True)) == frozenset()


def test_a_new_method_has_its_roles_from_the_start() -> None:
    assert Role.VIEWER in roles_of(made("RolloutService", reads=True))
    assert Role.LAUNCHER not in roles_of(made("RolloutService", reads=True))
    assert roles_of(made("RolloutService", changes=True)) == {Role.OPERATOR, Role.ADMIN}
    assert roles_of(made("ReleaseService", changes=True)) == {Role.CI, Role.OPERATOR, Role.ADMIN}
    # A method that only launchers may call is no read, so viewers may not call it.
    assert roles_of(made("ResolverService")) == {Role.LAUNCHER, Role.ADMIN}


def test_the_role_to_ask_for_is_the_one_that_may_do_the_least() -> None:
    assert least(roles_of(METHODS["Ramp"])) is Role.OPERATOR
    assert least(roles_of(METHODS["Release"])) is Role.CI
    assert least(roles_of(METHODS["GetRollout"])) is Role.VIEWER
    assert least(frozenset()) is None


def test_these_flags_need_more_than_their_method() -> None:
    assert {name: set(flags_of(method)) for name, method in METHODS.items() if flags_of(method)} == {
        "Release": {"expedite", "force"},
        "Finalize": {"force"},
        "Freeze": {"all"},
        "Unfreeze": {"all"},
    }
    assert {flag: least(roles) for flag, roles in REQUEST_FLAGS.items()} == {
        "all": Role.ADMIN,
        "expedite": Role.OPERATOR,
        "force": Role.OPERATOR,
    }


def test_a_flag_is_set_where_it_is_true() -> None:
    assert is_set(v1.FreezeRequest(all=True), "all")
    assert not is_set(v1.FreezeRequest(component="restyler"), "all")


def test_methods_and_flags_share_no_name() -> None:
    assert len(NAMES) == len(METHODS) + len(REQUEST_FLAGS)
