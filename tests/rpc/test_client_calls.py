"""How the blocking and the asyncio client make a call: deadlines, retries, errors, closing. The server is scripted."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest

import rampd
from rampd import Admin, AsyncAdmin, AsyncResolver, Channel, Job, Resolver, ResolveReason, v1
from rampd._calls.timeout import RESOLVE_TIMEOUT_S
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status
from tests.servers import short_directory

RESPONSE = v1.ResolveResponse(
    tag="20200409",
    channel=v1.CHANNEL_NEXT,
    reason=v1.RESOLVE_REASON_WEIGHT,
    release=2,
    attributes={"commit": "1a"},
    bucket=0,
    revision=9,
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        yield script


@dataclass(frozen=True)
class Face:
    """One face of the client: blocking or asyncio."""

    resolver: Any
    admin: Any


@pytest.fixture(params=[Face(Resolver, Admin), Face(AsyncResolver, AsyncAdmin)], ids=["blocking", "asyncio"])
def face(request: pytest.FixtureRequest) -> Face:
    """Runs a test with each of the two faces."""
    made: Face = request.param
    return made


async def result(value: Any) -> Any:
    """Returns the result of a call of either face. A list or a stream is read to its end."""
    if inspect.isawaitable(value):
        return await value
    if hasattr(value, "__anext__"):
        return [item async for item in value]
    return list(value) if hasattr(value, "__next__") else value


async def error_of(call: Callable[[], Any]) -> Any:
    """Returns the error of a call. It may be raised when the call is made or when it is awaited."""
    with pytest.raises(rampd.RampdError) as caught:
        await result(call())
    return caught.value


async def test_an_answer_has_all_that_the_server_said(server: ScriptedServer, face: Face) -> None:
    server.answers["Resolve"] = [RESPONSE]
    resolver = face.resolver(server.target, mode="rpc")
    answer = await result(resolver.resolve("restyler", repo="acme/app", job_id="42", min_revision=7))
    assert (answer.tag, answer.channel, answer.reason) == ("20200409", Channel.NEXT, ResolveReason.WEIGHT)
    assert (answer.release, answer.attributes, answer.bucket, answer.revision) == (2, {"commit": "1a"}, 0, 9)
    assert (answer.stale, answer.snapshot_age) == (False, timedelta(0))
    [request] = server.requests("Resolve")
    assert request == v1.ResolveRequest(component="restyler", repo="acme/app", job_id="42", min_revision=7)
    await result(resolver.close())


async def test_a_stale_answer_without_a_channel_or_a_bucket_says_so(server: ScriptedServer, face: Face) -> None:
    old = v1.ResolveResponse(tag="x", reason=v1.RESOLVE_REASON_OVERRIDE_TAG, stale=True)
    old.snapshot_age.FromMilliseconds(7250)
    server.answers["Resolve"] = [old]
    resolver = face.resolver(server.target, mode="rpc")
    answer = await result(resolver.resolve("restyler", repo="acme/app"))
    assert (answer.channel, answer.bucket, answer.stale, answer.snapshot_age_s) == (None, None, True, 7.25)
    await result(resolver.close())


async def test_an_unknown_reason_of_a_later_version_is_not_taken_for_a_weight(
    server: ScriptedServer, face: Face
) -> None:
    server.answers["Resolve"] = [
        v1.ResolveResponse(tag="x", reason=99),
        v1.ResolveResponse(tag="x", reason=99, channel=1),
    ]  # type: ignore[arg-type]
    resolver = face.resolver(server.target, mode="rpc")
    assert (await result(resolver.resolve("a", repo="b"))).reason is ResolveReason.OVERRIDE_TAG
    assert (await result(resolver.resolve("a", repo="b"))).reason is ResolveReason.OVERRIDE_CHANNEL
    await result(resolver.close())


async def test_an_answer_without_a_tag_is_an_internal_error(server: ScriptedServer, face: Face) -> None:
    resolver = face.resolver(server.target, mode="rpc")
    assert type(await error_of(lambda: resolver.resolve("a", repo="b"))) is rampd.InternalError
    await result(resolver.close())


async def test_a_batch_gives_each_job_its_answer_or_its_error(server: ScriptedServer, face: Face) -> None:
    bare = v1.ResolveResponse(tag="20200409", release=2, reason=v1.RESOLVE_REASON_STEADY)
    missing = status(grpc.StatusCode.NOT_FOUND, "COMPONENT_NOT_FOUND", "no nope", component="nope")
    server.answers["BatchResolve"] = [
        v1.BatchResolveResponse(
            results=[
                v1.ResolveResult(response=bare),
                v1.ResolveResult(status=missing),
                v1.ResolveResult(response=bare),
            ],
            release_attributes=[v1.ReleaseAttributes(component="restyler", release=2, attributes={"commit": "1a"})],
        )
    ]
    resolver = face.resolver(server.target, mode="rpc")
    first, error, other = await result(
        resolver.resolve_batch([Job("restyler", "a/b"), ("nope", "a/b"), ("runner", "a/b", "42")])
    )
    assert (first.tag, first.attributes) == ("20200409", {"commit": "1a"})
    assert (type(error), error.reason, error.metadata) == (
        rampd.NotFoundError,
        "COMPONENT_NOT_FOUND",
        {"component": "nope"},
    )
    assert other.attributes == {}
    await result(resolver.close())


async def test_a_batch_answer_with_too_few_results_is_an_internal_error(server: ScriptedServer, face: Face) -> None:
    resolver = face.resolver(server.target, mode="rpc")
    assert type(await error_of(lambda: resolver.resolve_batch([("a", "b")]))) is rampd.InternalError
    await result(resolver.close())


async def test_bad_input_never_leaves_the_process(server: ScriptedServer, face: Face) -> None:
    resolver, admin = face.resolver(server.target, mode="rpc"), face.admin(server.target)
    for hostile in ("", "\0", "\ud800", "x" * 1_000_000, None, 7, b"a"):
        error = await error_of(lambda hostile=hostile: resolver.resolve("restyler", repo=hostile))
        assert isinstance(error, rampd.InvalidArgumentError)
        assert [field for field, _ in error.violations] == ["repo"]
        with pytest.raises(rampd.InvalidArgumentError):
            await result(admin.ramp(hostile, 10))
        with pytest.raises(rampd.InvalidArgumentError):
            await result(admin.list_releases(hostile))
    assert server.asked == []


async def test_every_call_has_a_deadline(server: ScriptedServer, face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given longer defaults, which a busy machine can keep, expect that each call has its time."""
    monkeypatch.setitem(RESOLVE_TIMEOUT_S, "rpc", 100)  # type: ignore[arg-type]  # it is a dict
    monkeypatch.setitem(face.admin.__init__.__kwdefaults__, "timeout", 200)
    monkeypatch.setattr("rampd._calls.timeout.CATCH_UP_S", 50)
    server.answers["Resolve"] = [RESPONSE]
    resolver, admin = face.resolver(server.target, mode="rpc"), face.admin(server.target)
    await result(resolver.resolve("a", repo="b"))
    await result(resolver.resolve("a", repo="b", min_revision=3))
    await result(resolver.resolve("a", repo="b", timeout=250))
    await result(admin.ramp("a", 10))
    await result(admin.get_rollout("a", timeout=300))
    for asked, limit_s in zip(server.asked, [100, 150, 250, 200, 300], strict=True):
        # gRPC rounds the remaining time up.
        assert limit_s - 40 < asked.left_s < limit_s + 5
    await result(resolver.close())
    await result(admin.close())


def test_the_default_time_outs_are_as_they_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert RESOLVE_TIMEOUT_S == {"local": 5, "rpc": 1}
    assert [face.__init__.__kwdefaults__["timeout"] for face in (Admin, AsyncAdmin)] == [5, 5]  # type: ignore[misc]


async def test_a_server_that_does_not_answer_costs_no_more_than_the_deadline(
    server: ScriptedServer, face: Face
) -> None:
    server.answers["Resolve"] = [server.hang]
    resolver = face.resolver(server.target, timeout=0.2, mode="rpc")
    error = await error_of(lambda: resolver.resolve("a", repo="b"))
    assert isinstance(error, rampd.DeadlineExceededError)
    assert error.message == f"{server.target} has not answered Resolve in time (0.2 s)."
    assert error.retryable
    assert isinstance(error.__cause__, grpc.RpcError)
    await result(resolver.close())


async def test_a_missing_server_is_unavailable(face: Face) -> None:
    with short_directory() as directory:
        resolver = face.resolver(f"unix:{directory}/nobody", mode="rpc")
        error = await error_of(lambda: resolver.resolve("a", repo="b", timeout=20))
        assert isinstance(error, rampd.UnavailableError)
        assert (error.reason, error.retryable) == ("UNAVAILABLE", True)
        assert f"{directory}/nobody" in error.message
        await result(resolver.close())


async def test_an_unavailable_call_is_tried_again_with_the_same_request_id(server: ScriptedServer, face: Face) -> None:
    away = status(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    server.answers["Ramp"] = [grpc.StatusCode.UNAVAILABLE, away, v1.RampResponse(message="done")]
    admin = face.admin(server.target, timeout=30)
    assert (await result(admin.ramp("restyler", 10))).message == "done"
    requests = server.requests("Ramp")
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    await result(admin.close())


async def test_a_call_that_the_server_cancels_is_tried_again_with_the_same_request_id(
    server: ScriptedServer, face: Face
) -> None:
    server.answers["Ramp"] = [grpc.StatusCode.CANCELLED, v1.RampResponse(message="done")]
    admin = face.admin(server.target, timeout=30)
    assert (await result(admin.ramp("restyler", 10))).message == "done"
    assert len({request.request_id for request in server.requests("Ramp")}) == 1
    await result(admin.close())


async def test_a_stream_that_the_server_cancels_is_opened_again(server: ScriptedServer, face: Face) -> None:
    done = v1.WatchReleaseResponse(release=v1.Release(number=2, state=v1.RELEASE_STATE_CURRENT))
    server.answers["WatchRelease"] = [*[grpc.StatusCode.CANCELLED] * 6, done]
    admin = face.admin(server.target, timeout=30)
    assert (await result(admin.wait_for_release("restyler", 2, timeout=60))).number == 2
    await result(admin.close())


async def test_a_feed_that_the_server_cancels_is_opened_again(server: ScriptedServer, face: Face) -> None:
    server.answers["Watch"] = [grpc.StatusCode.CANCELLED]
    resolver = face.resolver(server.target)
    with pytest.raises(rampd.NoVersionError):
        await result(resolver.resolve("restyler", repo="a", timeout=0.1))

    def is_back() -> bool:
        end = time.monotonic() + 60
        while len(server.requests("Watch")) < 6 and time.monotonic() < end:
            time.sleep(0.01)
        return len(server.requests("Watch")) >= 6

    assert await asyncio.to_thread(is_back)
    await result(resolver.close())


async def test_a_call_that_stays_unavailable_is_given_up_with_its_reason(server: ScriptedServer, face: Face) -> None:
    server.answers["Ramp"] = [status(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "the store is away")]
    admin = face.admin(server.target, timeout=30)
    error = await error_of(lambda: admin.ramp("restyler", 10))
    assert (type(error), error.reason, error.message) == (
        rampd.UnavailableError,
        "STORE_UNAVAILABLE",
        "the store is away",
    )
    assert 1 < len(server.requests("Ramp")) <= 4
    await result(admin.close())


async def test_contention_is_tried_again_with_the_same_request_id(server: ScriptedServer, face: Face) -> None:
    busy = status(grpc.StatusCode.ABORTED, "CONTENTION")
    server.answers["Finalize"] = [busy, busy, busy, v1.FinalizeResponse(message="done")]
    admin = face.admin(server.target, timeout=30)
    assert (await result(admin.finalize("restyler"))).message == "done"
    requests = server.requests("Finalize")
    assert len(requests) == 4
    assert len({request.request_id for request in requests}) == 1
    await result(admin.close())


async def test_contention_is_given_up_at_the_deadline(server: ScriptedServer, face: Face) -> None:
    server.answers["Finalize"] = [status(grpc.StatusCode.ABORTED, "CONTENTION", "too busy")]
    admin = face.admin(server.target, timeout=5)
    error = await error_of(lambda: admin.finalize("restyler"))
    assert (error.reason, error.retryable) in {("CONTENTION", True), ("DEADLINE_EXCEEDED", True)}
    assert len(server.requests("Finalize")) > 1
    await result(admin.close())


@pytest.mark.parametrize("reason", ["REVISION_MISMATCH", "TAG_MISMATCH"])
async def test_a_refusal_is_not_tried_again(server: ScriptedServer, face: Face, reason: str) -> None:
    server.answers["Ramp"] = [status(grpc.StatusCode.ABORTED, reason, expected="1", actual="2")]
    admin = face.admin(server.target)
    error = await error_of(lambda: admin.ramp("restyler", 10))
    assert (error.reason, error.metadata) == (reason, {"expected": "1", "actual": "2"})
    assert len(server.requests("Ramp")) == 1
    await result(admin.close())


async def test_a_refusal_lists_every_wrong_field(server: ScriptedServer, face: Face) -> None:
    wrong = [("component", "is odd"), ("percent", "is too much")]
    server.answers["Ramp"] = [status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", violations=wrong)]
    admin = face.admin(server.target)
    error = await error_of(lambda: admin.ramp("restyler", 10))
    assert isinstance(error, rampd.InvalidArgumentError)
    assert error.violations == tuple(wrong)
    await result(admin.close())


async def test_each_change_has_a_new_request_id_or_the_id_of_the_caller(server: ScriptedServer, face: Face) -> None:
    admin = face.admin(server.target)
    await result(admin.pause("restyler"))
    await result(admin.pause("restyler"))
    await result(admin.pause("restyler", request_id="mine"))
    first, second, third = [request.request_id for request in server.requests("Pause")]
    assert len({first, second, ""}) == 3
    assert third == "mine"
    await result(admin.close())


async def test_every_call_names_its_actor_if_there_is_one(server: ScriptedServer, face: Face) -> None:
    for actor in ("deploy bot", ""):
        admin = face.admin(server.target, actor=actor)
        await result(admin.pause("restyler"))
        await result(admin.close())
    named, nameless = server.asked
    assert named.metadata["x-rampd-actor"] == "deploy bot"
    assert "x-rampd-actor" not in nameless.metadata


async def test_a_list_fetches_its_pages_while_it_is_read(server: ScriptedServer, face: Face) -> None:
    pages = [(["a", "b"], "b"), ([], "c"), (["d"], "")]
    server.answers["ListOverrides"] = [
        v1.ListOverridesResponse(overrides=[v1.Override(repo=repo) for repo in repos], next_page_token=token)
        for repos, token in pages
    ]
    admin = face.admin(server.target)
    overrides = admin.list_overrides("restyler", prefix="x/", page_size=2)
    assert server.asked == []
    assert [override.repo for override in await result(overrides)] == ["a", "b", "d"]
    requests = server.requests("ListOverrides")
    assert [request.page_token for request in requests] == ["", "b", "c"]
    assert {(request.component, request.prefix, request.page_size) for request in requests} == {("restyler", "x/", 2)}
    await result(admin.close())


async def test_a_stream_gives_its_messages_and_its_error(server: ScriptedServer, face: Face) -> None:
    server.answers["WatchRelease"] = [
        v1.WatchReleaseResponse(message="queued"),
        status(grpc.StatusCode.NOT_FOUND, "RELEASE_NOT_FOUND"),
    ]
    admin = face.admin(server.target)
    assert [response.message for response in await result(admin.watch_release("restyler", 3))] == ["queued"]
    assert server.requests("WatchRelease") == [v1.WatchReleaseRequest(component="restyler", release=3, until_held=True)]
    assert (await error_of(lambda: admin.watch_release("restyler", 3))).reason == "RELEASE_NOT_FOUND"
    await result(admin.close())


async def test_a_closed_client_says_so_and_can_be_closed_again(server: ScriptedServer, face: Face) -> None:
    server.answers["Resolve"] = [RESPONSE]
    unused, used, admin = (
        face.resolver(server.target, mode="rpc"),
        face.resolver(server.target, mode="rpc"),
        face.admin(server.target),
    )
    await result(used.resolve("a", repo="b"))
    for closing in (unused, used, admin, unused, used, admin):
        await result(closing.close())
    for resolver in (unused, used):
        error = await error_of(lambda resolver=resolver: resolver.resolve("a", repo="b"))
        assert isinstance(error, rampd.ClosedError)
        assert error.message == f"The connection to {server.target} was closed: make a new one."
    assert isinstance(await error_of(lambda: admin.watch_release("a", 1)), rampd.ClosedError)
    assert len(server.asked) == 1


async def test_a_unix_socket_is_a_target_in_either_spelling(face: Face) -> None:
    with short_directory() as directory, scripted_server(f"unix:{directory}/socket") as server:
        server.answers["Resolve"] = [RESPONSE]
        for target in (f"unix:{directory}/socket", f"unix://{directory}/socket"):
            resolver = face.resolver(target, mode="rpc")
            assert (await result(resolver.resolve("a", repo="b"))).tag == "20200409"
            await result(resolver.close())


async def test_a_proxy_of_the_environment_is_not_used(
    server: ScriptedServer, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    server.answers["Resolve"] = [RESPONSE]
    resolver = face.resolver(server.target, mode="rpc")
    assert (await result(resolver.resolve("a", repo="b"))).tag == "20200409"
    await result(resolver.close())


def test_a_call_under_way_ends_when_its_connection_is_closed(server: ScriptedServer) -> None:
    begun = threading.Event()

    def hang(request: Any, context: grpc.ServicerContext) -> Any:
        begun.set()
        return server.hang(request, context)

    server.answers["Ramp"] = [hang]
    admin = Admin(server.target, timeout=60)
    closing = threading.Thread(target=lambda: (begun.wait(20), admin.close()))
    closing.start()
    with pytest.raises(rampd.ClosedError):
        admin.ramp("restyler", 10)
    closing.join()


def test_a_connection_is_closed_in_which_a_signal_has_ended_the_start_of_a_call(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a call that gRPC has opened and that no thread reads, because a Ctrl-C came in between, expect that nobody waits for its end."""

    def interrupted(_state: Any) -> None:
        raise KeyboardInterrupt

    server.answers["WatchRelease"] = [server.hang]
    admin = Admin(server.target)
    with monkeypatch.context() as patched:
        patched.setattr("grpc._channel._run_channel_spin_thread", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(admin.follow_release("restyler", 1))
    closing = threading.Thread(target=admin.close, daemon=True)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()


async def test_a_call_under_way_ends_when_its_asyncio_connection_is_closed(server: ScriptedServer) -> None:
    server.answers["Ramp"] = [server.hang]
    admin = AsyncAdmin(server.target, timeout=60)
    call = asyncio.create_task(admin.ramp("restyler", 10))
    await until(lambda: server.requests("Ramp"))
    await admin.close()
    with pytest.raises(rampd.ClosedError):
        await call


async def test_a_cancelled_task_ends_at_once_and_closing_ends_its_call(server: ScriptedServer) -> None:
    gone = threading.Event()

    def hang(_request: Any, context: grpc.ServicerContext) -> Any:
        context.add_callback(gone.set)
        return server.hang(_request, context)

    server.answers["Ramp"] = [hang]
    async with AsyncAdmin(server.target, timeout=60) as admin:
        call = asyncio.create_task(admin.ramp("restyler", 10))
        await until(lambda: server.requests("Ramp"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not gone.is_set()
    await until(gone.is_set)


async def until(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def test_an_asyncio_resolver_works_in_several_event_loops(server: ScriptedServer) -> None:
    server.answers["Resolve"] = [RESPONSE]
    resolver = AsyncResolver(server.target, mode="rpc")

    async def resolve() -> str:
        return (await resolver.resolve("a", repo="b")).tag

    assert [asyncio.run(resolve()) for _ in range(3)] == ["20200409"] * 3
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(resolve()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["20200409"] * 3
    asyncio.run(resolver.close())


def test_one_resolver_serves_many_threads(server: ScriptedServer) -> None:
    server.answers["Resolve"] = [RESPONSE]
    with Resolver(server.target, mode="rpc", timeout=30) as resolver:
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.extend(resolver.resolve("a", repo="b").tag for _ in range(20)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["20200409"] * 160
