"""Every RPC over a real channel: behaviour that the table of states does not show."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from redis import Redis

from rampd import Admin, v1
from rampd_server import testing
from rampd_server.listeners import Listening
from rampd_server.storage.schema import SCHEMA
from tests.over_http import stubs_over_http
from tests.rpc.conftest import catch_up_within
from tests.servers import Stubs, metadata_of, reason_of, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"


@pytest.fixture(params=["grpc", "json"])
def call(request: pytest.FixtureRequest, listening: Listening) -> Iterator[Stubs]:
    """Each way to call the API."""
    over_grpc = request.param == "grpc"
    with (
        stubs(str(listening.grpc)) if over_grpc else stubs_over_http(f"http://{listening.http}", request.param)
    ) as made:
        yield made


def refusal(call: Stubs, method: str, **fields: object) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(method, **fields)
    return reason_of(caught.value)


def in_s(seconds: float) -> Timestamp:
    made = Timestamp()
    made.FromNanoseconds(int((time.time() + seconds) * 1e9))
    return made


def soon_ends(call: Stubs, method: str, **fields: object) -> None:
    """Makes a change that ends in a second. A busy machine may be slower than that, and then the end is not in the future."""
    eventually(lambda: call(method, expire_time=in_s(1), **fields), suppressed=grpc.RpcError)


def test_a_write_is_visible_on_its_own_server_before_it_answers(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    for n in range(20):
        call("SetOverride", component=C, repo="acme/app", tag=f"x{n}")
        assert call("Resolve", component=C, repo="acme/app").tag == f"x{n}"
    call("Release", component=C, tag="t2", expedite=True)
    assert call("Resolve", component=C, repo="acme/api").tag == "t2"


def test_min_revision_makes_another_server_catch_up(
    call: Stubs, second: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up_within(monkeypatch, 50)
    call("Release", component=C, tag="t1")
    for n in range(20):
        revision = call("SetOverride", component=C, repo="acme/app", tag=f"x{n}").revision
        assert second("Resolve", component=C, repo="acme/app", min_revision=revision).tag == f"x{n}"
    catch_up_within(monkeypatch, 1)
    assert refusal(second, "Resolve", component=C, repo="acme/app", min_revision=10_000) == "NO_SNAPSHOT"
    assert refusal(second, "Resolve", component="other", repo="acme/app", min_revision=1) == "COMPONENT_NOT_FOUND"


@pytest.mark.usefixtures("catches_up")
def test_a_write_on_one_server_is_soon_resolved_by_another(call: Stubs, second: Stubs) -> None:
    """The target is 50 ms. Ten times that is the bound for the quickest of many writes, because a busy machine delays some of them."""
    known = call("Release", component=C, tag="t1").revision
    second("Resolve", component=C, repo="acme/app", min_revision=known)
    delays_s = []
    for n in range(20):
        call("SetOverride", component=C, repo="acme/app", tag=f"x{n}")
        began = time.monotonic()
        while second("Resolve", component=C, repo="acme/app").tag != f"x{n}":
            assert time.monotonic() - began < 60
        delays_s.append(time.monotonic() - began)
    assert min(delays_s) < 0.5


def test_a_batch_is_answered_in_order_with_attributes_once(call: Stubs) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "abc"})
    requests = [v1.ResolveRequest(component=name, repo="acme/app") for name in (C, "other", C)]
    answer = call("BatchResolve", requests=requests)
    assert [result.WhichOneof("result") for result in answer.results] == ["response", "status", "response"]
    assert answer.results[1].status.code == code_pb2.NOT_FOUND
    assert answer.results[0].response.tag == "t1"
    assert not answer.results[0].response.attributes
    assert answer.release_attributes == [v1.ReleaseAttributes(component=C, release=1, attributes={"commit": "abc"})]
    assert call("Resolve", component=C, repo="acme/app").attributes == {"commit": "abc"}


def test_a_repeated_request_id_answers_the_first_result_with_the_rollout_as_it_is_now(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    first = call("Release", component=C, tag="t2", request_id="ci-1")
    call("Ramp", component=C, percent=10, request_id="r-1")
    again = call("Release", component=C, tag="t2", request_id="ci-1")
    assert (again.disposition, again.release, again.revision) == (first.disposition, first.release, first.revision)
    assert again.replayed
    assert again.rollout.next_percent == 10
    call("Finalize", component=C)
    # As a new request it would be refused now, but it was applied before.
    assert call("Ramp", component=C, percent=10, request_id="r-1").replayed
    assert refusal(call, "Ramp", component=C, percent=20, request_id="r-1") == "REQUEST_ID_REUSED"
    assert refusal(call, "Rollback", component=C, request_id="r-1") == "REQUEST_ID_REUSED"


def refused(call: Stubs, method: str, **fields: object) -> tuple[str, Mapping[str, str]]:
    """Makes a call that is refused. Returns the message and the metadata of the refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        call(method, **fields)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in rpc_status.from_call(caught.value).details)
    assert info.reason == "REQUEST_ID_REUSED"
    return caught.value.details(), dict(info.metadata)


def test_a_request_id_of_another_request_says_what_differs_and_what_to_do(call: Stubs) -> None:
    call("Release", component=C, tag="t1", request_id="ci-1", attributes={"build": "1"})
    message, metadata = refused(call, "Release", component=C, tag="t2", request_id="ci-1", force=True)
    assert message == (
        "The request id ci-1 was used for a Release that differs in tag, attributes and force. To repeat the first request, "
        "send it unchanged. For any other request, choose a new request id."
    )
    assert metadata == {"request_id": "ci-1", "method": "Release", "differs": "tag, attributes, force"}
    message, metadata = refused(call, "Pause", component=C, request_id="ci-1")
    assert message.startswith(
        "The request id ci-1 was used for Release, and this is Pause. To repeat the first request"
    )
    assert metadata == {"request_id": "ci-1", "method": "Release"}
    assert call("GetRollout", component=C).rollout.revision == 1


def test_a_build_that_runs_again_as_another_actor_gets_its_first_result(target: str) -> None:
    """Given a build that another person runs again, with another note and other attributes, expect its first release."""
    request = {"request_id": "gh-1", "attributes": {"attempt": "1"}, "note": "first"}
    with Admin(target, actor="ada") as ada, Admin(target, actor="bob") as bob:
        first = ada.release(C, "t1", **request)
        for again in (
            bob.release(C, "t1", **request),
            ada.release(C, "t1", **request | {"note": "second", "attributes": {"attempt": "2"}}),
            bob.release(C, "t1", request_id="gh-1"),
        ):
            assert again.replayed
            assert (again.release, again.disposition, again.revision) == (
                first.release,
                first.disposition,
                first.revision,
            )
            assert again.message.startswith(
                "This request_id was already applied; this is its first result. This call differs in"
            )
        assert again.message.endswith("This call differs in actor, attributes and note; the difference is ignored.")
        [event] = ada.list_events(C)
        assert (event.actor, event.note) == ("ada", "first")
        same = ada.release(C, "t1", **request)
        assert same.message == "This request_id was already applied; this is its first result."


def test_if_two_requests_race_with_one_id_the_refusal_says_what_differs(call: Stubs, second: Stubs) -> None:
    """Given two servers that get the requests at once, expect that one is applied, and the same message from each server."""
    call("Release", component=C, tag="t1")
    call("Release", component=C, tag="t2")
    answers = set()
    with ThreadPoolExecutor(2) as pool:
        for number in range(30):

            def ramp(stubs: Stubs, percent: float, request_id: str = f"r-{number}") -> str:
                try:
                    return f"{stubs('Ramp', component=C, percent=percent, request_id=request_id).revision > 0}"
                except grpc.RpcError as error:
                    # A busy machine may keep Redis from answering in time, which says nothing of the race.
                    is_away = error.code() is grpc.StatusCode.UNAVAILABLE
                    return "away" if is_away else error.details().replace(request_id, "r")

            answers |= set(pool.map(ramp, (call, second), (1 + number, 50 + number)))
    assert answers - {"away"} == {
        "True",
        "The request id r was used for a Ramp that differs in percent. To repeat the first request, send it "
        "unchanged. For any other request, choose a new request id.",
    }


def test_only_successful_requests_are_remembered(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    assert refusal(call, "Ramp", component=C, percent=10, request_id="r-1") == "NO_ROLLOUT"
    call("Release", component=C, tag="t2")
    assert not call("Ramp", component=C, percent=10, request_id="r-1").replayed


def test_a_write_with_an_old_expected_revision_is_refused(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component=C, tag="t2", expected_revision=1)
    assert refusal(call, "Ramp", component=C, percent=10, expected_revision=1) == "REVISION_MISMATCH"
    assert refusal(call, "SetOverride", component=C, repo="a/b", tag="x", expected_revision=1) == "REVISION_MISMATCH"
    assert refusal(call, "Release", component="new", tag="t", expected_revision=7) == "REVISION_MISMATCH"


def test_a_freeze_of_all_applies_to_new_components_and_its_end_starts_the_queues(call: Stubs, second: Stubs) -> None:
    call("Release", component=C, tag="t1")
    frozen = call("Freeze", all=True, note="holidays")
    assert frozen.frozen_all
    assert frozen.changed
    assert not frozen.HasField("rollout")
    assert not call("Freeze", all=True).changed
    for stub in (call, second):
        assert stub("GetRollout", component=C).rollout.freezes[0].all
    assert second("Release", component=C, tag="t2").disposition == v1.DISPOSITION_QUEUED
    assert call("Release", component="new", tag="n1").disposition == v1.DISPOSITION_BOOTSTRAPPED
    assert call("Release", component="new", tag="n2").disposition == v1.DISPOSITION_QUEUED
    assert refusal(call, "Release", component="new", tag="n3", expedite=True) == "FROZEN"
    thawed = call("Unfreeze", all=True)
    assert not thawed.frozen_all
    assert thawed.HasField("frozen_all")
    assert call("GetRollout", component=C).rollout.next.tag == "t2"
    assert call("GetRollout", component="new").rollout.next.tag == "n2"
    actions = [(event.action, event.note) for event in call("ListEvents").events]
    assert actions == [("Unfreeze", ""), ("Freeze", "holidays")]


def test_a_prolonged_freeze_of_all_lasts_until_its_new_end(call: Stubs, second: Stubs) -> None:
    """Given a freeze of all that was prolonged, and freezes of components that end after its first end, expect that all is still
    frozen when the freezes of the components have ended. By then the servers have also checked the freeze of all.
    """
    call("Release", component=C, tag="t1")
    end = in_s(8)
    call("Freeze", all=True, expire_time=end)
    assert call("Freeze", all=True, expire_time=in_s(3600), note="longer").changed
    for name in ("a", "b"):
        call("Release", component=name, tag="t1")
        assert second("Release", component=name, tag="t2").disposition == v1.DISPOSITION_QUEUED
    eventually(lambda: time.time() > end.seconds + 1)
    for name in ("a", "b"):
        soon_ends(call, "Freeze", component=name)
        eventually(lambda name=name: len(call("GetRollout", component=name).rollout.freezes) == 1)
    for stub in (call, second):
        [freeze] = stub("GetRollout", component="a").rollout.freezes
        assert (freeze.all, freeze.note) == (True, "longer")
        assert not stub("GetRollout", component="a").rollout.HasField("next")
    assert [event.action for event in call("ListEvents").events] == ["Freeze", "Freeze"]


def test_a_freeze_of_all_without_an_expiry_stays(call: Stubs) -> None:
    """Given a freeze of all without an expiry, and a freeze of a component that ends, expect that only the latter ends. The same
    check of the server ends both kinds.
    """
    call("Release", component=C, tag="t1")
    call("Freeze", all=True)
    for _ in range(2):
        soon_ends(call, "Freeze", component=C)
        eventually(lambda: len(call("GetRollout", component=C).rollout.freezes) == 1)
    assert call("GetRollout", component=C).rollout.freezes[0].all
    assert [event.action for event in call("ListEvents").events] == ["Freeze"]


@pytest.mark.parametrize("is_all", [True, False])
def test_a_freeze_with_an_expiry_ends_by_itself_and_the_queue_starts(call: Stubs, is_all: bool) -> None:
    call("Release", component=C, tag="t1")
    where = {"all": True} if is_all else {"component": C}
    call("Freeze", expire_time=in_s(3600), **where)
    assert call("Release", component=C, tag="t2").disposition == v1.DISPOSITION_QUEUED
    soon_ends(call, "Freeze", **where)
    eventually(lambda: call("GetRollout", component=C).rollout.next.tag == "t2")
    rollout = call("GetRollout", component=C).rollout
    assert not rollout.frozen
    assert call("ListEvents", component=C).events[0].actor == "rampd"
    assert refusal(call, "Freeze", expire_time=in_s(-60), **where) == "INVALID_FIELD"


def test_overrides_win_expire_and_are_listed_in_order(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component=C, tag="t2")
    call("SetOverride", component=C, repo="acme/*", channel=v1.CHANNEL_NEXT)
    call("SetOverride", component=C, repo="acme/app", tag="t1", expire_time=in_s(3600))
    first = call("Resolve", component=C, repo="acme/app")
    assert (first.tag, first.reason, first.release) == ("t1", v1.RESOLVE_REASON_OVERRIDE_TAG, 1)
    owner = call("Resolve", component=C, repo="acme/web")
    assert (owner.tag, owner.reason) == ("t2", v1.RESOLVE_REASON_OVERRIDE_CHANNEL)
    assert call("Resolve", component=C, repo="other/web").tag == "t1"
    assert [o.repo for o in call("ListOverrides", component=C).overrides] == ["acme/*", "acme/app"]
    soon_ends(call, "SetOverride", component=C, repo="acme/app", tag="t1")
    eventually(lambda: call("Resolve", component=C, repo="acme/app").tag == "t2")
    assert [o.repo for o in call("ListOverrides", component=C).overrides] == ["acme/*"]
    assert refusal(call, "DeleteOverride", component=C, repo="acme/app") == "OVERRIDE_NOT_FOUND"
    assert call("DeleteOverride", component=C, repo="acme/*").changed
    assert call("Resolve", component=C, repo="acme/web").tag == "t1"
    assert refusal(call, "SetOverride", component="none", repo="a/b", tag="x") == "COMPONENT_NOT_FOUND"


@pytest.mark.usefixtures("catches_up")
def test_the_longest_prefix_wins_on_every_server_until_it_expires(call: Stubs, second: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("SetOverride", component=C, repo="group/*", tag="one")
    ends = [
        v1.OverrideChange(repo="group/sub/*", tag="two", expire_time=in_s(3600)),
        v1.OverrideChange(repo="group/sub/own", tag="own"),
    ]
    revision = call("BatchSetOverrides", component=C, overrides=ends).revision
    wanted = {
        "group/sub/team/app": "two",
        "group/sub/own": "own",
        "group/subs/app": "one",
        "group": "t1",
        "x/group/a": "t1",
    }
    for server in (call, second):
        got = {repo: server("Resolve", component=C, repo=repo, min_revision=revision).tag for repo in wanted}
        assert got == wanted
    soon_ends(call, "SetOverride", component=C, repo="group/sub/*", tag="two")
    eventually(
        lambda: {server("Resolve", component=C, repo="group/sub/team/app").tag for server in (call, second)} == {"one"}
    )
    listed = call("ListOverrides", component=C, prefix="group/").overrides
    assert [override.repo for override in listed] == ["group/*", "group/sub/own"]
    assert (
        call("DeleteOverride", component=C, repo="group/*").message
        == "group/* has no override now and follows the percent again."
    )
    assert call("Resolve", component=C, repo="group/sub/team/app").tag == "t1"


@pytest.mark.parametrize("repo", ["*", "/*", "a*", "acme/a*", "*/app", "acme/*/app", "acme/**", "acme//*"])
def test_a_star_that_would_match_no_repo_is_refused_and_the_message_shows_a_valid_star(call: Stubs, repo: str) -> None:
    revision = call("Release", component=C, tag="t1").revision
    good = v1.OverrideChange(repo="acme/app", tag="x")
    for method, fields in (
        ("SetOverride", {"repo": repo, "tag": "x"}),
        ("BatchSetOverrides", {"overrides": [good, v1.OverrideChange(repo=repo, tag="x")]}),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(method, component=C, **fields)
        assert reason_of(caught.value) == "INVALID_FIELD"
        assert "acme/* or group/sub/*" in str(caught.value.details())
        assert f"'*' at character {repo.index('*') + 1} works only as the whole last segment" in str(
            caught.value.details()
        )
    assert call("GetRollout", component=C).rollout.revision == revision
    assert not call("ListOverrides", component=C).overrides


def test_old_overrides_that_today_would_be_refused_are_loaded_listed_and_can_be_deleted(
    call: Stubs, store_process: StoreServer, namespace: str
) -> None:
    call("Release", component=C, tag="t1")
    call("SetOverride", component=C, repo="acme/app", tag="own")
    old = {"*": "tag=x", "acme/a*": "channel=next", "acme/*/app": "tag=x", "group/sub/*": "tag=nested"}
    keys = f"rampd:{{{namespace}}}:overrides:{C}", f"rampd:{{{namespace}}}:overrides-index:{C}"
    with Redis.from_url(store_process.url) as client:
        client.hset(keys[0], mapping=old)
        client.zadd(keys[1], dict.fromkeys(old, 0))
        client.hdel(f"rampd:{{{namespace}}}:rollout:{C}", "overrides")  # an old server did not store this count
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as running,
        stubs(running) as later,
    ):
        repos = ["acme/app", "acme/abc", "acme/x/app", "group/sub/a/b", "other"]
        tags = [later("Resolve", component=C, repo=repo).tag for repo in repos]
        assert tags == ["own", "t1", "t1", "nested", "t1"]
        listed = [override.repo for override in later("ListOverrides", component=C).overrides]
        assert listed == sorted([*old, "acme/app"])
        later("DeleteOverride", component=C, repo="*")
        rest = [v1.OverrideChange(repo=repo, delete=True) for repo in ("acme/a*", "acme/*/app")]
        assert later("BatchSetOverrides", component=C, overrides=rest).changed
        assert [override.repo for override in later("ListOverrides", component=C).overrides] == [
            "acme/app",
            "group/sub/*",
        ]


def test_many_overrides_are_one_revision_and_exact_pages(call: Stubs) -> None:
    revision = call("Release", component=C, tag="t1").revision
    changes = [v1.OverrideChange(repo=f"acme/r{n:03}", tag="x") for n in range(250)]
    assert call("BatchSetOverrides", component=C, overrides=changes).revision == revision + 1
    changes = [v1.OverrideChange(repo=f"acme/r{n:03}", delete=True) for n in range(0, 250, 2)]
    assert call("BatchSetOverrides", component=C, overrides=changes).changed
    assert not call("BatchSetOverrides", component=C, overrides=changes).changed
    event = call("ListEvents", component=C).events[0]
    assert (event.count, list(event.changes)) == (125, [])
    seen, token = [], ""
    while True:
        page = call("ListOverrides", component=C, prefix="acme/r", page_size=50, page_token=token)
        seen.append([override.repo for override in page.overrides])
        token = page.next_page_token
        if not token:
            break
    assert [len(page) for page in seen] == [50, 50, 25]
    assert [repo for page in seen for repo in page] == [f"acme/r{n:03}" for n in range(1, 250, 2)]


ODD_TAGS = ["@scope/pkg@1.2.3", "pkg==1.0", "feat(x)/y", "fix/#42~2", "tag=a"]


def test_every_kind_of_tag_works_in_every_verb(call: Stubs, store_process: StoreServer, namespace: str) -> None:
    for tag in ODD_TAGS:
        call("Release", component=C, tag=tag, expedite=True)
        assert call("Resolve", component=C, repo="acme/web").tag == tag
        call("SetOverride", component=C, repo="acme/app", tag=tag, expire_time=in_s(3600))
        call("Quarantine", component=C, tag=f"{tag}x", note=tag)
    call("Release", component=C, tag="no")
    call("Ramp", component=C, percent=50, tag="no")
    call("Rollback", component=C, tag="no", quarantine=True)
    assert call("Revert", component=C, tag=ODD_TAGS[0]).rollout.current.tag == ODD_TAGS[0]
    assert {mark.tag for mark in call("ListQuarantine", component=C).tags} == {f"{tag}x" for tag in ODD_TAGS} | {
        "no",
        "tag=a",
    }
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as running,
        stubs(running) as later,
    ):
        assert later("Resolve", component=C, repo="acme/app").tag == ODD_TAGS[-1]
        assert later("Resolve", component=C, repo="acme/web").tag == ODD_TAGS[0]
        assert [release.tag for release in later("ListReleases", component=C).releases] == ["no", *reversed(ODD_TAGS)]


NOTE = "fix: timeouts\n\n\t- of the\r\n\tworker"
NOTE_SHOWN = r"fix: timeouts\n\n\t- of the\r\n\tworker"


@pytest.mark.usefixtures("catches_up")
def test_a_note_of_several_lines_is_kept_and_quoted_on_one_line(call: Stubs, second: Stubs) -> None:
    """A field with the note holds NOTE unchanged. A sentence quotes it as NOTE_SHOWN."""
    attributes = {"message": NOTE}
    revision = call("Release", component=C, tag="t1", attributes=attributes, note=NOTE).revision
    assert second("Resolve", component=C, repo="a/b", min_revision=revision).attributes == attributes
    assert call("GetRelease", component=C, release=1).release.note == NOTE
    call("Release", component=C, tag="t2")
    call("Ramp", component=C, percent=10)
    held = call("Rollback", component=C, note=NOTE, quarantine=True).rollout.held_reason
    assert held == f"rolled back by anonymous: {NOTE_SHOWN}"
    assert call("ListQuarantine", component=C).tags[0].note == NOTE
    [event] = call("ListEvents", component=C, page_size=1).events
    assert event.note == NOTE
    assert all(change.after.isprintable() for change in event.changes)
    with pytest.raises(grpc.RpcError) as quarantined:
        call("Ramp", component=C, percent=20)
    assert reason_of(quarantined.value) == "TAG_QUARANTINED"
    assert f"t2 is quarantined by anonymous ({NOTE_SHOWN})" in str(quarantined.value.details())
    call("Freeze", component=C, note=NOTE)
    assert call("GetRollout", component=C).rollout.freezes[0].note == NOTE
    refusals = {
        "Confirm": {},
        "Finalize": {"force": True},
        "Ramp": {"percent": 20},
        "Release": {"tag": "t2", "expedite": True},
    }
    for method, fields in refusals.items():
        with pytest.raises(grpc.RpcError) as caught:
            call(method, component=C, **fields)
        details = str(caught.value.details())
        assert details.isprintable()
        assert NOTE_SHOWN in details
        assert all(value.isprintable() for value in metadata_of(caught.value).values())
    call("Unfreeze", component=C)
    call("Abandon", component=C, note=NOTE)
    assert call("GetRelease", component=C, release=2).release.end_reason == f"abandoned by anonymous: {NOTE_SHOWN}"


@pytest.mark.parametrize("text", ["a\rb", "\x1b[1m", "a\0", "a\x0bb", "a\x85b"])
def test_every_other_control_character_is_refused_in_notes_and_attributes(call: Stubs, text: str) -> None:
    place = next(at for at, character in enumerate(text, start=1) if not character.isprintable())
    with pytest.raises(grpc.RpcError) as caught:
        call("Release", component=C, tag="t1", note=text, attributes={"message": text})
    details = str(caught.value.details())
    assert details.count(f"at character {place} is not allowed") == 2
    assert details.isprintable()
    assert refusal(call, "GetRollout", component=C) == "COMPONENT_NOT_FOUND"


def test_lists_come_in_pages(call: Stubs) -> None:
    for n in range(7):
        call("Release", component=f"c{n}", tag="t1")
    page = call("ListRollouts", page_size=5)
    assert [rollout.component for rollout in page.rollouts] == [f"c{n}" for n in range(5)]
    rest = call("ListRollouts", page_size=5, page_token=page.next_page_token)
    assert [rollout.component for rollout in rest.rollouts] == ["c5", "c6"]
    assert not rest.next_page_token
    for n in range(2, 6):
        call("Release", component="c0", tag=f"t{n}")
    page = call("ListReleases", component="c0", page_size=3)
    assert [release.tag for release in page.releases] == ["t5", "t4", "t3"]
    rest = call("ListReleases", component="c0", page_size=3, page_token=page.next_page_token)
    assert [release.tag for release in rest.releases] == ["t2", "t1"]
    for tag in ("b", "a", "c"):
        call("Quarantine", component="c0", tag=tag, note="bad")
    page = call("ListQuarantine", component="c0", page_size=2)
    assert [(mark.tag, mark.note) for mark in page.tags] == [("a", "bad"), ("b", "bad")]
    rest = call("ListQuarantine", component="c0", page_size=2, page_token=page.next_page_token)
    assert [mark.tag for mark in rest.tags] == ["c"]


def test_a_rollout_says_which_of_its_channels_are_in_quarantine(call: Stubs) -> None:
    def quarantined() -> list[int]:
        [listed] = call("ListRollouts").rollouts
        assert listed.quarantined == call("GetRollout", component=C).rollout.quarantined
        return list(listed.quarantined)

    for tag in ("t1", "t2"):
        call("Release", component=C, tag=tag)
    assert quarantined() == []
    call("Quarantine", component=C, tag="t1")
    assert quarantined() == [v1.CHANNEL_CURRENT]
    call("Quarantine", component=C, tag="t2")
    assert quarantined() == [v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT]
    call("Unquarantine", component=C, tag="t1")
    assert quarantined() == [v1.CHANNEL_NEXT]


def test_only_given_fields_of_a_policy_change_and_the_mask_resets_a_field(call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("SetPolicy", component=C, policy=v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST))
    call("SetPolicy", component=C, policy=v1.Policy(unit=v1.UNIT_JOB))
    policy = call("GetPolicy", component=C).policy
    assert (policy.queue_mode, policy.unit) == (v1.QUEUE_MODE_LATEST, v1.UNIT_JOB)
    call("SetPolicy", component=C, policy=v1.Policy(), update_mask=FieldMask(paths=["queue_mode"]))
    policy = call("GetPolicy", component=C).policy
    assert (policy.queue_mode, policy.unit) == (v1.QUEUE_MODE_FIFO, v1.UNIT_JOB)


@pytest.mark.usefixtures("catches_up")
def test_a_deleted_component_is_gone_and_its_numbers_go_on(call: Stubs, second: Stubs) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component=C, tag="t2")
    call("SetOverride", component=C, repo="acme/app", tag="x")
    gone = call("DeleteComponent", component=C, confirm=C)
    assert not gone.HasField("rollout")
    for stub in (call, second):
        eventually(lambda stub=stub: _is_gone(stub))
        assert refusal(stub, "GetRollout", component=C) == "COMPONENT_NOT_FOUND"
    again = second("Release", component=C, tag="t3")
    assert (again.disposition, again.release, again.revision) == (v1.DISPOSITION_BOOTSTRAPPED, 3, gone.revision + 1)
    assert call("Resolve", component=C, repo="acme/app", min_revision=again.revision).tag == "t3"
    assert [event.action for event in call("ListEvents", component=C, page_size=2).events] == [
        "Release",
        "DeleteComponent",
    ]


def _is_gone(stub: Stubs) -> bool:
    try:
        stub("Resolve", component=C, repo="acme/app")
    except grpc.RpcError as error:
        return reason_of(error) == "COMPONENT_NOT_FOUND"
    return False


def test_a_running_server_writes_nothing_once_the_schema_is_newer(
    call: Stubs, store_process: StoreServer, namespace: str
) -> None:
    call("Release", component=C, tag="t1")
    with Redis.from_url(store_process.url) as client:
        client.hset(f"rampd:{{{namespace}}}:meta", "schema", SCHEMA + 1)

    assert refusal(call, "Pause", component=C) == "STORE_UNAVAILABLE"
    assert refusal(call, "Resume", component=C) == "STORE_UNAVAILABLE"  # the server already knows
    # A confirmed state is at most about a second old. An older state shows that the server stopped confirming it.
    eventually(lambda: call("Resolve", component=C, repo="acme/app").snapshot_age.ToMilliseconds() > 3000)
    assert call("Resolve", component=C, repo="acme/app").tag == "t1"
