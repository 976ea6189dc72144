"""gRPC's protocol over the fast listener, also as no client of gRPC speaks it."""

import asyncio
import gzip
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rampd import v1
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd_server import listeners, testing
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import Reason, RefusedError
from rampd_server.fast import held
from rampd_server.fast import server as fast_server
from rampd_server.fast.frames import framed
from rampd_server.process.startup import StartupError
from rampd_server.rpc import binding
from rampd_server.rpc.door import Door, local
from rampd_server.rpc.large import LARGE_BYTES
from tests.bench.http2 import GOAWAY, SETTINGS
from tests.fast import EMPTY, GET_ROLLOUT, RESOLVE, WATCH, Fast, fast, sent
from tests.ports import free_port
from tests.raw_calls import connection
from tests.servers import metadata_of, reason_of
from tests.waiting import PATIENCE_S, eventually_async

QUESTION = v1.ResolveRequest(job_id="four").SerializeToString()


@pytest.fixture
async def served() -> AsyncIterator[Fast]:
    async with fast() as found:
        yield found


async def resolved(channel: grpc.aio.Channel, request: bytes = QUESTION, **options: Any) -> str:
    answer = await channel.unary_unary(RESOLVE)(request, timeout=60, **options)
    return v1.ResolveResponse.FromString(answer).tag


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


# Calls


async def test_a_call_is_answered(served: Fast) -> None:
    async with served.channel() as channel:
        assert await resolved(channel) == "4"


async def test_three_thousand_calls_at_once_are_all_answered(served: Fast) -> None:
    async with served.channel() as channel:
        resolve = channel.unary_unary(RESOLVE)
        calls = [resolve(QUESTION, timeout=60) for _ in range(3000)]
        assert {await call.code() for call in calls} == {grpc.StatusCode.OK}


async def test_a_stream_gives_its_messages_and_ends(served: Fast) -> None:
    served.servicers.goes_on.set()
    async with served.channel() as channel:
        assert [each async for each in channel.unary_stream(WATCH)(b"", timeout=60)] == [b""]


class Refusing:
    """Resolve is refused at once, and Watch after a message."""

    async def resolve(self, _request: object, _call: object) -> bytes:
        raise RefusedError(Reason.TAG_MISMATCH, "next is „b“, not 100 % a.\nNew line.", expected="a", actual="b")

    async def watch(self, _request: object, _call: object) -> AsyncGenerator[bytes]:
        yield b""
        raise RefusedError(Reason.STORE_RESET, "The store was emptied.")


async def test_a_refusal_has_its_message_and_its_details() -> None:
    async with fast(servicers=Refusing()) as served, served.channel() as channel:
        error = await refusal(channel.unary_unary(RESOLVE)(b"", timeout=60))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "next is „b“, not 100 % a.\nNew line."
    assert (reason_of(error), metadata_of(error)) == ("TAG_MISMATCH", {"expected": "a", "actual": "b"})


async def test_a_refusal_in_the_middle_of_a_stream_comes_after_its_messages() -> None:
    async with fast(servicers=Refusing()) as served, served.channel() as channel:
        stream = channel.unary_stream(WATCH)(b"", timeout=60)
        assert await stream.read() == b""
        error = await refusal(stream.read())
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "STORE_RESET")


async def test_handlers_see_metadata_and_who_calls(served: Fast) -> None:
    metadata = (("x-rampd-actor", "ada"), ("blob-bin", b"\0\xff,"), ("x", "1"), ("x", "2"))
    async with served.channel() as channel:
        await resolved(channel, metadata=metadata)
    [call] = served.servicers.calls
    seen = [pair for pair in call.context.invocation_metadata() if pair[0] != "user-agent"]
    assert sorted(seen) == sorted(metadata)
    assert call.actor == "ada"
    assert call.context.peer().startswith("ipv4:127.0.0.1:")
    assert call.context.auth_context() == {}


async def test_a_call_knows_its_time(served: Fast) -> None:
    async with served.channel() as channel:
        await channel.unary_unary(RESOLVE)(QUESTION)
        await channel.unary_unary(RESOLVE)(QUESTION, timeout=60)
    without, within = served.servicers.calls
    assert without.timeout_s is None
    assert within.timeout_s == pytest.approx(60, abs=30)


# How a call ends


def begun(channel: grpc.aio.Channel, method: str) -> Any:
    """A call that goes on until the servicer lets it end."""
    return (channel.unary_stream if method == WATCH else channel.unary_unary)(method)(b"")


@pytest.mark.parametrize("method", [GET_ROLLOUT, WATCH])
async def test_a_call_ends_with_its_time_also_if_its_caller_waits_on(served: Fast, method: str) -> None:
    """Given a caller without a clock, expect that the server ends the handler and says so."""
    answered = await sent(f"http://{served.target}{method}", grpc_timeout="200m")
    assert answered.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert "is over" in answered.message
    async with asyncio.timeout(60):
        await served.servicers.ended.wait()


@pytest.mark.parametrize("method", [GET_ROLLOUT, WATCH])
async def test_a_call_ends_with_its_caller(served: Fast, method: str) -> None:
    async with served.channel() as channel:
        call = begun(channel, method)
        async with asyncio.timeout(60):
            await served.servicers.begun.wait()
            call.cancel()
            await served.servicers.ended.wait()
        assert await resolved(channel) == "4"


@pytest.mark.parametrize("method", [GET_ROLLOUT, WATCH])
async def test_a_call_ends_with_its_connection(served: Fast, method: str) -> None:
    channel = served.channel()
    call = begun(channel, method)
    async with asyncio.timeout(60):
        await served.servicers.begun.wait()
        await channel.close()
        await served.servicers.ended.wait()
    assert call.done()


async def test_calls_to_a_stopping_server_are_unavailable_and_the_message_says_what_to_do(served: Fast) -> None:
    """Given callers that call without a pause while the server stops, expect no other status."""
    errors: list[grpc.aio.AioRpcError] = []

    async def keep_calling(channel: grpc.aio.Channel) -> None:
        while True:
            try:
                await resolved(channel)
            except grpc.aio.AioRpcError as error:
                errors.append(error)
                return

    async with served.channel() as channel:
        callers = [asyncio.create_task(keep_calling(channel)) for _ in range(100)]
        await channel.channel_ready()
        await served.server.stop(5)
        await asyncio.gather(*callers)
    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}


@pytest.mark.parametrize("method", [GET_ROLLOUT, WATCH])
async def test_a_call_under_way_is_ended_after_the_grace_of_a_stopping_server(served: Fast, method: str) -> None:
    async with served.channel() as channel:
        call = begun(channel, method)
        async with asyncio.timeout(60):
            await served.servicers.begun.wait()
            if method == WATCH:
                # gRPC tells a caller of the end of a stream after its messages.
                assert await call.read() == b""
            await served.server.stop(0.2)
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert "stopped before the call was answered" in await call.details()
    assert served.servicers.ended.is_set()


async def test_a_call_under_way_has_the_grace_to_end_by_itself(served: Fast) -> None:
    async with served.channel() as channel:
        ending = asyncio.ensure_future(begun(channel, GET_ROLLOUT).code())
        async with asyncio.timeout(60):
            await served.servicers.begun.wait()
            stopping = asyncio.create_task(served.server.stop(60))
            await eventually_async(lambda: not served.server._sockets)
            served.servicers.goes_on.set()
            assert await ending is grpc.StatusCode.OK
            await stopping


async def test_a_connection_of_a_stopping_server_is_there_until_its_caller_has_read_where_to_go(
    served: Fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a caller that just sends its next calls, expect no error: gRPC would take it for the error of all calls of the connection."""
    monkeypatch.setattr(held, "LINGER_S", PATIENCE_S + 30)
    run = served.server._run
    assert run is not None
    async with connection(served) as raw:
        await raw.until(SETTINGS)
        stopping = asyncio.create_task(served.server.stop(5))
        await raw.until(GOAWAY)
        await eventually_async(lambda: run.has_ended)
        await raw.sends_on()
        assert not stopping.done()
    async with asyncio.timeout(PATIENCE_S):
        await stopping


async def test_a_stopping_server_refuses_connections_at_once(served: Fast) -> None:
    """Also while a call goes on: a caller must go to another server, and not wait."""
    async with served.channel() as channel:
        ending = asyncio.ensure_future(begun(channel, GET_ROLLOUT).code())
        async with asyncio.timeout(60):
            await served.servicers.begun.wait()
            stopping = asyncio.create_task(served.server.stop(60))

            async def is_refused() -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", served.address.port)
                except OSError:
                    return True
                writer.close()
                return False

            await eventually_async(is_refused)
            assert not stopping.done()
            served.servicers.goes_on.set()
            assert await ending is grpc.StatusCode.OK
            await stopping


async def test_h2corn_that_ends_by_itself_is_begun_again(served: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(fast_server._log, "error", lambda event, **_: logged.append(event), raising=False)
    run = served.server._run
    assert run is not None
    run._server.shutdown()
    await eventually_async(lambda: served.server._run is not run)
    async with served.channel() as channel:
        assert await resolved(channel, wait_for_ready=True) == "4"
    assert logged == ["fast_listener_ended"]


# What no client of gRPC sends


async def test_what_is_no_call_gets_a_status_of_http(served: Fast) -> None:
    url = f"http://{served.target}{RESOLVE}"
    assert (await sent(url, b"", content_type="application/json")).status == 415
    assert (await sent(url, b"", content_type="application/grpc-web")).status == 415
    refused = await sent(url, b"", "-X", "GET")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert served.servicers.calls == []


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"body": b"", "te": ""}, "INTERNAL", "te: trailers"),
        ({"body": b"", "grpc_timeout": "1"}, "INTERNAL", "grpc-timeout"),
        ({"body": b"", "grpc_timeout": "123456789S"}, "INTERNAL", "grpc-timeout"),
        ({"body": b"", "grpc_encoding": "snappy"}, "UNIMPLEMENTED", "'snappy'"),
        ({"body": b""}, "UNIMPLEMENTED", "no message"),
        ({"body": EMPTY + EMPTY}, "UNIMPLEMENTED", "several messages"),
        ({"body": framed(b"abc")[:-1]}, "INTERNAL", "cut off"),
        ({"body": b"hello"}, "INTERNAL", "five bytes before each"),
        ({"body": b"\1" + EMPTY[1:]}, "INTERNAL", "marked as compressed"),
        ({"body": b"\1" + framed(b"x")[1:], "grpc_encoding": "gzip"}, "INTERNAL", "not compressed with gzip"),
    ],
)
async def test_a_call_against_the_protocol_is_refused_and_counts(
    served: Fast, given: dict[str, Any], status: str, said: str
) -> None:
    body = given.pop("body", EMPTY)
    answered = await sent(f"http://{served.target}{RESOLVE}", body, **given)
    assert answered.status == 200
    assert answered.code == grpc.StatusCode[status].value[0]
    assert said in answered.message
    assert served.counted == [(RESOLVE, status, "")]
    assert served.servicers.calls == []


async def test_who_sends_an_unknown_compression_learns_which_ones_there_are(served: Fast) -> None:
    answered = await sent(f"http://{served.target}{RESOLVE}", b"", grpc_encoding="snappy")
    assert answered.headers["grpc-accept-encoding"] == "identity,gzip"


@pytest.mark.parametrize(
    "path",
    [
        "/rampd.v1.ResolverService/Nothing",
        "/",
        "/rampd.v1.ResolverService/Resolv%65",
        f"{RESOLVE}?a=1",
        f"/x/..{RESOLVE}",
    ],
)
async def test_a_method_that_there_is_not_is_unimplemented(served: Fast, path: str) -> None:
    """Another way to write a name is another name: what is in front of rampd may decide by the name."""
    answered = await sent(f"http://{served.target}{path}", b"")
    assert answered.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
    assert answered.message.startswith("There is no method /")
    assert served.servicers.calls == []


async def test_http_1_is_not_spoken(served: Fast) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.address.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with asyncio.timeout(60):
        assert not (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


# Messages


async def test_a_compressed_message_is_taken(served: Fast) -> None:
    async with served.channel(compression=grpc.Compression.Gzip) as channel:
        request = v1.ResolveRequest(job_id="x" * 5000).SerializeToString()
        assert await resolved(channel, request) == "5000"


async def test_a_compression_that_is_not_there_is_unimplemented(served: Fast) -> None:
    async with served.channel(compression=grpc.Compression.Deflate) as channel:
        request = v1.ResolveRequest(job_id="x" * 5000).SerializeToString()
        error = await refusal(channel.unary_unary(RESOLVE)(request, timeout=60))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_request_over_4_mib_is_refused_and_a_smaller_one_is_not(served: Fast) -> None:
    async with served.channel() as channel:
        request = v1.ResolveRequest(job_id="x" * (MAX_MESSAGE_BYTES - 100)).SerializeToString()
        assert await resolved(channel, request) == str(MAX_MESSAGE_BYTES - 100)
        error = await refusal(channel.unary_unary(RESOLVE)(request + bytes(100), timeout=60))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await resolved(channel) == "4"


async def test_a_message_that_grows_over_4_mib_is_refused(served: Fast) -> None:
    bomb = b"\1" + framed(gzip.compress(bytes(MAX_MESSAGE_BYTES + 1)))[1:]
    answered = await sent(f"http://{served.target}{RESOLVE}", bomb, grpc_encoding="gzip")
    assert answered.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


@pytest.mark.parametrize(
    ("method", "status"), [(RESOLVE, grpc.StatusCode.RESOURCE_EXHAUSTED), (WATCH, grpc.StatusCode.INTERNAL)]
)
async def test_an_answer_over_4_mib_is_refused(served: Fast, method: str, status: grpc.StatusCode) -> None:
    """A message of a stream that is too large is a defect: who writes a stream cuts it into pieces."""
    served.servicers.answer = bytes(MAX_MESSAGE_BYTES + 1)
    async with served.channel() as channel:
        assert await begun(channel, method).code() is status


async def test_an_answer_of_4_mib_arrives(served: Fast) -> None:
    served.servicers.answer = b"\x0a" + b"\xf0\xff\xff\x01" + b"a" * (MAX_MESSAGE_BYTES - 16)
    async with served.channel() as channel:
        assert len(await resolved(channel)) == MAX_MESSAGE_BYTES - 16


async def test_who_is_not_proven_sends_no_large_message() -> None:
    """Given a door that asks for credentials, expect the refusal before the message has come."""
    head = b"\0" + (LARGE_BYTES + 1).to_bytes(4, "big")
    async with fast(Door(None)) as served:
        answered = await sent(f"http://{served.target}{RESOLVE}", head + bytes(100))
        assert answered.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
        assert served.counted == [(RESOLVE, "UNAUTHENTICATED", "NO_CREDENTIALS")]
        # A smaller message is read first, and then the handler refuses.
        answered = await sent(f"http://{served.target}{RESOLVE}", b"\0\0\0\0\1x")
        assert answered.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


# Health and reflection


async def test_health_is_told_and_streamed(served: Fast) -> None:
    async with served.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == serving
        assert {each.status for each in (await stub.List(health_pb2.HealthListRequest())).statuses.values()} == {
            serving
        }
        watching = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == serving
        await served.server.set_health(resolves=True, writes=False)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watching.cancel()
        error = await refusal(stub.Check(health_pb2.HealthCheckRequest(service="nothing")))
        assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_answers_each_question_when_it_comes(served: Fast) -> None:
    async with served.channel() as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        for _ in range(3):
            await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            async with asyncio.timeout(60):
                answer = await stream.read()
            assert len(answer.list_services_response.service) == 5
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_without_reflection_there_is_none() -> None:
    async with fast(reflect=False) as served, served.channel() as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        assert await stream.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_defect_of_health_is_internal_and_the_log_has_it(served: Fast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also an OSError, which elsewhere means that the caller has gone."""

    class Broken:
        def get(self, *_: object) -> None:
            raise OSError("broken")

    logged: list[str] = []
    monkeypatch.setattr(binding._log, "error", lambda event, **_: logged.append(event), raising=False)
    monkeypatch.setattr(served.server._standard._health, "_server_status", Broken())
    async with served.channel() as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        error = await refusal(check(health_pb2.HealthCheckRequest(), timeout=60))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert logged == ["call_failed"]
    monkeypatch.undo()


# In a server


def test_without_h2corn_the_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch, directory: Any) -> None:
    monkeypatch.setitem(sys.modules, "h2corn", None)
    monkeypatch.delitem(sys.modules, "rampd_server.fast.server")
    with pytest.raises(StartupError, match=r"--fast-listen .* needs h2corn, .*pip install 'rampd\[server,fast\]'"):
        listeners._fast_server()


def test_the_same_calls_are_at_both_addresses(store_process: Any, namespace: str, directory: Any) -> None:
    settings = {"namespace": namespace, "fast_listen": "127.0.0.1:0"}
    with testing.listening(directory, store_process.url, **settings) as found:
        assert found.fast is not None
        assert found.fast.port != found.grpc.port
        with grpc.insecure_channel(str(found.grpc)) as one, grpc.insecure_channel(str(found.fast)) as other:
            release = one.unary_unary("/rampd.v1.ReleaseService/Release")
            release(v1.ReleaseRequest(component="restyler", tag="t1").SerializeToString(), timeout=60)
            get = other.unary_unary(GET_ROLLOUT, response_deserializer=v1.GetRolloutResponse.FromString)
            request = v1.GetRolloutRequest(component="restyler").SerializeToString()
            assert get(request, timeout=60).rollout.current.tag == "t1"
            server = other.unary_unary(
                "/rampd.v1.RolloutService/GetServer", response_deserializer=v1.GetServerResponse.FromString
            )(b"", timeout=60).server
    grpc_ones = [each.address for each in server.listeners if each.protocol == "grpc"]
    assert {str(found.grpc), str(found.fast)} < set(grpc_ones)


def test_a_start_that_fails_elsewhere_leaves_no_address_open(
    store_process: Any, namespace: str, directory: Path
) -> None:
    port = free_port()
    settings = {"namespace": namespace, "fast_listen": f"127.0.0.1:{port}", "launcher_socket": directory / ("x" * 120)}
    with (
        pytest.raises(StartupError) as caught,
        testing.listening(directory, store_process.url, **settings),
    ):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert "--launcher-socket" in str(caught.value)


def test_the_door_of_the_fast_listener_is_that_of_the_other_addresses(
    store_process: Any, namespace: str, directory: Any
) -> None:
    settings = {"namespace": namespace, "fast_listen": "127.0.0.1:0", "insecure_admin": False}
    request = v1.ReleaseRequest(component="restyler", tag="t1").SerializeToString()
    with (
        testing.listening(directory, store_process.url, **settings) as found,
        grpc.insecure_channel(str(found.fast)) as channel,
    ):
        release = channel.unary_unary("/rampd.v1.ReleaseService/Release")
        with pytest.raises(grpc.RpcError) as caught:
            release(request, timeout=60)
    assert reason_of(caught.value) == "ROLE_REQUIRED"


async def test_a_refused_role_is_refused_here_too() -> None:
    async with fast(Door(local(Role.LAUNCHER))) as served, served.channel() as channel:
        error = await refusal(channel.unary_unary("/rampd.v1.RolloutService/Ramp")(b"", timeout=60))
    assert reason_of(error) == "ROLE_REQUIRED"


async def test_h2corn_tells_systemd_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a unit of the type notify, expect no STOPPING=1: systemd ends such a unit, and a run of h2corn ends at each renewal."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(directory / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
        async with fast():
            pass
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


async def test_h2corn_says_nothing_on_standard_error(served: Fast, capfd: pytest.CaptureFixture[str]) -> None:
    async with fast() as other:
        assert (await sent(f"http://{other.target}{RESOLVE}")).code == 0
    assert capfd.readouterr().err == ""


def test_a_call_that_nobody_reads_does_not_hold_a_server_that_ends() -> None:
    """The time of h2corn's end is bounded, and an orderly end of rampd fits into it."""
    assert fast_server.DRAIN_S <= 10
    assert 0 < fast_server._BEFORE_DRAIN_S < fast_server.DRAIN_S
