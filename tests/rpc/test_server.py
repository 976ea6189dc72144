"""Ports, health and reflection of the gRPC server."""

import asyncio
import contextlib
import json
import os
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rampd import v1
from rampd._contract.grammar import MAX_MESSAGE_BYTES
from rampd.v1 import resolver_service_pb2_grpc
from rampd_server.access.rpc_roles import Role
from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError
from rampd_server.rpc import server as server_module
from rampd_server.rpc.binding import bind
from rampd_server.rpc.door import Door, local
from rampd_server.rpc.server import MAX_CALLS_OF_A_CONNECTION, Server
from rampd_server.rpc.streams import Streams
from tests.authority import Authority
from tests.servers import require

ROOT = Path(__file__).parents[2]
ANY_PORT = Address("127.0.0.1", 0)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SETTINGS, _MAX_CONCURRENT_STREAMS = 4, 3
"""A frame type and the id of a setting in HTTP/2."""
NAMES = ["", "rampd.v1.ResolverService", "rampd.v1.ReleaseService", "rampd.v1.RolloutService", "rampd.v1.components"]


class Resolver:
    async def resolve(self, request, call):
        return v1.ResolveResponse(tag=f"{len(request.job_id)}", snapshot_age=Duration(seconds=2))


@pytest.fixture
async def make_server():
    made = []

    def make(**options) -> Server:
        handler = bind({"ResolverService": Resolver()}, violations=lambda _: [], door=Door(local(Role.VIEWER)))
        made.append(Server(handler, **options))
        return made[-1]

    yield make
    for server in made:
        await server.stop(0)


@contextlib.asynccontextmanager
async def channel_to(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    """Starts a server, and opens a channel to it."""
    target = str(server.listen(ANY_PORT))
    await server.start()
    async with grpc.aio.insecure_channel(target) as channel:
        yield channel


async def statuses(target: str) -> list[int]:
    """Returns the health of each of `NAMES`."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return [(await stub.Check(health_pb2.HealthCheckRequest(service=name))).status for name in NAMES]


async def test_the_resolver_has_its_own_health(make_server):
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    assert await statuses(target) == [NOT_SERVING] * 5
    await server.set_health(resolves=True, writes=True)
    assert await statuses(target) == [SERVING] * 5
    await server.set_health(resolves=True, writes=False)
    assert await statuses(target) == [NOT_SERVING, SERVING, NOT_SERVING, NOT_SERVING, SERVING]
    await server.set_health(resolves=True, writes=True, damaged=True)
    assert await statuses(target) == [SERVING, SERVING, SERVING, SERVING, NOT_SERVING]
    await server.set_health(resolves=True, writes=True)
    assert await statuses(target) == [SERVING] * 5


@pytest.mark.parametrize(("size", "is_taken"), [(12_000, True), (18_000, False)])
async def test_a_call_has_a_bounded_size_of_headers(make_server, size: int, is_taken: bool):
    """Always the same bound: gRPC's own limit refuses some calls above 8 KiB, at random."""
    async with channel_to(make_server()) as channel:
        resolve = resolver_service_pb2_grpc.ResolverServiceStub(channel).Resolve
        for _ in range(20):
            try:
                await resolve(v1.ResolveRequest(component="c", repo="a/b"), metadata=[("x", "x" * size)], timeout=60)
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code = error.code()
            assert code is (grpc.StatusCode.OK if is_taken else grpc.StatusCode.RESOURCE_EXHAUSTED)


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
async def test_a_connection_that_says_nothing_is_closed(make_server, monkeypatch, tmp_path, is_secure: bool):
    """Each connection is an open file of the server."""
    monkeypatch.setattr(
        "rampd_server.rpc.server._OPTIONS",
        [(key, 3000 if key == "grpc.server_handshake_timeout_ms" else value) for key, value in server_module._OPTIONS],
    )
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "server")
    pair = [(key.read_bytes(), certificate.read_bytes())]
    server = make_server()
    address = server.listen(ANY_PORT, grpc.ssl_server_credentials(pair) if is_secure else None)
    await server.start()
    target = f"127.0.0.1:{address.port}"
    trusted = grpc.ssl_channel_credentials(authority.write(tmp_path).read_bytes())
    channel = grpc.aio.secure_channel(target, trusted) if is_secure else grpc.aio.insecure_channel(target)
    async with channel:
        resolve = resolver_service_pb2_grpc.ResolverServiceStub(channel).Resolve
        # On a busy machine a handshake may take too long. Then gRPC begins another one.
        await resolve(v1.ResolveRequest(component="c", repo="a/b"), timeout=60, wait_for_ready=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        async with asyncio.timeout(60):
            await reader.read()  # to the end of the connection
        writer.close()
        assert channel.get_state() is grpc.ChannelConnectivity.READY, "a finished connection stays"


async def test_streams_of_health_take_no_place_of_other_streams(make_server, monkeypatch):
    """Nobody has to prove anything for them, so all of them together must not keep a launcher out."""
    monkeypatch.setattr("rampd_server.rpc.standard.MAX_HEALTH_STREAMS", 3)
    server = make_server()
    async with channel_to(server) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        opened = [watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        for stream in opened:
            assert (await stream.read()).status == NOT_SERVING
        assert server._handlers.streams._open == 0
        with pytest.raises(grpc.RpcError, match="its limit"):
            await watch(health_pb2.HealthCheckRequest()).read()
        for stream in opened:
            stream.cancel()


async def test_streams_of_reflection_have_a_limit_of_their_own(make_server, monkeypatch):
    """Given streams that ask nothing more, expect that another one is refused, and that one that ends makes room."""
    monkeypatch.setattr("rampd_server.rpc.standard.MAX_REFLECTION_STREAMS", 3)
    server = make_server()
    async with channel_to(server) as channel:

        async def opened():
            stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
            await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            return stream, len((await stream.read()).list_services_response.service)

        streams = [await opened() for _ in range(3)]
        assert [services for _, services in streams] == [5, 5, 5]
        assert server._handlers.streams._open == 0
        with pytest.raises(grpc.RpcError, match="its limit"):
            # It asks nothing: a question that is sent after the refusal ends in another error of grpcio.
            await reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo().read()
        await streams[0][0].done_writing()
        assert await streams[0][0].read() is grpc.aio.EOF
        assert (await opened())[1] == 5
        for stream, _ in streams:
            stream.cancel()


async def test_who_is_not_proven_takes_no_place_of_a_stream():
    handlers = bind({}, violations=lambda _: [], door=Door(None), streams=Streams(0))
    server = Server(handlers)
    async with channel_to(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await resolver_service_pb2_grpc.ResolverServiceStub(channel).Watch(v1.WatchRequest()).read()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await server.stop(0)


async def test_health_can_be_listed(make_server, caplog):
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for writes in (False, True):
            await server.set_health(resolves=True, writes=writes)
            listed = (await stub.List(health_pb2.HealthListRequest())).statuses
            assert {name: each.status for name, each in listed.items()} == dict(
                zip(NAMES, await statuses(target), strict=True)
            )
    assert not caplog.records


async def test_every_change_of_health_is_streamed_and_a_server_reports_not_serving_before_it_stops(make_server):
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    await server.set_health(resolves=True, writes=True)
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        whole, resolver = (stub.Watch(health_pb2.HealthCheckRequest(service=name)) for name in NAMES[:2])
        assert (await whole.read()).status == (await resolver.read()).status == SERVING
        for writes, expected in ((False, NOT_SERVING), (True, SERVING)):
            await server.set_health(resolves=True, writes=writes)
            assert (await whole.read()).status == expected
        await server.stop(0.5)
        assert (await whole.read()).status == NOT_SERVING
        # The health of the resolver did not change before.
        assert (await resolver.read()).status == NOT_SERVING
        await server.set_health(resolves=True, writes=True)


async def test_listening_on_port_0_returns_the_chosen_port(make_server):
    assert make_server().listen(ANY_PORT).port > 0


async def test_a_second_server_on_a_port_gets_an_error_that_the_port_is_taken(make_server):
    taken = make_server().listen(ANY_PORT)
    with pytest.raises(StartupError, match=rf"{taken}: Address already in use.*--listen"):
        make_server().listen(taken)


async def test_the_unix_socket_is_open_to_its_owner_only(make_server, tmp_path):
    path = tmp_path / "run" / "s.sock"
    make_server().listen_unix(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_binding_a_socket_does_not_change_the_umask(make_server, tmp_path):
    before = os.umask(0o027)
    try:
        make_server().listen_unix(tmp_path / "s.sock")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


async def test_a_second_server_does_not_take_the_socket_of_a_running_server(make_server, tmp_path):
    path = tmp_path / "s.sock"
    first = make_server()
    first.listen_unix(path)
    await first.start()
    await first.set_health(resolves=True, writes=True)
    with pytest.raises(StartupError, match=r"A server listens on .*--socket"):
        make_server().listen_unix(path)
    assert await statuses(f"unix:{path}") == [SERVING] * 5


async def test_the_socket_of_a_dead_server_is_replaced(make_server, tmp_path):
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    server = make_server()
    server.listen_unix(path)
    await server.start()
    assert await statuses(f"unix:{path}") == [NOT_SERVING] * len(NAMES)


async def test_a_file_that_is_not_a_socket_is_not_deleted(make_server, tmp_path):
    path = tmp_path / "s.sock"
    path.write_text("mine")
    with pytest.raises(StartupError, match=r"is not a socket"):
        make_server().listen_unix(path)
    assert path.read_text() == "mine"


async def test_a_socket_path_that_is_too_long_is_reported_in_a_sentence(make_server, tmp_path):
    with pytest.raises(StartupError, match=r"too long .*--socket"):
        make_server().listen_unix(tmp_path / ("x" * 101))


async def test_a_directory_that_can_not_be_made_is_reported_in_a_sentence(make_server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"Can't listen on the unix socket .*Not a directory"):
        make_server().listen_unix(tmp_path / "file" / "run" / "s.sock")


async def test_a_server_that_stops_removes_its_socket(make_server, tmp_path):
    path = tmp_path / "s.sock"
    server = make_server()
    server.listen_unix(path)
    await server.start()
    await server.stop(0)
    assert not path.exists()


async def test_a_request_over_4_mib_is_refused_and_a_smaller_one_is_not(make_server):
    async with channel_to(make_server()) as channel:
        resolve = channel.unary_unary("/rampd.v1.ResolverService/Resolve")
        request = v1.ResolveRequest(job_id="x" * (MAX_MESSAGE_BYTES - 100))
        answer = v1.ResolveResponse.FromString(await resolve(request.SerializeToString()))
        assert answer.tag == str(MAX_MESSAGE_BYTES - 100)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await resolve(request.SerializeToString() + bytes(100))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def listed(channel: grpc.aio.Channel) -> set[str]:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await stream.done_writing()
    return {service.name for service in (await stream.read()).list_services_response.service}


async def test_reflection_names_the_services(make_server):
    async with channel_to(make_server()) as channel:
        assert {name for name in NAMES if name.endswith("Service")} < await listed(channel)


async def grpcurl(*words: str) -> str:
    require("grpcurl")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("grpcurl", "-plaintext", *words, stdout=pipe, stderr=pipe)
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("rampd.v1.RolloutService.Ramp", ["is a method", "// Sets next's percent, up or down"]),
        ("rampd.v1.RolloutService", ["is a service", "// Sets next's percent, up or down"]),
        ("rampd.v1.RampRequest", ["is a message", "// The share of buckets that next gets"]),
        ("rampd.v1.RampRequest.percent", ["is a field", "// The share of buckets that next gets"]),
        ("rampd.v1.RolloutState", ["is an enum", "// There is no next: everybody gets current."]),
        ("google.rpc.Status", ["is a message", "repeated .google.protobuf.Any details"]),
        ("grpc.health.v1.Health.Check", ["is a method"]),
    ],
)
async def test_grpcurl_describes_everything_with_the_comments_of_the_proto_files(make_server, symbol, shown):
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    described = await grpcurl(target, "describe", symbol)
    assert all(each in described for each in shown), described


async def test_answers_have_the_same_names_with_reflection_and_with_the_proto_files(make_server):
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    call = ("-d", '{"job_id": "four"}', target, "rampd.v1.ResolverService/Resolve")
    answer = await grpcurl(*call)
    assert json.loads(answer) == {"tag": "4", "snapshotAge": "2s"}
    files = ("-import-path", str(ROOT / "proto"), "-proto", "rampd/v1/resolver_service.proto")
    assert await grpcurl(*files, *call) == answer
    assert await grpcurl("-d", '{"jobId": "four"}', *call[2:]) == answer


async def test_an_unknown_symbol_is_not_found(make_server):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async with channel_to(make_server()) as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        for symbol in ("rampd.v1.RolloutService.Nothing", "nothing", ""):
            await stream.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            assert (await stream.read()).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        await stream.write(reflection_pb2.ServerReflectionRequest(file_by_filename="rampd/v1/nothing.proto"))
        assert (await stream.read()).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        await stream.done_writing()


async def test_without_reflection_the_service_is_unimplemented(make_server):
    from grpc_reflection.v1alpha import reflection_pb2_grpc

    async with channel_to(make_server(reflect=False)) as channel:
        # The test sends nothing, because the call may end first. A write would then fail with another error of gRPC.
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        assert await stream.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_three_thousand_calls_at_once_are_all_answered(make_server):
    async with channel_to(make_server()) as channel:
        resolve = channel.unary_unary("/rampd.v1.ResolverService/Resolve")
        calls = [resolve(b"", timeout=60) for _ in range(3000)]
        codes = {await call.code() for call in calls}
    assert codes == {grpc.StatusCode.OK}


async def test_calls_that_wait_for_longer_than_half_a_minute_are_answered(make_server):
    """Given a server that is busy for as long as gRPC by itself lets a call wait, expect an answer to callers who have more time."""
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    with grpc.insecure_channel(target) as channel:
        resolve = channel.unary_unary("/rampd.v1.ResolverService/Resolve")
        await asyncio.to_thread(resolve, b"", timeout=60)
        calls = [resolve.future(b"", timeout=100) for _ in range(20)]
        time.sleep(32)  # noqa: ASYNC251 - the event loop is busy
        codes = await asyncio.to_thread(lambda: {call.code() for call in calls})
    assert codes == {grpc.StatusCode.OK}


async def test_a_connection_is_told_how_many_calls_it_may_have_at_once(make_server):
    """The first frame of the server is SETTINGS: pairs of an id (two bytes) and a value (four bytes)."""
    server = make_server()
    address = server.listen(ANY_PORT)
    await server.start()
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        async with asyncio.timeout(20):
            head = await reader.readexactly(9)
            settings = await reader.readexactly(int.from_bytes(head[:3]))
    finally:
        writer.close()
    assert head[3] == _SETTINGS
    assert dict(struct.iter_unpack(">HI", settings))[_MAX_CONCURRENT_STREAMS] == MAX_CALLS_OF_A_CONNECTION


async def test_calls_to_a_stopping_server_get_an_error_that_says_what_to_do(make_server):
    server = make_server()
    target = str(server.listen(ANY_PORT))
    await server.start()
    errors = []

    async def keep_calling(channel: grpc.aio.Channel) -> None:
        resolve = channel.unary_unary("/rampd.v1.ResolverService/Resolve")
        while True:
            try:
                await resolve(b"", timeout=60)
            except grpc.aio.AioRpcError as error:
                errors.append(error)
                return

    async with grpc.aio.insecure_channel(target) as channel:
        callers = [asyncio.create_task(keep_calling(channel)) for _ in range(100)]
        await channel.channel_ready()
        await server.stop(5)
        await asyncio.gather(*callers)
    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
    assert any("Send the call again" in (error.details() or "") for error in errors)
