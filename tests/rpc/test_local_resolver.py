"""Resolving in the launcher's own process, against a real server, with both faces of the client."""

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import rampd
from rampd import AsyncResolver, Job, Resolver, v1
from rampd._decision import staleness
from rampd._decision.resolution import ResolveReason
from rampd._watching.feed import Change
from rampd._watching.local import NOTHING
from rampd.v1 import resolver_service_pb2_grpc
from rampd_server import listeners, testing
from rampd_server.rpc.streams import Streams
from tests.proxy import proxy_to
from tests.rpc.conftest import catch_up_within
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
NO_SERVER = "unix:/nowhere/rampd.sock"


async def result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


@dataclass
class Face:
    """Makes resolvers of one face. The fixture closes them."""

    kind: Any
    made: list[Any] = field(default_factory=list)

    def __call__(self, target: str, **options: Any) -> Any:
        self.made.append(self.kind(target, **options))
        return self.made[-1]


@pytest.fixture(params=[Resolver, AsyncResolver], ids=["blocking", "asyncio"])
async def face(request: pytest.FixtureRequest, catches_up: None) -> AsyncIterator[Face]:
    made = Face(request.param)
    yield made
    for resolver in made.made:
        await result(resolver.close())


async def until(condition: Callable[[], Any], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not await result(condition()):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def tag(resolver: Any, repo: str = "acme/app", **options: Any) -> str:
    return str((await result(resolver.resolve(C, repo=repo, **options))).tag)


def watching_threads() -> set[threading.Thread]:
    """Returns the threads of all resolvers of this process. Those of other tests may still be ending."""
    return {thread for thread in threading.enumerate() if thread.name == "rampd-watch"}


def age(resolver: Any, seconds: float) -> None:
    """Makes the state of a resolver older by `seconds`."""
    local = resolver._watching.local
    local.feed.confirmed_s -= seconds
    local.feed.deleted = {
        name: type(gone)(gone.component, gone.since_s - seconds, gone.gone_s - seconds)
        for name, gone in local.feed.deleted.items()
    }


@pytest.mark.usefixtures("never_stale")
async def test_local_mode_is_the_default_and_sees_every_change(target: str, call: Stubs, face: Face) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "1a"})
    resolver = face(target)
    assert resolver.mode == "local"
    first = await result(resolver.resolve(C, repo="acme/app"))
    assert (first.tag, first.reason, first.release, first.attributes) == ("t1", "STEADY", 1, {"commit": "1a"})
    assert (first.revision, first.bucket, first.stale) == (1, None, False)
    call("Release", component=C, tag="t2")
    for percent, expected in ((100, "t2"), (0, "t1")):
        revision = call("Ramp", component=C, percent=percent).revision
        assert await tag(resolver, min_revision=revision) == expected
    revision = call("SetOverride", component=C, repo="acme/app", tag="pb/x").revision
    assert await tag(resolver, min_revision=revision) == "pb/x"
    assert await tag(resolver, "acme/web") == "t1"


async def test_a_revision_that_does_not_come_is_unavailable(target: str, call: Stubs, face: Face) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    assert await tag(resolver) == "t1"
    with pytest.raises(rampd.UnavailableError, match="is at revision 1 here, and revision 9 did not come") as caught:
        await result(resolver.resolve(C, repo="acme/app", min_revision=9, timeout=0.1))
    assert (caught.value.reason, caught.value.retryable) == ("NO_SNAPSHOT", True)


@pytest.mark.usefixtures("never_stale")
async def test_local_and_rpc_give_the_same_answers_for_any_rollout(target: str, call: Stubs, face: Face) -> None:
    chance = random.Random(7)
    local, rpc = face(target), face(target, mode="rpc")
    components = [f"c{n}" for n in range(4)]
    verbs: list[Callable[[str], Any]] = [
        lambda c: call(
            "Release", component=c, tag=f"t{chance.randrange(1000)}", attributes={"n": str(chance.random())}
        ),
        lambda c: call("Ramp", component=c, percent=chance.randrange(10_001) / 100),
        lambda c: call("Rollback", component=c),
        lambda c: call("Finalize", component=c, force=True),
        lambda c: call("Revert", component=c),
        lambda c: call("SetPolicy", component=c, policy=v1.Policy(unit=chance.choice([1, 2]))),
        lambda c: call(
            "SetOverride", component=c, repo=f"acme/app{chance.randrange(9)}", channel=chance.choice([1, 2])
        ),
        lambda c: call(
            "SetOverride", component=c, repo=chance.choice(["acme/*", "acme/sub/*"]), channel=chance.choice([1, 2])
        ),
        lambda c: call(
            "SetOverride", component=c, repo=f"acme/app{chance.randrange(9)}", tag=f"t{chance.randrange(9)}"
        ),
    ]
    for component in components:
        call("Release", component=component, tag="t0")
    compared = set()
    for _ in range(120):
        component = chance.choice(components)
        with contextlib.suppress(Exception):
            chance.choice(verbs)(component)
        revision = call("GetRollout", component=component).rollout.revision
        for _ in range(3):
            asked = {
                "repo": f"{chance.choice(['acme', 'acme/sub', 'acme/sub/team', 'x'])}/app{chance.randrange(12)}",
                "min_revision": revision,
            }
            if chance.random() < 0.5:
                asked["job_id"] = str(chance.randrange(100))
            ours, theirs = [await result(each.resolve(component, **asked)) for each in (local, rpc)]
            names = ("tag", "channel", "reason", "release", "attributes", "bucket", "revision", "stale")
            assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]
            compared.add(ours.reason)
    assert compared == {
        ResolveReason.STEADY,
        ResolveReason.WEIGHT,
        ResolveReason.OVERRIDE_CHANNEL,
        ResolveReason.OVERRIDE_TAG,
    }


async def test_a_batch_is_answered_from_one_state(target: str, call: Stubs, face: Face) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    found = await result(resolver.resolve_batch([(C, "acme/app"), ("other", "acme/app"), (C, "acme/web", "42")]))
    assert [getattr(each, "tag", None) for each in found] == ["t1", None, "t1"]
    assert isinstance(found[1], rampd.NotFoundError)
    assert found[1].reason == "COMPONENT_NOT_FOUND"
    with pytest.raises(rampd.InvalidArgumentError, match=r"requests\[0\].repo"):
        await result(resolver.resolve_batch([(C, "not a repo")]))


@pytest.mark.parametrize("mode", ["local", "rpc"])
@pytest.mark.parametrize(
    "asked",
    [
        {"component": "NO"},
        {"component": ["a"]},
        {"component": None},
        {"component": "\udc80"},
        {"component": "x" * 1_000_000},
        {"repo": None},
        {"repo": "acme/app\n"},
        {"repo": "acme/äpp"},
        {"repo": ""},
        {"repo": "a b"},
        {"repo": "acme/\udc80"},
        {"repo": "acme/\0"},
        {"repo": "x" * 1_000_000},
        {"repo": b"acme/app"},
        {"repo": 7},
        {"repo": ["acme/app"]},
        {"job_id": "\udc80"},
        {"job_id": "a b"},
        {"job_id": 42},
        {"job_id": None},
        {"job_id": "x" * 1_000_000},
        {"min_revision": -1},
        {"min_revision": "1"},
        {"min_revision": True},
        {"min_revision": 2**63},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": "1"},
        {"timeout": 1e300},
        {"timeout": 10**400},
        {"fallback": "\udc80"},
        {"fallback": 7},
        {"fallback": "x" * 1_000_000},
        {"timeout": -1},
        {"fallback": "not a tag"},
    ],
    ids=lambda fields: repr(fields)[:40],
)
async def test_bad_input_is_refused_in_both_modes(
    target: str, call: Stubs, face: Face, mode: str, asked: dict[str, Any]
) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target, mode=mode)
    assert await tag(resolver) == "t1"
    with pytest.raises(rampd.InvalidArgumentError) as caught:
        await result(resolver.resolve(**({"component": C, "repo": "acme/app"} | asked)))
    assert [path for path, _ in caught.value.violations] == list(asked)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "remote"},
        {"timeout": 0},
        {"components": ["NO"]},
        {"components": [7]},
        {"components": 7},
        {"mode": []},
        {"next_max_stale": -1},
        {"next_max_stale": "long"},
        {"snapshot_file": 7},
        {"target": "nothing"},
    ],
    ids=repr,
)
def test_bad_options_are_refused_at_once(face: Face, options: dict[str, Any]) -> None:
    with pytest.raises(rampd.InvalidArgumentError):
        face(**({"target": "127.0.0.1:1"} | options))


async def test_only_watched_components_are_known(target: str, call: Stubs, face: Face) -> None:
    call("Release", component=C, tag="t1")
    call("Release", component="other", tag="o1")
    resolver = face(target, components=[C])
    assert await tag(resolver) == "t1"
    with pytest.raises(rampd.NoVersionError, match="watches only restyler"):
        await result(resolver.resolve("other", repo="acme/app"))


async def test_without_a_server_the_fallback_is_the_answer_and_only_the_first_call_waits(face: Face) -> None:
    resolver = face(NO_SERVER, timeout=1)
    began = time.monotonic()
    answers = [await result(resolver.resolve(C, repo="acme/app", fallback="20200301")) for _ in range(100)]
    assert time.monotonic() - began < 60
    assert {(each.tag, each.reason, each.channel, each.revision, each.stale) for each in answers} == {
        ("20200301", ResolveReason.FALLBACK, None, 0, True)
    }
    with pytest.raises(rampd.NoVersionError) as caught:
        await result(resolver.resolve(C, repo="acme/app"))
    assert caught.value.reason == "NO_VERSION"
    for said in (f"the server at {NO_SERVER} has sent no state", "there is no snapshot_file", "no fallback was given"):
        assert said in caught.value.message
    await until(lambda: "Can't reach" in resolver.status().error)
    status = resolver.status()
    assert (status.source, status.connected, status.stale, status.next_withheld) == ("none", False, True, True)


async def test_rpc_mode_uses_the_fallback_too(target: str, face: Face) -> None:
    for at in (NO_SERVER, target):
        resolver = face(at, mode="rpc", timeout=0.3)
        answer = await result(resolver.resolve("nothing", repo="acme/app", fallback="20200301"))
        assert (answer.tag, answer.reason) == ("20200301", "FALLBACK")
    assert resolver.status().mode == "rpc"


async def test_the_first_resolve_waits_for_a_server_that_starts_later(
    face: Face, target: str, call: Stubs, store_process: StoreServer, namespace: str
) -> None:
    call("Release", component=C, tag="t1")
    with short_directory() as directory:
        resolver = face(f"unix:{directory}/rampd.sock")
        asked = asyncio.create_task(asyncio.to_thread(asyncio.run, tag(resolver)))
        await until(lambda: resolver.status().error)
        with testing.run(directory, store_process.url, namespace=namespace):
            assert await asked == "t1"


async def test_without_its_server_a_client_keeps_the_last_state_and_withholds_next_after_a_time(
    face: Face, store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staleness, "STALE_AFTER_S", 100)
    with short_directory() as directory:
        with testing.run(directory, store_process.url, namespace=namespace) as target, stubs(target) as call:
            for each in ("t1", "t2"):
                call("Release", component=C, tag=each)
            call("Ramp", component=C, percent=100)
            resolver = face(target, next_max_stale=1000)
            fresh = await result(resolver.resolve(C, repo="acme/app"))
        assert (fresh.tag, fresh.stale) == ("t2", False)
        await until(lambda: not resolver.status().connected)
        lately = await result(resolver.resolve(C, repo="acme/app"))
        assert (lately.tag, lately.stale, resolver.status().stale) == ("t2", False, False)
        age(resolver, 200)
        stale = await result(resolver.resolve(C, repo="acme/app"))
        assert (stale.tag, stale.stale, stale.reason) == ("t2", True, ResolveReason.WEIGHT)
        assert 200 < stale.snapshot_age_s < 500
        assert (resolver.status().stale, resolver.status().next_withheld) == (True, False)
        age(resolver, 1000)
        old = await result(resolver.resolve(C, repo="acme/app"))
        assert (old.tag, old.stale, old.reason) == ("t1", True, ResolveReason.STALE)
        assert resolver.status().next_withheld
        assert resolver.status().error


async def test_a_server_without_its_store_makes_its_clients_stale(
    target: str, call: Stubs, store_process: StoreServer
) -> None:
    for each in ("t1", "t2"):
        call("Release", component=C, tag=each)
    call("Ramp", component=C, percent=100)
    with Resolver(target) as resolver:
        assert not resolver.resolve(C, repo="acme/app").stale
        seen: list[Any] = []

        def is_stale_and_connected() -> bool:
            seen[:] = [resolver.resolve(C, repo="acme/app"), resolver.status()]
            return seen[0].stale and seen[1].connected

        store_process.signal(signal.SIGSTOP)
        try:
            await until(is_stale_and_connected)
            answer, status = seen
            assert (answer.tag, status.connected, status.stale, status.next_withheld) == ("t2", True, True, False)
            assert 5 <= answer.snapshot_age_s < 300
            assert f"the server at {target} answers, but its store does not confirm the state" in status.error
        finally:
            store_process.signal(signal.SIGCONT)
        await until(lambda: not resolver.resolve(C, repo="acme/app").stale)
        await until(lambda: not resolver.status().error)


async def test_a_deleted_component_keeps_its_last_answer_for_a_while(target: str, call: Stubs, face: Face) -> None:
    for each in ("t1", "t2"):
        call("Release", component=C, tag=each)
    call("Ramp", component=C, percent=100)
    resolver = face(target, next_max_stale=600)
    assert await tag(resolver) == "t2"
    call("DeleteComponent", component=C, confirm=C)
    await until(lambda: resolver.status().deleted == (C,))
    assert await tag(resolver, fallback="f") == "t2"
    age(resolver, 300)
    answer = await result(resolver.resolve(C, repo="acme/app"))
    assert (answer.tag, answer.stale, answer.snapshot_age_s > 300) == ("t2", True, True)
    age(resolver, 301)
    assert await tag(resolver, fallback="f") == "f"
    await until(lambda: resolver.status().connected and resolver.status().snapshot_age_s < 5)
    with pytest.raises(rampd.NoVersionError, match=r"the server at .* had no such component") as caught:
        await tag(resolver)
    assert caught.value.reason == "COMPONENT_NOT_FOUND"
    again = call("Release", component=C, tag="t3").revision
    assert await tag(resolver, min_revision=again) == "t3"


async def test_a_launcher_without_a_server_starts_from_its_snapshot_file(
    face: Face, store_process: StoreServer, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rampd.snapshot"
    with short_directory() as directory:
        with testing.run(directory, store_process.url, namespace=namespace) as target, stubs(target) as call:
            call("Release", component=C, tag="t1")
            call("SetOverride", component=C, repo="acme/app", tag="pb/x")
            first = face(target, snapshot_file=path)
            assert await tag(first) == "pb/x"
            await result(first.close())
        assert path.stat().st_mode & 0o777 == 0o600
        second = face(target, snapshot_file=str(path))
        assert (await tag(second), await tag(second, "acme/web")) == ("pb/x", "t1")
        assert second.status().source == "file"
        with pytest.raises(rampd.NoVersionError, match="does not have it"):
            await result(second.resolve("other", repo="acme/app"))
        await result(second.close())
        path.chmod(0o644)
        third = face(target, snapshot_file=path, timeout=0.2)
        with caplog.at_level(logging.WARNING, "rampd"), pytest.raises(rampd.NoVersionError, match="chmod 600"):
            await tag(third)
        assert "was not read: its mode is" in caplog.text
        assert "chmod 600" in third.status().snapshot_file_error


async def test_a_snapshot_file_is_not_used_if_the_server_answers(
    target: str, call: Stubs, face: Face, tmp_path: Path
) -> None:
    """Given a file that is a moment old, and later changes, expect that the first answer knows the changes."""
    path = tmp_path / "rampd.snapshot"
    call("Release", component=C, tag="t1")
    first = face(target, snapshot_file=path)
    assert await tag(first) == "t1"
    await result(first.close())
    call("Release", component=C, tag="t2", expedite=True)
    call("Release", component="other", tag="o1")
    second = face(target, snapshot_file=path)
    assert await tag(second) == "t2"
    assert (await result(second.resolve("other", repo="acme/app"))).tag == "o1"


@pytest.mark.parametrize("mode", ["local", "rpc"])
async def test_a_revision_that_does_not_come_gives_the_fallback_and_in_a_batch_an_error(
    target: str, call: Stubs, face: Face, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch_up_within(monkeypatch, 1)
    call("Release", component=C, tag="t1")
    resolver = face(target, mode=mode)
    answer = await result(resolver.resolve(C, repo="acme/app", min_revision=99, fallback="f"))
    assert (answer.tag, answer.reason) == ("f", "FALLBACK")
    jobs = [Job(C, "acme/app"), Job(C, "acme/app", "", 99), *(Job(f"none{n}", "acme/app", "", 9) for n in range(300))]
    began = time.monotonic()
    known, behind, *others = await result(resolver.resolve_batch(jobs))
    assert time.monotonic() - began < 60, "the jobs waited one after the other"
    assert known.tag == "t1"
    assert (type(behind), behind.reason) == (rampd.UnavailableError, "NO_SNAPSHOT")
    assert all(isinstance(other, rampd.NotFoundError) for other in others)


def cut(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(path.read_bytes().replace(b"t1", b"t9"))


def empty(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"")


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


def share(path: Path, _: pytest.MonkeyPatch) -> None:
    path.chmod(0o640)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (cut, "its checksum does not fit"),
        (damage, "its checksum does not fit"),
        (empty, "no snapshot of this version"),
        (give_away, "it belongs to user"),
        (share, "chmod 600 it"),
    ],
)
async def test_an_untrusted_snapshot_file_is_refused_with_a_warning(
    *,
    face: Face,
    target: str,
    call: Stubs,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
    why: str,
) -> None:
    call("Release", component=C, tag="t1")
    path = tmp_path / "rampd.snapshot"
    first = face(target, snapshot_file=path)
    assert await tag(first) == "t1"
    await result(first.close())
    spoil(path, monkeypatch)
    with caplog.at_level(logging.WARNING, "rampd"):
        second = face(NO_SERVER, snapshot_file=path, timeout=0.2)
        assert (await result(second.resolve(C, repo="acme/app", fallback="f"))).reason is ResolveReason.FALLBACK
    [warning] = [record.getMessage() for record in caplog.records if "was not read" in record.getMessage()]
    assert why in warning
    assert second.status().snapshot_file_error == warning
    third = face(target, snapshot_file=path)
    assert await tag(third) == "t1"


async def test_answers_from_a_snapshot_file_have_the_age_of_the_file(
    face: Face, target: str, call: Stubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("t1", "t2"):
        call("Release", component=C, tag=each)
    call("Ramp", component=C, percent=100)
    path = tmp_path / "rampd.snapshot"
    first = face(target, snapshot_file=path)
    assert await tag(first) == "t2"
    await result(first.close())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 400)
    answer = await result(face(NO_SERVER, snapshot_file=path).resolve(C, repo="acme/app"))
    assert (answer.tag, answer.reason, answer.stale) == ("t1", ResolveReason.STALE, True)
    assert 390 < answer.snapshot_age_s < 430


async def test_a_snapshot_file_that_can_not_be_written_does_not_stop_the_resolver(
    face: Face, target: str, call: Stubs, tmp_path: Path
) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target, snapshot_file=tmp_path / "none" / "rampd.snapshot")
    assert await tag(resolver) == "t1"
    await until(lambda: "was not written" in resolver.status().snapshot_file_error)


async def test_callbacks_get_the_releases_that_left_and_that_came(
    target: str, call: Stubs, face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    changes: list[Change] = []
    threads: set[str] = set()

    @resolver.on_change  # type: ignore[untyped-decorator]
    def broken(change: Change) -> None:
        raise RuntimeError("broken")

    @resolver.on_change  # type: ignore[untyped-decorator]
    def listen(change: Change) -> None:
        changes.append(change)
        threads.add(threading.current_thread().name)

    assert await tag(resolver) == "t1"
    call("Release", component=C, tag="t2")
    call("Ramp", component=C, percent=10)
    revision = call("Rollback", component=C).revision
    await until(lambda: changes and changes[-1].revision == revision)
    assert [([r.tag for r in each.left], [r.tag for r in each.came]) for each in changes] == [
        ([], ["t2"]),
        ([], []),
        (["t2"], []),
    ]
    assert threads == {"rampd-watch" if face.kind is Resolver else "MainThread"}
    assert "a callback of on_change failed" in caplog.text
    with pytest.raises(rampd.InvalidArgumentError, match="mode"):
        face(target, mode="rpc").on_change(listen)


@pytest.mark.parametrize(
    "raised", [SystemExit(1), GeneratorExit(), asyncio.CancelledError(), BaseException()], ids=repr
)
async def test_no_error_of_a_callback_ends_the_watching(
    target: str, call: Stubs, face: Face, raised: BaseException
) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    changes: list[Change] = []

    def leave(_change: Change) -> None:
        raise raised

    resolver.on_change(leave)
    resolver.on_change(changes.append)
    assert await tag(resolver) == "t1"
    for n in range(2, 4):
        call("Release", component=C, tag=f"t{n}", expedite=True)
        await until(lambda expected=n: [r.tag for r in changes[-1].came] == [f"t{expected}"] if changes else False)
        assert await tag(resolver) == f"t{n}"
    await until(lambda: resolver.status().connected and not resolver.status().error)


async def test_a_log_that_fails_does_not_end_the_watching(
    target: str, call: Stubs, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_asked = threading.Event()

    class Broken(logging.Handler):
        def handle(self, _record: logging.LogRecord) -> bool:
            was_asked.set()
            raise SystemExit(3)

    monkeypatch.setattr("rampd._runtime.daemon_thread.AGAIN_AFTER_S", 0.01)
    call("Release", component=C, tag="t1")
    resolver = face(target)
    assert await tag(resolver) == "t1"
    broken = Broken()
    logging.getLogger("rampd").addHandler(broken)
    try:
        resolver._watching._call.cancel()  # this is logged
        await until(was_asked.is_set)
        call("Release", component=C, tag="t2", expedite=True)
    finally:
        logging.getLogger("rampd").removeHandler(broken)

    async def has_heard() -> bool:
        return await tag(resolver) == "t2"

    await until(has_heard)


@pytest.mark.parametrize("asked", ["resolve", "status"])
async def test_a_watching_thread_that_died_is_noticed_and_started_again(
    target: str, call: Stubs, face: Face, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    assert await tag(resolver) == "t1"
    worker, dead = resolver._watching._worker, resolver._watching._worker._thread

    def fail(_error: object) -> float:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("rampd._runtime.daemon_thread.AGAIN_AFTER_S", "no pause")  # so that the restart fails, too
        patched.setattr(threading, "excepthook", lambda _: None)
        patched.setattr(resolver._watching.local, "lost", fail)
        resolver._watching._call.cancel()
        await until(lambda: not dead.is_alive())
    assert not worker.runs
    call("Release", component=C, tag="t2", expedite=True)
    age(resolver, 6)
    if asked == "resolve":
        assert await tag(resolver) in {"t1", "t2"}
    else:
        resolver.status()
    assert worker._thread is not dead
    await until(lambda: resolver.status().connected)
    assert await tag(resolver) == "t2"


async def test_a_thread_that_can_not_be_started_is_tried_again_and_delays_no_job(
    target: str, call: Stubs, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = watching_threads()
    call("Release", component=C, tag="t1")
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("rampd-watch"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    resolver = face(target, timeout=60)
    for _ in range(3):
        assert await tag(resolver, fallback="t0") == "t0"
        with pytest.raises(rampd.NoVersionError, match="could not start the thread"):
            await tag(resolver)
        assert not resolver.status().connected
        assert "can't start new thread" in resolver.status().error
    monkeypatch.undo()
    await until(lambda: resolver.status().connected)
    assert await tag(resolver) == "t1"
    assert len(watching_threads() - before) == 1


async def test_status_says_that_watching_has_ended(target: str, call: Stubs, face: Face) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    assert await tag(resolver) == "t1"
    await until(lambda: resolver.status().connected)
    await result(resolver.close())
    assert not resolver.status().connected
    assert resolver.status().error.startswith("Nothing is watched any more: The connection to")


async def test_a_closed_resolver_says_so(target: str, call: Stubs, face: Face) -> None:
    before = watching_threads()
    call("Release", component=C, tag="t1")
    used, unused = face(target), face(target)
    assert await tag(used) == "t1"
    for resolver in (used, unused, used):
        await result(resolver.close())
    for resolver in (used, unused):
        with pytest.raises(rampd.ClosedError):
            await tag(resolver)
        with pytest.raises(rampd.ClosedError):
            await result(resolver.resolve_batch([(C, "acme/app")]))
    await until(lambda: not watching_threads() - before)


async def test_the_thread_of_a_garbage_collected_resolver_ends(target: str, call: Stubs, face: Face) -> None:
    before = watching_threads()
    call("Release", component=C, tag="t1")
    resolver = face.kind(target)
    assert await tag(resolver) == "t1"
    own = watching_threads() - before
    assert own
    del resolver
    gc.collect()
    await until(lambda: not own & watching_threads())


async def test_many_threads_resolve_from_one_state_while_it_changes(target: str, call: Stubs, face: Face) -> None:
    call("Release", component=C, tag="t1")
    resolver = face(target)
    stop = threading.Event()
    failures: list[BaseException] = []
    sent = 0

    def resolve() -> None:
        try:
            last = 0
            while not stop.is_set():
                answer = asyncio.run(result(resolver.resolve(C, repo="acme/app")))
                number = int(answer.tag[1:]) if answer.tag != "t1" else 0
                # The state is never older than the revision says. It may be newer by the changes that were applied meanwhile.
                assert answer.revision >= last
                assert answer.revision - 1 <= number <= sent
                last = answer.revision
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=resolve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 100):
        sent = n
        revision = await asyncio.to_thread(call, "SetOverride", component=C, repo="acme/app", tag=f"x{n}")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert await tag(resolver, min_revision=revision.revision) == "x99"


@pytest.mark.usefixtures("catches_up")
def test_an_asyncio_resolver_goes_on_in_another_event_loop(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    resolver = AsyncResolver(target)
    for n in range(3):
        assert asyncio.run(tag(resolver)) == ("t1" if not n else f"x{n - 1}")
        revision = call("SetOverride", component=C, repo="acme/app", tag=f"x{n}").revision
        assert asyncio.run(tag(resolver, min_revision=revision)) == f"x{n}"
    asyncio.run(resolver.close())


def test_callbacks_of_closed_event_loops_are_not_kept(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    resolver = AsyncResolver(target)
    changes: list[Change] = []

    async def listen() -> None:
        resolver.on_change(changes.append)
        assert await tag(resolver) in {"t1", "t2"}

    for _ in range(5):
        asyncio.run(listen())
    assert len(resolver._watching.local.callbacks) == 1

    async def hear() -> None:
        resolver.on_change(changes.append)
        call("Release", component=C, tag="t2", expedite=True)
        await until(lambda: changes)

    asyncio.run(hear())
    assert len(changes) == 1
    asyncio.run(resolver.close())


async def test_an_event_loop_goes_on_while_a_snapshot_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read(_path: Path) -> None:
        reading.set()
        assert go_on.wait(100)

    monkeypatch.setattr("rampd._watching.snapshot_file.read", read)
    resolver = AsyncResolver(NO_SERVER, snapshot_file=tmp_path / "rampd.snapshot", timeout=0.1)
    answers = [asyncio.create_task(tag(resolver, fallback="t0")) for _ in range(3)]
    await until(reading.is_set)  # this event loop goes on while the file is read
    go_on.set()
    assert [await answer for answer in answers] == ["t0"] * 3
    await resolver.close()


async def test_a_process_that_lost_its_server_does_not_overwrite_a_newer_snapshot_file(
    target: str, call: Stubs, face: Face, tmp_path: Path
) -> None:
    path = tmp_path / "rampd.snapshot"
    call("Release", component=C, tag="t1")
    call("Release", component=C, tag="t2")
    call("Ramp", component=C, percent=100)
    with proxy_to(target) as proxy:
        lost, living = face(f"127.0.0.1:{proxy.port}", snapshot_file=path), face(target, snapshot_file=path)
        assert await tag(lost) == await tag(living) == "t2"
        revision = call("SetOverride", component=C, repo="acme/other", tag="t1").revision
        assert await tag(lost, min_revision=revision) == "t2"  # the snapshot file does not have this revision yet
        proxy.close()
        revision = call("Rollback", component=C, quarantine=True).revision
        assert await tag(living, min_revision=revision) == "t1"
        await result(living.close())
        await result(lost.close())
    started = face(NO_SERVER, snapshot_file=path, timeout=0.1)
    assert await tag(started) == "t1"


async def test_a_first_resolve_during_a_close_leaves_nothing_open(target: str, call: Stubs, face: Face) -> None:
    before = watching_threads()
    call("Release", component=C, tag="t1")
    for _ in range(50):
        resolver = face.kind(target)
        begin = threading.Barrier(2)
        outcomes: list[object] = []

        def first(resolver: Any = resolver, begin: Any = begin, outcomes: Any = outcomes) -> None:
            begin.wait(60)
            try:
                outcomes.append(asyncio.run(tag(resolver)))
            except rampd.ClosedError:
                outcomes.append("closed")

        thread = threading.Thread(target=first)
        thread.start()
        begin.wait(60)
        await result(resolver.close())
        await asyncio.to_thread(thread.join, 60)
        assert outcomes in (["t1"], ["closed"])
        with pytest.raises(rampd.ClosedError):
            await tag(resolver)
    await until(lambda: not watching_threads() - before)


def test_a_resolve_that_has_begun_does_not_use_a_resolver_that_was_closed_meanwhile(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    resolver = Resolver(target)
    watching = resolver._watching
    watching.wait_for(watching.local.is_ready, watching.begin(60))
    has_state = watching.local.has_state
    closing = threading.Thread(target=resolver.close)

    def closed_meanwhile() -> bool:
        closing.start()
        # It would come to this at once, but waits for the end of `adopt`.
        with contextlib.suppress(AssertionError):
            eventually(lambda: watching._closed and watching.feed is NOTHING, 3)
        return has_state()

    watching.local.has_state = closed_meanwhile  # type: ignore[method-assign]
    watching.adopt()
    closing.join(60)
    assert watching.feed is NOTHING
    with pytest.raises(rampd.ClosedError):
        watching.adopt()
    assert watching.feed is NOTHING
    with pytest.raises(rampd.ClosedError):
        resolver.resolve(C, repo="acme/app")


def run(script: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_resolver_that_was_not_closed_ends_with_its_process(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    script = (
        "import sys, rampd; r = rampd.Resolver(sys.argv[1], timeout=50); print(r.resolve('restyler', repo='a/b').tag)"
    )
    assert run(script, target) == (0, "t1\n", "")


@pytest.mark.parametrize("kind", ["Resolver", "AsyncResolver"])
def test_a_program_that_has_set_up_no_logging_sees_no_output(kind: str, tmp_path: Path) -> None:
    script = """if True:
        import asyncio, inspect, sys, rampd
        async def main():
            resolver = getattr(rampd, sys.argv[1])(sys.argv[2], timeout=0.5, snapshot_file=sys.argv[3])
            answer = resolver.resolve("restyler", repo="a/b", fallback="f")
            answer = await answer if inspect.isawaitable(answer) else answer
            while not resolver.status().error:
                await asyncio.sleep(0.01)
            print(answer.reason, resolver.status().snapshot_file_error != "", resolver.status().error != "")
        asyncio.run(main())
    """
    assert run(script, kind, NO_SERVER, str(tmp_path)) == (0, "FALLBACK True True\n", "")


async def test_a_resolver_whose_server_is_full_tries_less_and_less_often_until_there_is_room(
    face: Face, store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "Streams", lambda: Streams(1))
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as target,
        stubs(target) as call,
    ):
        call("Release", component=C, tag="t1")
        other = resolver_service_pb2_grpc.ResolverServiceStub(call.channel).Watch(v1.WatchRequest(), timeout=120)
        assert next(other).state.first
        resolver = face(target)
        assert await tag(resolver, fallback="t0", timeout=0.5) == "t0"
        await until(lambda: "1 streams open" in resolver.status().error)
        await until(lambda: resolver._watching.local.feed.failures > 3)
        assert call("Resolve", component=C, repo="acme/app").tag == "t1"
        other.cancel()
        await until(lambda: resolver.status().connected)
        assert await tag(resolver) == "t1"
