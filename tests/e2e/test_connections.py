"""Many idle connections, or many streams, do not lock out other callers, and do not take the files that the store needs."""

import contextlib
import resource
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rampd import v1
from rampd_server.rpc.streams import MAX_STREAMS
from tests.bench.http2 import Http2
from tests.nights import IS_NIGHT
from tests.servers import ServerProcess, rampd_server, reason_of, short_directory, stubs
from tests.waiting import eventually

_IDLE = 1_200
STREAMS = 10_000 if IS_NIGHT else 6_000
_NO_RETRIES = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
_OTHERS_TIMEOUT_S = 100
"""The time-out of other callers: ten times the longest call while 10,000 streams are opened or refused before it, on a machine
whose cores are busy with other work.
"""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@contextlib.contextmanager
def idle_connections(server: ServerProcess, number: int = _IDLE) -> Iterator[None]:
    host, _, port = server.target.rpartition(":")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * number:
        pytest.skip(f"this process may open {hard} files at most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as opened:
            for index in range(number):
                idle = opened.enter_context(socket.create_connection((host, int(port)), timeout=60))
                # The server has closed a refused connection by now.
                with contextlib.suppress(OSError):
                    idle.sendall(_PREFACE if index % 2 else b"")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_low_soft_limit_is_raised_so_that_all_callers_get_in() -> None:
    with short_directory() as directory, rampd_server(directory, limits="-Sn 512") as server:
        server.event("serving")
        with idle_connections(server), stubs(server.target) as call:
            assert list(call("ListRollouts").rollouts) == []


def test_at_a_low_hard_limit_a_new_caller_is_refused_at_once_and_the_store_keeps_its_files() -> None:
    """Given 1,200 idle connections and a limit of 1,024 files, expect UNAVAILABLE on TCP, and a working unix socket."""
    with short_directory() as directory, rampd_server(directory, limits="-n 1024") as server:
        server.event("serving")
        with idle_connections(server):
            server.event("connections_near_limit")
            # Connections that came beyond the limit are closed soon.
            eventually(lambda: len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 1024 - 100)
            with stubs(server.target) as call, pytest.raises(grpc.RpcError) as refused:
                call("ListRollouts")
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            with stubs(f"unix:{server.socket}") as call:
                assert call("Release", component="restyler", tag="t1").changed
        server.event("connections_below_limit", within_s=60)
        with stubs(server.target) as call:
            assert call("Resolve", component="restyler", repo="a/b").tag == "t1"


def _frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data


def _resets(server: ServerProcess, number: int) -> None:
    """Opens Watch `number` times over one connection, and resets each stream at once."""
    host, _, port = server.target.rpartition(":")
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/rampd.v1.ResolverService/Watch",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    # Literal header fields that HPACK does not add to its table.
    head = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    with socket.create_connection((host, int(port)), timeout=60) as link:
        threading.Thread(target=_drain, args=(link,), daemon=True).start()
        link.sendall(_PREFACE)
        with contextlib.suppress(OSError):  # the server may end such a connection
            for stream in range(1, 2 * number, 2):
                link.sendall(
                    _frame(1, 4, stream, head)
                    + _frame(0, 1, stream, b"\0\0\0\0\0")
                    + _frame(3, 0, stream, b"\0\0\0\x08")
                )


def _drain(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while link.recv(1 << 16):
            pass


def _streams(server: ServerProcess, number: int) -> None:
    """Opens Watch `number` times over one connection, and waits until the server has answered stream 2,000."""
    with grpc.insecure_channel(server.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        watch = channel.unary_stream("/rampd.v1.ResolverService/Watch")
        calls = [watch(b"") for _ in range(number)]
        next(calls[0])
        next(calls[2000])
        for call in calls:
            call.cancel()


def _streams_of_ten(server: ServerProcess, number: int) -> None:
    """Opens Watch `number` times over ten connections, and reads until each stream has a message or is refused."""
    watch, everything = "/rampd.v1.ResolverService/Watch", v1.WatchRequest().SerializeToString()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for place in range(10):
            link = stack.enter_context(contextlib.closing(Http2(server.target)))
            link.socket.sendall(b"".join(link.request(watch, everything) for _ in range(number // 10)))
            selector.register(link.socket, selectors.EVENT_READ, (place, link))
        served: set[tuple[int, int]] = set()
        refused = 0
        while len(served) + refused < number:
            for key, _ in selector.select(60):
                place, link = key.data
                for stream, data, is_end in link.read():
                    if data:
                        served.add((place, stream))
                    refused += is_end
        assert (len(served), refused) == (MAX_STREAMS, number - MAX_STREAMS)
        with stubs(server.target) as call:
            for fields in ({"method": "Watch"}, {"method": "WatchRelease", "component": "restyler", "release": 1}):
                with pytest.raises(grpc.RpcError) as full:
                    next(call(**fields))
                assert (full.value.code(), reason_of(full.value)) == (grpc.StatusCode.UNAVAILABLE, "NO_SNAPSHOT")
                assert "4,000 streams open" in full.value.details()
                assert "start more servers" in full.value.details()
            health = health_pb2_grpc.HealthStub(call.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
            assert next(health).status == health_pb2.HealthCheckResponse.SERVING
            health.cancel()
    server.event("streams_at_limit")
    server.event("streams_below_limit")


@pytest.mark.parametrize(
    ("misuse", "number"),
    [(_resets, 50_000), (_streams, STREAMS), (_streams_of_ten, STREAMS)],
    ids=["resets", "streams", "streams of ten"],
)
def test_misuse_of_some_connections_does_not_block_calls_of_others(
    misuse: Callable[[ServerProcess, int], None], number: int
) -> None:
    """Given callers that open as many streams as they can, expect an answer to every Resolve, Ramp and Rollback of others. Expect
    that later every caller can open a stream again.
    """
    with short_directory() as directory, rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            for tag in ("t1", "t2"):
                call("Release", component="restyler", tag=tag)
        with ThreadPoolExecutor(1) as beside, grpc.insecure_channel(server.target, options=_NO_RETRIES) as channel:
            resolve = channel.unary_unary("/rampd.v1.ResolverService/Resolve")
            ramp = channel.unary_unary("/rampd.v1.RolloutService/Ramp")
            roll_back = channel.unary_unary("/rampd.v1.RolloutService/Rollback")
            request = v1.ResolveRequest(component="restyler", repo="a/b").SerializeToString()
            misused = beside.submit(misuse, server, number)
            answered = 0
            while not misused.done() or not answered:
                resolve(request, timeout=_OTHERS_TIMEOUT_S)
                if answered % 50 == 0:
                    ramp(
                        v1.RampRequest(component="restyler", percent=10).SerializeToString(), timeout=_OTHERS_TIMEOUT_S
                    )
                    roll_back(v1.RollbackRequest(component="restyler").SerializeToString(), timeout=_OTHERS_TIMEOUT_S)
                answered += 1
            misused.result()
            with stubs(server.target) as call:
                # The server may still be ending the streams of before.
                eventually(lambda: next(call("Watch")).state.first, suppressed=grpc.RpcError)
