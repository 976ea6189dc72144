"""What each caller may do, over a real channel, with an access file."""

import contextlib
import itertools
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from rampd import v1
from rampd._contract.token import digest_of, new_token
from rampd_server import testing
from rampd_server.access import following, oidc
from rampd_server.access.credentials import Credentials
from rampd_server.access.peers import PeerRates
from rampd_server.access.quotas import Rate
from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError
from rampd_server.rpc import door, refused_calls
from rampd_server.rpc.binding import SERVICES
from tests.authority import Authority
from tests.ci_issuer import ci_issuer, github_claims
from tests.rpc.access_table import (
    CALLERS,
    METHODS,
    REQUESTS,
    ROLES,
    Tokens,
    method_of,
    prepared,
    revoke,
    send,
    serving,
    status,
    statuses,
)
from tests.servers import metadata_of, reason_of, short_directory
from tests.stores import StoreServer
from tests.unit.server.test_roles import OF_ROLE, Role
from tests.waiting import eventually

C, OTHER = "restyler", "secret-project"


class World:
    """A server with an access file, and what its callers send."""

    def __init__(self, target: str, channel: grpc.Channel, tokens: Tokens, directory: Path) -> None:
        self.target = target
        self.channel = channel
        self.tokens = tokens
        self.directory = directory

    def __call__(self, who: str, method: str, actor: str = "", **fields: Any) -> Any:
        """Calls a method with the token of `who`, and returns the answer."""
        request = getattr(v1, f"{method}Request")(**fields)
        return send(self.channel, method, request, self.tokens.metadata(who, actor=actor))

    def refusal(self, who: str, method: str, **fields: Any) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as caught:
            self(who, method, **fields)
        return caught.value

    def reason(self, who: str, method: str, **fields: Any) -> str:
        return reason_of(self.refusal(who, method, **fields))

    def stream(self, who: str, method: str = "Watch", **fields: Any) -> Any:
        service = METHODS[method].containing_service.full_name
        call = self.channel.unary_stream(
            f"/{service}/{method}", response_deserializer=getattr(v1, f"{method}Response").FromString
        )
        request = getattr(v1, f"{method}Request")(**fields)
        return call(request.SerializeToString(), metadata=self.tokens.metadata(who), timeout=60)


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def ahead_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How far the clock by which servers judge credentials is ahead: one number, which a test may change."""
    found = [0.0]
    defaults: Any = Credentials.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "clock", lambda: time.time() + found[0])
    return found


@pytest.fixture
def world(
    store_process: StoreServer,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    ahead_s: list[float],
) -> Iterator[World]:
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    monkeypatch.setattr(door, "_CHECK_AGAIN_S", 0.05)
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("admin", "admin")
        given = {"access_file": tokens.path, "insecure_admin": False, "namespace": namespace, **settings}
        with (
            testing.run(directory, store_process.url, **given) as target,
            grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
        ):
            yield World(target, channel, tokens, directory)


def grant(world: World, name: str, role: str, *lines: str) -> None:
    """Adds a grant, and waits until it is in force."""
    world.tokens.grant(name, role, *lines)
    eventually(lambda: world(name, "WhoAmI").role == role, suppressed=grpc.RpcError)


# The table


def expected(row: str, caller: str) -> str:
    method = method_of(row)
    if caller in {"no credential", "expired", "revoked"}:
        return "UNAUTHENTICATED"
    if caller == "other component":
        if row in {"Freeze (all)", "Unfreeze (all)"} or method == "Release":
            return "PERMISSION_DENIED"
        fields = METHODS[method].input_type.fields_by_name
        return "NOT_FOUND" if "component" in fields else "OK"
    may = method in OF_ROLE[Role(caller)]
    if "(all)" in row:
        may = caller == "admin"
    if row in {"Release (expedite)", "Release (force)"}:
        may = caller in {"operator", "admin"}
    return "OK" if may else "PERMISSION_DENIED"


def test_every_rpc_by_every_caller_has_the_status_that_its_role_says(
    store_process: StoreServer, namespace: str
) -> None:
    assert {method_of(row) for row in REQUESTS} == set(METHODS)
    with serving(store_process.url, namespace) as (channel, tokens):
        found = statuses(channel, tokens)
    wanted = {row: {caller: expected(row, caller) for caller in CALLERS} for row in REQUESTS}
    differing = {
        (row, caller): (found[row][caller], wanted[row][caller])
        for row in REQUESTS
        for caller in CALLERS
        if found[row][caller] != wanted[row][caller]
    }
    assert differing == {}


def test_a_refusal_says_which_credential_is_missing_or_which_role(world: World) -> None:
    world.tokens.of["wrong"] = new_token()
    world.tokens.of["cut"] = world.tokens.of["admin"][:-3]
    grant(world, "dashboard", "viewer")
    assert world.reason("nobody", "GetRollout", component=C) == "NO_CREDENTIALS"
    assert "rampd-server token create" in str(world.refusal("nobody", "GetRollout", component=C).details())
    assert world.reason("wrong", "GetRollout", component=C) == "BAD_CREDENTIALS"
    assert "cut or mistyped" in str(world.refusal("cut", "GetRollout", component=C).details())
    error = world.refusal("dashboard", "Ramp", component=C, percent=1)
    assert (reason_of(error), metadata_of(error)) == ("ROLE_REQUIRED", {"role": "operator"})
    assert error.details() == (
        "dashboard has the role viewer and may not call Ramp: that needs the role operator. An admin can change the grant."
    )
    error = world.refusal("dashboard", "Release", component=C, tag="t")
    assert metadata_of(error) == {"role": "ci"}


def test_a_wrong_field_is_reported_before_a_wrong_credential(world: World) -> None:
    assert world.reason("nobody", "GetRollout", component="A") == "INVALID_FIELD"


# Components


@pytest.fixture
def two(world: World) -> World:
    """Two components, and callers of every role who see one of them."""
    for component in (C, OTHER):
        prepared(
            lambda method, request: send(world.channel, method, request, world.tokens.metadata("admin")), component
        )
    for role in ROLES:
        grant(world, f"{role}-of-one", role, f'components = ["{C}*"]')
    return world


ABSENT = "absent-project"
"""It has as many letters as OTHER, so that two answers differ only in the name."""


@pytest.mark.parametrize("role", ROLES)
def test_a_hidden_component_gets_the_same_answer_as_an_absent_one(two: World, role: str) -> None:
    """Given every RPC about one component, expect exactly the bytes of an answer about a component that does not exist."""
    grant(two, role, role)
    for row, request in REQUESTS.items():
        if method_of(row) == "Release" or "(all)" in row or expected(row, role) != "OK":
            continue
        sent = ((OTHER, f"{role}-of-one"), (ABSENT, role))
        hidden, absent = (answered(two, method_of(row), request(name), who) for name, who in sent)
        assert hidden == absent.replace(ABSENT.encode(), OTHER.encode()), row


def answered(world: World, method: str, request: Message, who: str) -> bytes:
    """Returns the answer or the refusal, with all details. Leaves out what depends on the time and on the caller."""
    try:
        response = send(world.channel, method, request, world.tokens.metadata(who))
    except grpc.RpcError as error:
        found: bytes = rpc_status.from_call(error).SerializeToString()
        return found
    if method == "WhoAmI":
        response.ClearField("identity")
        response.ClearField("components")
        response.ClearField("flags")
    if method == "ListRollouts":
        del response.rollouts[:]
    if method == "GetServer":
        for field in ("components", "time", "snapshot_age", "store"):
            response.server.ClearField(field)
    if method == "Watch":
        response.ClearField("heartbeat")
        response.cursor = re.sub(r"\+[0-9a-f]{8}/", "/", response.cursor)  # the components that the caller may see
    data: bytes = response.SerializeToString()
    return data


def test_lists_have_only_the_components_that_the_caller_may_see(two: World) -> None:
    for role in ("viewer", "ci", "operator", "admin"):
        answer = two(f"{role}-of-one", "ListRollouts")
        assert [rollout.component for rollout in answer.rollouts] == [C]
        assert OTHER not in str(answer)
    assert [rollout.component for rollout in two("admin", "ListRollouts").rollouts] == [C, OTHER]


def test_pages_of_a_list_do_not_show_hidden_components_between_the_others(two: World) -> None:
    for name in ("restyler-2", "restyler-3", "rf", "rg"):
        two("admin", "Release", component=name, tag="t1")
    names, token, pages = [], "", 0
    while True:
        answer = two("viewer-of-one", "ListRollouts", page_size=1, page_token=token)
        names += [rollout.component for rollout in answer.rollouts]
        token, pages = answer.next_page_token, pages + 1
        if not token:
            break
        assert len(answer.rollouts) == 1
        assert "rf" not in token
        assert OTHER not in token
    assert (names, pages) == ([C, "restyler-2", "restyler-3"], 3)


def test_a_batch_gives_the_same_result_for_a_hidden_component_as_for_an_absent_one(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [v1.ResolveRequest(component=name, repo="acme/app") for name in (C, OTHER, "absent-project")]
    seen, hidden, absent = two("launcher-of-one", "BatchResolve", requests=asked).results
    assert seen.response.tag
    assert hidden.status.message == absent.status.message.replace("absent-project", OTHER)
    assert hidden.SerializeToString() == absent.SerializeToString().replace(b"absent-project", OTHER.encode())
    # A call that waited for a revision of a component that is not there would not end in its time.
    monkeypatch.setattr("rampd_server.rpc.resolver.CATCH_UP_S", 600)
    waiting = v1.ResolveRequest(component=OTHER, repo="acme/app", min_revision=10**9)
    [result] = two("launcher-of-one", "BatchResolve", requests=[waiting]).results
    assert result.status.code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("components", [[], [C, OTHER], [OTHER]])
def test_a_watch_does_not_show_hidden_components(two: World, components: list[str]) -> None:
    stream = two.stream("launcher-of-one", components=components)
    told = []

    def read() -> None:
        with contextlib.suppress(grpc.RpcError):
            told.extend(iter(stream))

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: any(each.state.last for each in told))
    two("admin", "Ramp", component=OTHER, percent=11)
    two("admin", "Release", component=f"{OTHER}-2", tag="t1")
    two("admin", "Ramp", component=C, percent=12)
    # The visible change comes after the hidden ones. So when it is there, the hidden ones would be there, too.
    if components != [OTHER]:
        eventually(lambda: any(each.changes for each in told))
    else:
        # Of two heartbeats from now on, the second one is later than the hidden changes.
        count = len(told)
        eventually(lambda: len(told) >= count + 2)
    stream.cancel()
    reader.join()
    text = str(told)
    assert OTHER not in text
    assert (C in text) == (components != [OTHER])


def test_outcomes_of_a_hidden_component_are_ignored_like_those_of_an_absent_one(two: World) -> None:
    def outcome(component: str) -> v1.Outcome:
        return v1.Outcome(component=component, release=2, revision=2, channel=1, reason=1, repo="a/b", result=1)

    before = two("admin", "GetRollout", component=OTHER)
    answer = two(
        "launcher-of-one",
        "ReportOutcomes",
        client_id="c",
        sequence=1,
        outcomes=[outcome(OTHER), outcome("absent-project"), outcome(C)],
    )
    hidden, absent = answer.ignored[:2]
    assert (hidden.index, absent.index) == (0, 1)
    assert (hidden.reason, hidden.message) == (absent.reason, absent.message)
    assert two("admin", "GetRollout", component=OTHER).rollout.current_outcomes == before.rollout.current_outcomes


def test_the_history_has_only_events_of_components_that_the_caller_may_see(two: World) -> None:
    two("admin", "Freeze", all=True, note="for the night")
    two("admin", "Unfreeze", all=True)
    assert OTHER not in str(two("viewer-of-one", "ListEvents"))
    assert OTHER not in str(two("viewer-of-one", "ListEvents", component=C))
    assert two.reason("viewer-of-one", "ListEvents", component=OTHER) == "COMPONENT_NOT_FOUND"


def test_the_history_of_everything_has_what_the_caller_may_see_page_by_page(two: World) -> None:
    two("admin", "Freeze", all=True)
    two("admin", "Unfreeze", all=True)
    for name in (C, OTHER, "restyler-2", "secret-2"):
        two("admin", "Release", component=name, tag="later", note=f"for {name}")
    two("admin", "DeleteComponent", component=OTHER, confirm=OTHER)
    two("admin", "DeleteComponent", component="restyler-2", confirm="restyler-2")

    everything, token, answers = [], "", []
    while True:
        answer = two("viewer-of-one", "ListEvents", every_component=True, page_size=2, page_token=token)
        answers.append(answer)
        everything += answer.events
        if not (token := answer.next_page_token):
            break
    assert "secret" not in str(answers)
    assert {event.component for event in everything} == {C, "restyler-2", ""}
    visible = [event for name in (C, "restyler-2", "") for event in two("admin", "ListEvents", component=name).events]
    assert sorted(event.id for event in everything) == sorted(event.id for event in visible)
    assert OTHER in {event.component for event in two("admin", "ListEvents", every_component=True).events}
    assert two.reason("launcher-of-one", "ListEvents", every_component=True) == "ROLE_REQUIRED"


def test_a_release_of_a_component_outside_the_grant_creates_nothing(two: World) -> None:
    error = two.refusal("ci-of-one", "Release", component="brand-new", tag="t1")
    assert (reason_of(error), error.details()) == (
        "ROLE_REQUIRED",
        "ci-of-one may release restyler*, but not brand-new.",
    )
    assert metadata_of(error) == {"role": "ci", "component": "brand-new"}
    assert two.reason("admin", "GetRollout", component="brand-new") == "COMPONENT_NOT_FOUND"
    assert two("ci-of-one", "Release", component="restyler-new", tag="t1").release == 1


def test_an_admin_of_some_components_may_not_freeze_the_whole_namespace(two: World) -> None:
    error = two.refusal("admin-of-one", "Freeze", all=True)
    assert error.details() == "admin-of-one is for restyler*, and `all` is for every component."
    assert metadata_of(error) == {"role": "admin", "component": "*"}
    assert two("admin-of-one", "Freeze", component=C).changed
    assert "all" not in two("admin-of-one", "WhoAmI").flags


# Single methods and flags


def test_a_watchdog_may_lower_exposure_and_nothing_else(two: World) -> None:
    lowering = {"Rollback", "Abandon", "Pause", "Freeze", "Quarantine"}
    grant(two, "watchdog", "viewer", f"allow = {sorted(lowering)}")
    for row, request in REQUESTS.items():
        method = method_of(row)
        metadata = two.tokens.metadata("watchdog")
        name = f"{C}-{row.lower().replace(' ', '-').strip(')').replace('(', '')}"
        prepared(lambda m, r: send(two.channel, m, r, two.tokens.metadata("admin")), name)
        found = status(two.channel, method, request(name), metadata)
        may = method in lowering | OF_ROLE[Role.VIEWER] and "(all)" not in row
        assert found == ("OK" if may else "PERMISSION_DENIED"), row


def test_deny_takes_methods_and_flags_from_a_role(two: World) -> None:
    grant(two, "careful", "operator", 'deny = ["Revert", "expedite"]')
    for what, method, fields in (
        ("call Revert", "Revert", {"tag": "t1"}),
        ("set `expedite` in Release", "Release", {"tag": "t9", "expedite": True}),
    ):
        error = two.refusal("careful", method, component=C, **fields)
        assert (reason_of(error), metadata_of(error)) == ("ROLE_REQUIRED", {"role": "operator"})
        assert error.details() == f"careful may not {what}: its grant denies that. An admin can change the grant."
    assert two("careful", "Release", component=C, tag="t9").disposition
    assert two("careful", "Ramp", component=C, percent=3).changed


@pytest.mark.parametrize("flag", ["expedite", "force"])
def test_a_role_below_operator_gets_expedite_and_force_only_by_name(world: World, flag: str) -> None:
    world("admin", "Release", component=C, tag="t1")
    world("admin", "Quarantine", component=C, tag="bad")
    grant(world, "ci", "ci")
    grant(world, "hotfix", "ci", f'allow = ["{flag}"]')
    other = {"expedite": "force", "force": "expedite"}[flag]
    fields = {"component": C, "tag": "bad" if flag == "force" else "t2"}
    error = world.refusal("ci", "Release", **fields, **{flag: True})
    assert (reason_of(error), metadata_of(error)) == ("ROLE_REQUIRED", {"role": "operator"})
    assert f"may not set `{flag}` in Release" in str(error.details())
    assert world.reason("hotfix", "Release", **fields, **{other: True}) == "ROLE_REQUIRED"
    assert world("hotfix", "Release", **fields, **{flag: True}).disposition


# Identities


def test_who_am_i_tells_callers_who_they_are(world: World) -> None:
    grant(world, "watchdog", "viewer", 'components = ["a*", "b"]', 'allow = ["Rollback"]', "expires = 2099-01-31")
    answer = world("watchdog", "WhoAmI")
    assert (answer.identity, answer.role, list(answer.components), answer.proof) == (
        "watchdog",
        "viewer",
        ["a*", "b"],
        "token",
    )
    assert answer.expire_time.ToJsonString().startswith("2099-01-31T23:59:59")
    assert set(answer.methods) == OF_ROLE[Role.VIEWER] | {"Rollback"}
    assert list(answer.flags) == ["dry_run"]
    everything = world("admin", "WhoAmI")
    assert not everything.HasField("expire_time")
    assert set(everything.methods) == {method.name for service in SERVICES.values() for method in service.methods}
    assert list(everything.flags) == ["all", "dry_run", "expedite", "force"]


def test_the_history_has_the_proven_identity_and_the_actor_that_it_names(world: World) -> None:
    grant(world, "ci-restyler", "ci")
    world("ci-restyler", "Release", component=C, tag="t1")
    world("ci-restyler", "Release", "build-42", component=C, tag="t2")
    world("ci-restyler", "Release", "admin", component=C, tag="t3")
    events = world("admin", "ListEvents", component=C).events
    assert [event.actor for event in events] == [
        "ci-restyler (for admin)",
        "ci-restyler (for build-42)",
        "ci-restyler",
    ]
    assert not any(event.actor_claimed for event in events)


def test_the_longest_names_fit_into_the_history(world: World) -> None:
    name = "x" * 128
    grant(world, name, "ci")
    world(name, "Release", "y" * 128, component=C, tag="t1")
    assert world("admin", "ListEvents", component=C).events[0].actor == f"{name} (for {'y' * 128})"


def test_a_request_id_belongs_to_the_identity(world: World) -> None:
    grant(world, "ci-a", "ci")
    grant(world, "ci-b", "ci")
    fields = {"component": C, "tag": "t1", "request_id": "build-42"}
    first = world("ci-a", "Release", **fields)
    assert world("ci-a", "Release", "somebody-else", **fields).replayed
    assert world("ci-a", "Release", **fields).release == first.release
    assert world.reason("ci-b", "Release", **fields) == "REQUEST_ID_REUSED"
    # Another token of the same identity is the same caller.
    world.tokens.of["ci-a-2"] = world.tokens.of["ci-a"]
    assert world("ci-a-2", "Release", **fields).replayed


@pytest.mark.parametrize("actor", ["", "ci-a"])
def test_only_the_identity_that_used_a_request_id_hears_what_it_was_used_for(two: World, actor: str) -> None:
    """Given an id that was used for a component that the caller does not see, expect a message without its method, fields and component."""
    fields = {"component": C, "tag": "t9", "request_id": "build-42"}
    first = two("admin", "Release", actor, component=OTHER, tag="t9", request_id="build-42")
    error = two.refusal("ci-of-one", "Release", **fields)
    assert (reason_of(error), metadata_of(error)) == ("REQUEST_ID_REUSED", {"request_id": "build-42"})
    assert error.details() == (
        "The request id build-42 was used by another caller. To repeat the first request, send it unchanged. For any other "
        "request, choose a new request id."
    )
    again = two.refusal("admin", "Release", **fields)
    assert metadata_of(again)["differs"] == ("actor, component" if actor else "component")
    assert two("admin", "Release", component=OTHER, tag="t9", request_id="build-42").release == first.release


# Ends


@pytest.mark.parametrize(("method", "fields"), [("Watch", {}), ("WatchRelease", {"component": C, "release": 2})])
def test_a_stream_ends_when_its_credential_is_revoked(world: World, method: str, fields: dict[str, Any]) -> None:
    for tag in ("t1", "t2"):
        world("admin", "Release", component=C, tag=tag)
    grant(world, "launcher", "operator")
    stream, other = world.stream("launcher", method, **fields), world.stream("admin", method, **fields)
    assert next(stream)
    assert next(other)
    revoke(world.channel, world.tokens, "launcher")
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS")
    world("admin", "Ramp", component=C, percent=10)
    assert next(other)
    other.cancel()


def test_a_stream_ends_when_its_credential_ends(world: World, ahead_s: list[float]) -> None:
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    grant(world, "launcher", "launcher", f"expires = {end}")
    stream = world.stream("launcher")
    assert next(stream)
    ahead_s[0] = 7200
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert reason_of(caught.value) == "BAD_CREDENTIALS"
    assert "ended at" in str(caught.value.details())


def test_a_stream_whose_grant_has_changed_can_be_opened_again(world: World) -> None:
    """Given a launcher whose grant loses components, expect that its next stream has only what it may still see."""
    world("admin", "Release", component=C, tag="t1")
    grant(world, "launcher", "launcher")
    stream = world.stream("launcher")
    assert next(stream).state.first
    world.tokens.grant("launcher", "launcher", 'components = ["b*"]')
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.UNAVAILABLE, "NO_SNAPSHOT")
    assert C not in str(next(world.stream("launcher")))


@pytest.mark.parametrize("change", ["a second token", "a later end", "another role", "other limits"])
def test_a_stream_goes_on_while_tokens_are_replaced_and_ends_when_rights_change(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    world("admin", "Release", component=C, tag="t1")
    role, limits, end = "launcher", "limits = { streams = 9 }", "expires = 2098-01-01"
    grant(world, "launcher", role, limits, end)
    stream = world.stream("launcher")
    assert next(stream)
    digests = [digest_of(world.tokens.of["launcher"])]
    match change:
        case "a second token":
            digests.append(digest_of(new_token()))
        case "a later end":
            end = "expires = 2099-01-01"
        case "another role":
            role = "viewer"
        case "other limits":
            limits = "limits = { streams = 8 }"
    world.tokens.grant("launcher", role, limits, end, proof=f"tokens = {digests}")
    # This grant was added later. When it is in force, the change before is in force, too. The stream is checked many times.
    grant(world, "later", "viewer")
    if change.startswith("a "):
        checked, known = [], door.Door.known
        monkeypatch.setattr(door.Door, "known", lambda *given: (checked.append(given), known(*given))[1])
        # The first check that finds a reason ends the stream. So three checks mean that the first two found none.
        eventually(lambda: len(checked) >= 3)
        assert stream.is_active()
        stream.cancel()
    else:
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert reason_of(caught.value) == "NO_SNAPSHOT"


SEES = {"one": (f'components = ["{C}"]',), "the other": (f'components = ["{OTHER}"]',), "all": ()}


@pytest.mark.parametrize(("before", "after"), [*itertools.product(SEES, SEES)])
def test_a_stream_goes_on_from_its_cursor_only_if_its_caller_sees_the_same_components(
    two: World, before: str, after: str
) -> None:
    """Given a launcher whose grant has other components now, expect a whole state. Otherwise the launcher would never hear about
    the new components, and would keep the versions of the old ones as if they were fresh.
    """
    grant(two, "launcher", "launcher", *SEES[before])
    stream = two.stream("launcher")
    told = [next(stream)]
    for percent in (12, 13):
        for component in (C, OTHER):
            two("admin", "Ramp", component=component, percent=percent)
    while not (told[-1].changes and told[-1].changes[-1].component.resolution.next_percent == 13):
        told.append(next(stream))
    # Both the cursor of a change and the cursor of a heartbeat are tried.
    while not told[-1].HasField("heartbeat"):
        told.append(next(stream))
    stream.cancel()
    two.tokens.grant("launcher", "launcher", *SEES[after])
    sees = {"one": [C], "the other": [OTHER], "all": ["*"]}[after]
    eventually(lambda: two("launcher", "WhoAmI").components == sees)
    for cursor in {each.cursor for each in told if each.cursor}:
        again = two.stream("launcher", cursor=cursor)
        assert next(again).state.first == (before != after)
        again.cancel()


def test_a_stream_that_nobody_reads_ends_too(world: World) -> None:
    """Given a stream with more data than a connection buffers, expect that a revoke makes room for another stream."""
    attributes = {f"key{number}": "x" * 500 for number in range(30)}
    for number in range(60):
        world("admin", "Release", component=f"c{number}", tag="t1", attributes=attributes)
    limits = "limits = { streams = 1, calls_per_s = 1e6, burst = 1e6 }"
    grant(world, "launcher", "launcher", limits)
    with grpc.insecure_channel(world.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        unread = channel.unary_stream("/rampd.v1.ResolverService/Watch")
        stream = unread(v1.WatchRequest().SerializeToString(), metadata=world.tokens.metadata("launcher"))
        assert len(next(stream)) > 100_000

        def is_full() -> bool:
            with pytest.raises(grpc.RpcError) as caught:
                next(world.stream("launcher"))
            return reason_of(caught.value) == "LIMIT_EXCEEDED"

        assert is_full()
        del world.tokens.of["launcher"]
        world.tokens.grant("launcher", "launcher", limits)
        eventually(lambda: next(world.stream("launcher")), suppressed=grpc.RpcError)
        stream.cancel()


def test_a_stream_whose_credential_can_t_be_checked_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a defect in the code of the check, expect that the stream does not go on for ever without a check."""
    stream = world.stream("admin")
    assert next(stream)

    def known(*_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(door.Door, "known", known)
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


ENDS = {
    "its certificate ends": "ended at",
    "the grant of its certificate is taken out": "",
    "the token of its issuer ends": "expired",
    "the grant of its issuer is taken out": "The token is neither one of rampd nor one of an OIDC issuer",
    "the grant for everybody ends": "",
    "the grant for everybody is taken out": "",
}
"""What the error says. A caller without any proof hears how to get one."""


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_with_any_kind_of_proof_ends_when(
    store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch, ahead_s: list[float], end: str
) -> None:
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    monkeypatch.setattr(door, "_CHECK_AGAIN_S", 0.05)
    with short_directory() as directory, ci_issuer() as issuer:
        tokens, authority = Tokens(directory / "access.toml"), Authority()
        tokens.grant("admin", "admin")
        of_issuer = (
            f'[[grant.oidc]]\nissuer = "{issuer.name}"\naudience = "rampd"\nclaims = {{ repository_id = "456789" }}'
        )
        proofs = {
            "certificate": 'certificates = ["spiffe://team/launcher"]',
            "issuer": of_issuer,
            "everybody": "everybody = true",
        }
        kind = next(each for each in proofs if each in end)
        certificate, key = authority.issue("127.0.0.1").write(directory, "server")
        settings: dict[str, Any] = {
            "namespace": namespace,
            "access_file": tokens.path,
            "insecure_admin": False,
            "listen": [Address("127.0.0.1", 0, True)],
            "tls_cert": certificate,
            "tls_key": key,
            "tls_client_ca": authority.write(directory),
        }
        with testing.run(directory, store_process.url, **settings) as target:
            soon = timedelta(hours=1)
            expires = (
                f"expires = {(datetime.now(UTC) + soon).isoformat()}" if end == "the grant for everybody ends" else ""
            )
            tokens.grant("launcher", "launcher", expires, proof=proofs[kind])
            name = "spiffe://team/launcher" if kind == "certificate" else "spiffe://team/nobody"
            mine = authority.issue(name, life=soon if end == "its certificate ends" else timedelta(days=1))
            # The check of a token asks the clock of the machine. So the token ends when the server forgives no time any more.
            monkeypatch.setattr(oidc, "LEEWAY_S", 3600)
            life_s = -1800 if end == "the token of its issuer ends" else 86_400
            token = issuer.token({**github_claims("rampd"), "exp": int(time.time()) + life_s})
            metadata = (("authorization", f"Bearer {token}"),) if kind == "issuer" else ()
            trust = grpc.ssl_channel_credentials(authority.certificate, mine.key, mine.certificate)
            with grpc.secure_channel(target, trust) as channel:

                def opened() -> Any:
                    call = channel.unary_stream("/rampd.v1.ResolverService/Watch")
                    stream = call(v1.WatchRequest().SerializeToString(), metadata=metadata, timeout=60)
                    assert next(stream)
                    return stream

                streams: list[Any] = []
                eventually(lambda: streams.append(opened()) or True, suppressed=grpc.RpcError)
                if "taken out" in end:
                    tokens.revoke("launcher")
                else:
                    monkeypatch.setattr(oidc, "LEEWAY_S", 0)
                    ahead_s[0] = 7200
                with pytest.raises(grpc.RpcError) as caught:
                    list(streams[0])
    reason = "BAD_CREDENTIALS" if ENDS[end] else "NO_CREDENTIALS"
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert ENDS[end] in str(caught.value.details())


def test_a_stream_ends_within_a_minute_after_the_file_has_changed() -> None:
    assert door._CHECK_AGAIN_S + following._LOOK_S < 60


# Limits


def retry_after_s(error: grpc.RpcError) -> float:
    for detail in rpc_status.from_call(error).details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.ToMilliseconds()) / 1000
    raise AssertionError(error)


def test_an_identity_over_its_limit_of_calls_hears_when_to_try_again_and_others_go_on(world: World) -> None:
    world("admin", "Release", component=C, tag="t1")
    grant(world, "eager", "launcher", "limits = { calls_per_s = 0.001, burst = 5 }")
    errors = []
    for _ in range(12):
        try:
            world("eager", "Resolve", component=C, repo="acme/app")
        except grpc.RpcError as error:
            errors.append(error)
    assert 7 <= len(errors) <= 12
    error = errors[-1]
    assert (error.code(), reason_of(error), metadata_of(error)) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "LIMIT_EXCEEDED",
        {"limit": "calls_per_s"},
    )
    assert 0 < retry_after_s(error) <= 1000
    for _ in range(12):
        assert world("admin", "Resolve", component=C, repo="acme/app").tag == "t1"


def test_open_streams_are_counted_until_they_are_closed(world: World) -> None:
    grant(world, "eager", "launcher", "limits = { streams = 2 }")
    streams = [world.stream("eager") for _ in range(2)]
    assert all(map(next, streams))
    with pytest.raises(grpc.RpcError) as caught:
        next(world.stream("eager"))
    assert (reason_of(caught.value), metadata_of(caught.value)) == ("LIMIT_EXCEEDED", {"limit": "streams"})
    assert next(world.stream("admin"))
    streams[0].cancel()
    eventually(lambda: next(world.stream("eager")), suppressed=grpc.RpcError)


def test_outcomes_a_second_are_counted_one_by_one(world: World) -> None:
    world("admin", "Release", component=C, tag="t1")
    grant(world, "eager", "launcher", "limits = { outcomes_per_s = 2 }")
    outcomes = [
        v1.Outcome(component=C, release=1, revision=1, channel=1, reason=1, repo="a/b", result=1) for _ in range(100)
    ]
    world("eager", "ReportOutcomes", client_id="c", sequence=1, outcomes=outcomes)
    error = world.refusal("eager", "ReportOutcomes", client_id="c", sequence=2, outcomes=outcomes)
    assert metadata_of(error) == {"limit": "outcomes_per_s"}
    assert 30 < retry_after_s(error) <= 100


def test_the_jobs_of_a_batch_count_for_the_limit_of_the_calls_after_it(world: World) -> None:
    """Given a batch that counts as 40 calls, expect that it is answered, and that the calls after it have to wait."""
    world("admin", "Release", component=C, tag="t1")
    grant(world, "eager", "launcher", "limits = { calls_per_s = 0.1, burst = 50 }")
    batch = [v1.ResolveRequest(component=C, repo=f"acme/app-{number}") for number in range(1000)]
    for _ in range(2):
        assert len(world("eager", "BatchResolve", requests=batch).results) == 1000
    for method, fields in (("BatchResolve", {"requests": batch}), ("Resolve", {"component": C, "repo": "acme/app"})):
        error = world.refusal("eager", method, **fields)
        assert (reason_of(error), metadata_of(error)) == ("LIMIT_EXCEEDED", {"limit": "calls_per_s"})
        # 82 calls, a few calls of `grant` and this call, without the burst of 50: about 33 times 10 s.
        assert 250 < retry_after_s(error) < 400


def test_a_batch_of_few_jobs_counts_as_one_call(world: World) -> None:
    world("admin", "Release", component=C, tag="t1")
    grant(world, "eager", "launcher", "limits = { calls_per_s = 0.001, burst = 50 }")
    batch = [v1.ResolveRequest(component=C, repo=f"acme/app-{number}") for number in range(24)]
    for _ in range(40):
        assert len(world("eager", "BatchResolve", requests=batch).results) == 24


def test_an_identity_with_several_tokens_has_one_limit(world: World) -> None:
    world.tokens.of["eager-2"] = new_token()
    grant(world, "eager", "launcher", "limits = { streams = 1 }")
    digests = [digest_of(world.tokens.of[name]) for name in ("eager", "eager-2")]
    world.tokens.grant("eager", "launcher", "limits = { streams = 1 }", proof=f"tokens = {digests}")
    eventually(lambda: world("eager-2", "WhoAmI").identity == "eager", suppressed=grpc.RpcError)
    first = world.stream("eager")
    assert next(first)
    with pytest.raises(grpc.RpcError) as caught:
        next(world.stream("eager-2"))
    assert reason_of(caught.value) == "LIMIT_EXCEEDED"
    first.cancel()


def test_a_wrong_request_counts_too(world: World) -> None:
    grant(world, "eager", "launcher", "limits = { calls_per_s = 0.001, burst = 20 }")
    reasons = [world.reason("eager", "Resolve", component="A") for _ in range(30)]
    assert reasons[0] == "INVALID_FIELD"
    assert reasons[20:] == ["LIMIT_EXCEEDED"] * 10


def test_in_a_flood_of_refusals_the_server_asks_for_a_proof_before_it_reads_a_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(world, "launcher", "launcher")
    assert world.reason("nobody", "Resolve", component="A") == "INVALID_FIELD"
    monkeypatch.setattr(refused_calls, "_flooded_until_s", time.monotonic() + 60)
    assert world.reason("nobody", "Resolve", component="A") == "NO_CREDENTIALS"
    assert world.reason("launcher", "Resolve", component="A") == "INVALID_FIELD"


# The log


def test_refusals_are_in_the_log_once_and_without_a_secret(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(refused_calls, "_rate", Rate(1000, 1000))
    monkeypatch.setattr(refused_calls._log, "warning", lambda event, **pairs: lines.append(pairs), raising=False)
    grant(world, "dashboard", "viewer")
    lines.clear()
    world.tokens.of |= {"wrong": new_token(), "cut": world.tokens.of["admin"][:-2], "odd": "a.b.c"}
    for who in ("wrong", "cut", "odd", "nobody"):
        world.refusal(who, "GetRollout", component=C)
        with pytest.raises(grpc.RpcError):
            next(world.stream(who))
    world.refusal("dashboard", "Ramp", component=C, percent=5)
    assert len(lines) == 9
    assert [(line["method"], line["identity"], line["reason"]) for line in lines[-1:]] == [
        ("rampd.v1.RolloutService/Ramp", "dashboard", "ROLE_REQUIRED")
    ]
    assert {line["reason"] for line in lines[:-1]} == {"BAD_CREDENTIALS", "NO_CREDENTIALS"}
    assert all(line["peer"].startswith("ipv4:127.0.0.1:") for line in lines)
    for token in filter(None, world.tokens.of.values()):
        assert token not in str(lines)
        assert token[6:] not in str(lines) or len(token) < 10
        assert token not in caplog.text


def test_an_empty_token_is_refused_and_in_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(refused_calls, "_rate", Rate(1000, 1000))
    monkeypatch.setattr(
        refused_calls._log, "warning", lambda _, **pairs: reasons.append(pairs["reason"]), raising=False
    )
    world.tokens.of["empty"] = ""
    assert world.reason("empty", "GetRollout", component=C) == "BAD_CREDENTIALS"
    assert reasons == ["BAD_CREDENTIALS"]


@pytest.mark.parametrize("method", ["GetRollout", "Resolve", "BatchResolve", "ReportOutcomes", "Watch", "WatchRelease"])
def test_a_call_about_a_hidden_component_is_in_the_log_once(
    two: World, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Given a call about a hidden component, expect one line. Given a call about an absent one, expect none."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(refused_calls, "_rate", Rate(1000, 1000))
    monkeypatch.setattr(refused_calls._log, "warning", lambda event, **pairs: lines.append(pairs), raising=False)
    for name in (f"{C}-absent", OTHER):
        request = REQUESTS[method](name)
        for entries in ("requests", "outcomes"):
            if entries in request.DESCRIPTOR.fields_by_name:
                getattr(request, entries).extend(list(getattr(request, entries)) * 3)
        status(two.channel, method, request, two.tokens.metadata("admin-of-one"))
    [line] = lines
    service = METHODS[method].containing_service.full_name
    assert (line["method"], line["identity"], line["reason"], line["why"]) == (
        f"{service}/{method}",
        "admin-of-one",
        "COMPONENT_NOT_FOUND",
        f"{OTHER} is not among the components of the grant.",
    )
    assert line["peer"].startswith("ipv4:127.0.0.1:")


def test_a_flood_of_wrong_tokens_does_not_flood_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(refused_calls, "_rate", Rate(0.001, 10))
    monkeypatch.setattr(refused_calls, "_not_logged", 0)
    monkeypatch.setattr(refused_calls, "_at_once_of", PeerRates(1000, 1000))
    monkeypatch.setattr(refused_calls._log, "warning", lambda event, **pairs: lines.append(pairs), raising=False)
    world.tokens.of["wrong"] = new_token()
    for _ in range(100):
        world.refusal("wrong", "GetRollout", component=C)
    assert len(lines) == 10
    assert refused_calls._not_logged == 90


# Sockets


def over(path: Path, method: str, request: Message, metadata: Any = ()) -> Any:
    with grpc.insecure_channel(f"unix:{path}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        return send(channel, method, request, metadata)


def test_the_admin_socket_needs_no_credential_but_checks_one_that_comes(world: World) -> None:
    path = world.directory / "rampd.sock"
    over(path, "Release", v1.ReleaseRequest(component=C, tag="t1"))
    mine = over(path, "WhoAmI", v1.WhoAmIRequest())
    assert (mine.identity, mine.role, mine.proof) == ("anonymous", "admin", "socket")
    grant(world, "dashboard", "viewer")
    metadata = world.tokens.metadata("dashboard")
    assert over(path, "WhoAmI", v1.WhoAmIRequest(), metadata).identity == "dashboard"
    with pytest.raises(grpc.RpcError) as caught:
        over(path, "Release", v1.ReleaseRequest(component=C, tag="t2"), metadata)
    assert reason_of(caught.value) == "ROLE_REQUIRED"
    with pytest.raises(grpc.RpcError) as caught:
        over(path, "WhoAmI", v1.WhoAmIRequest(), (("authorization", f"Bearer {new_token()}"),))
    assert reason_of(caught.value) == "BAD_CREDENTIALS"


@pytest.mark.parametrize("with_file", [True, False])
def test_the_launcher_socket_serves_what_launchers_need_and_nothing_else(
    store_process: StoreServer, namespace: str, with_file: bool
) -> None:
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("admin", "admin")
        path = directory / "launch.sock"
        settings = {"namespace": namespace, "launcher_socket": path, "insecure_admin": False}
        if with_file:
            settings["access_file"] = tokens.path
        with testing.run(directory, store_process.url, **settings):
            as_owner = directory / "rampd.sock"
            prepared(lambda method, request: over(as_owner, method, request), C)
            with grpc.insecure_channel(f"unix:{path}") as channel:
                for row, request in REQUESTS.items():
                    may = method_of(row) in OF_ROLE[Role.LAUNCHER]
                    # At this socket, an admin with a token may do no more than a launcher.
                    for metadata in ((), tokens.metadata("admin")):
                        found = status(channel, method_of(row), request(C), metadata)
                        assert found == ("OK" if may else "PERMISSION_DENIED"), (row, metadata)
                with pytest.raises(grpc.RpcError) as caught:
                    send(channel, "Ramp", v1.RampRequest(component=C, percent=1))
            assert str(caught.value.details()).startswith(
                "This socket serves what launchers need, and Ramp is not part of it. Use the unix socket "
                f"{as_owner}, or"
            )


@pytest.mark.parametrize("wrong", ["a path that is too long", "a file", "a folder that everybody may write to"])
def test_an_error_about_the_launcher_socket_names_its_own_flag(
    store_process: StoreServer, namespace: str, wrong: str
) -> None:
    with short_directory() as directory:
        path = directory / "jobs" / ("x" * 101 if "long" in wrong else "launch.sock")
        path.parent.mkdir(mode=0o755)
        if wrong == "a file":
            path.write_text("mine")
        elif "everybody" in wrong:
            path.parent.chmod(0o777)
        with (
            pytest.raises(StartupError) as caught,
            testing.run(directory, store_process.url, namespace=namespace, launcher_socket=path),
        ):
            pass
    assert "--launcher-socket (RAMPD_LAUNCHER_SOCKET)" in str(caught.value)
    assert "--socket" not in str(caught.value)


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """The modes of each socket, from its creation on: noted at each step at which its mode or its group may change."""
    seen: dict[str, list[int]] = {}

    def note(path: Any) -> None:
        if str(path).endswith(".sock") and Path(path).exists():
            seen.setdefault(Path(path).name, []).append(stat.S_IMODE(Path(path).stat().st_mode))

    umask, chown, chmod = os.umask, os.chown, os.chmod
    bound: list[Path] = []

    def noting_umask(value: int) -> int:
        for each in bound:
            note(each)
        return umask(value)

    def noting_chown(path: Any, *owners: int) -> None:
        note(path)
        chown(path, *owners)
        note(path)

    def noting_chmod(path: Any, mode: int, **how: Any) -> None:
        note(path)
        chmod(path, mode, **how)
        note(path)

    monkeypatch.setattr(os, "umask", noting_umask)
    monkeypatch.setattr(os, "chown", noting_chown)
    monkeypatch.setattr(os, "chmod", noting_chmod)
    seen["bound"] = bound  # type: ignore[assignment]
    return seen


@pytest.mark.parametrize(
    "given",
    [{}, {"socket_mode": "660"}, {"socket_mode": "660", "socket_group": 4711}, {"socket_mode": "666"}],
    ids=str,
)
def test_a_socket_has_its_mode_and_never_a_wider_one(
    store_process: StoreServer, namespace: str, modes: dict[str, Any], given: dict[str, Any]
) -> None:
    mode, group = int(given.get("socket_mode", "600"), 8), given.get("socket_group")
    if group is not None and os.geteuid() != 0:
        pytest.skip("only root can give a socket to a group that it is not in")
    with short_directory() as directory:
        admin, launchers = directory / "rampd.sock", directory / "launch.sock"
        modes["bound"] += [admin, launchers]
        settings = {"namespace": namespace, "launcher_socket": launchers, **given}
        with testing.run(directory, store_process.url, **settings):
            found = admin.stat()
            assert stat.S_IMODE(found.st_mode) == mode
            assert group is None or found.st_gid == group
            # Jobs run as many users. The owner of the folder decides who reaches the socket.
            assert stat.S_IMODE(launchers.stat().st_mode) == 0o666
    seen = modes[admin.name]
    assert seen
    assert all(each & ~mode == 0 for each in seen), list(map(oct, seen))
    if group is not None:
        assert seen[0] == 0o600, "until it has its group, only its owner may open it"


def test_a_caller_without_a_credential_gets_the_grant_for_everybody(world: World) -> None:
    world("admin", "Release", component=C, tag="t1")
    world.tokens.grant("all", "viewer", proof="everybody = true")
    eventually(lambda: world("nobody", "WhoAmI").identity == "all", suppressed=grpc.RpcError)
    assert world("nobody", "WhoAmI").proof == "none"
    assert world("nobody", "GetRollout", component=C).rollout.component == C
    assert world.reason("nobody", "Ramp", component=C, percent=5) == "ROLE_REQUIRED"
    # A wrong token does not count as no token.
    world.tokens.of["wrong"] = new_token()
    assert world.reason("wrong", "GetRollout", component=C) == "BAD_CREDENTIALS"


# Outcomes


def test_a_client_id_belongs_to_its_identity(world: World) -> None:
    """Given a launcher that uses the client id of another one with the highest sequence, expect that the other's batches count."""
    world("admin", "Release", component=C, tag="t1")
    for name in ("honest", "hostile"):
        grant(world, name, "launcher")
    job = outcomes_of(world, "honest", ["acme/app"], v1.OUTCOME_RESULT_SUCCEEDED)
    for sequence in (1, 2):
        last = (1 << 63) - 1
        world("hostile", "ReportOutcomes", client_id="of-honest", sequence=last, outcomes=job)
        answer = world("honest", "ReportOutcomes", client_id="of-honest", sequence=sequence, outcomes=job)
        assert (answer.accepted, list(answer.ignored)) == (1, [])


@pytest.mark.parametrize("honest", [5, 0])
def test_beside_others_a_hostile_launcher_brings_no_release_down_under_any_name(world: World, honest: int) -> None:
    """The cap of one reporter depends on the proven identity. Without other reporters, the same reports end the rollout. Beside
    others they pause it, because the assignment check has no cap.
    """
    report_beside_others(world, honest, v1.Policy(on_regression=v1.ON_REGRESSION_ROLLBACK))
    if honest:
        eventually(lambda: world("admin", "GetRollout", component=C).rollout.paused)
        found = world("admin", "GetRollout", component=C).rollout
        assert found.pause.cause == v1.PAUSE_CAUSE_ASSIGNMENT_CHECK
        assert (found.evidence.reporters, found.evidence.next_failures) == (6, 0)
        assert found.evidence.e < found.evidence.limit
        assert (found.state, found.next_percent) == (v1.ROLLOUT_STATE_ROLLING_OUT, 10)
    else:
        eventually(
            lambda: world("admin", "GetRollout", component=C).rollout.state == v1.ROLLOUT_STATE_HELD,
        )


def test_the_absolute_guard_has_no_cap_and_a_hostile_launcher_beside_others_trips_it(world: World) -> None:
    """docs/automation.md and docs/security.md warn of this."""
    policy = v1.Policy(max_failure_rate=0.1, on_max_failure_rate=v1.ON_REGRESSION_ROLLBACK)
    report_beside_others(world, 5, policy)
    eventually(lambda: world("admin", "GetRollout", component=C).rollout.state == v1.ROLLOUT_STATE_HELD)
    assert "more often than the policy allows" in world("admin", "GetRollout", component=C).rollout.held.reason


def report_beside_others(world: World, honest: int, policy: v1.Policy) -> None:
    """Begins a rollout, in which the jobs of honest launchers succeed. Then one more launcher, under the names of the others,
    reports that all of its jobs of next have failed.
    """
    world("admin", "Release", component=C, tag="t1")
    world("admin", "SetPolicy", component=C, policy=policy)
    world("admin", "Release", component=C, tag="t2")
    world("admin", "Ramp", component=C, percent=10)
    for number in range(honest):
        name = f"launcher-{number}"
        grant(world, name, "launcher")
        ran = outcomes_of(world, name, [f"honest/{name}-{each}" for each in range(40)], v1.OUTCOME_RESULT_SUCCEEDED)
        assert world(name, "ReportOutcomes", client_id="w", sequence=1, outcomes=ran).accepted == 40
    grant(world, "hostile", "launcher")
    jobs = outcomes_of(world, "hostile", [f"hostile/app-{each}" for each in range(1000)], v1.OUTCOME_RESULT_FAILED)
    failed = [job for job in jobs if job.channel == v1.CHANNEL_NEXT]
    assert len(failed) > 50
    for number, job in enumerate(failed):
        claimed = f"launcher-{number % 5}"
        world("hostile", "ReportOutcomes", claimed, client_id=f"c{number}", sequence=1, outcomes=[job])


def outcomes_of(world: World, who: str, repos: list[str], result: v1.OutcomeResult) -> list[v1.Outcome]:
    """Resolves a job of each repo. Returns outcomes of these jobs with `result`."""
    asked = [v1.ResolveRequest(component=C, repo=repo) for repo in repos]
    results = world(who, "BatchResolve", requests=asked).results
    return [
        v1.Outcome(
            component=C,
            release=each.response.release,
            revision=each.response.revision,
            channel=each.response.channel,
            reason=each.response.reason,
            repo=repo,
            result=result,
        )
        for repo, each in zip(repos, results, strict=True)
    ]
