"""Many connections that ask for nothing keep nobody out for long, and no file from the store."""

import contextlib
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from rampd import v1
from tests.servers import ServerProcess, rampd_server, short_directory, stubs

_IDLE = 1_200
_NO_RETRIES = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
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
                idle = opened.enter_context(socket.create_connection((host, int(port)), timeout=10))
                # One that was refused is closed by now.
                with contextlib.suppress(OSError):
                    idle.sendall(_PREFACE if index % 2 else b"")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_low_soft_limit_is_raised_and_everybody_gets_in() -> None:
    with short_directory() as directory, rampd_server(directory, limits="-Sn 512") as server:
        server.event("serving")
        with idle_connections(server), stubs(server.target) as call:
            assert list(call("ListRollouts").rollouts) == []


def test_at_a_low_hard_limit_a_new_caller_is_refused_at_once_and_the_store_has_its_files() -> None:
    """Given 1,200 idle connections at 1,024 files, expect UNAVAILABLE on TCP, and the socket for operators to work."""
    with short_directory() as directory, rampd_server(directory, limits="-n 1024") as server:
        server.event("serving")
        with idle_connections(server):
            server.event("connections_near_limit", within_s=60)
            assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 1024 - 100
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
    """Opens Watch `number` times over one connection, and gives each up at once."""
    host, _, port = server.target.rpartition(":")
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/rampd.v1.ResolverService/Watch",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    # Literal fields, none of which is added to a table.
    head = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    with socket.create_connection((host, int(port)), timeout=30) as link:
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
    """Opens Watch `number` times over one connection, and reads on for as long as the server takes."""
    with grpc.insecure_channel(server.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        watch = channel.unary_stream("/rampd.v1.ResolverService/Watch")
        calls = [watch(b"") for _ in range(number)]
        next(calls[0])
        next(calls[2000])
        for call in calls:
            call.cancel()


@pytest.mark.parametrize(("misuse", "number"), [(_resets, 50_000), (_streams, 6_000)], ids=["resets", "streams"])
def test_what_one_connection_does_takes_no_call_away_from_others(
    misuse: Callable[[ServerProcess, int], None], number: int
) -> None:
    with short_directory() as directory, rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
        with ThreadPoolExecutor(1) as beside, grpc.insecure_channel(server.target, options=_NO_RETRIES) as channel:
            resolve = channel.unary_unary("/rampd.v1.ResolverService/Resolve")
            request = v1.ResolveRequest(component="restyler", repo="a/b").SerializeToString()
            misused = beside.submit(misuse, server, number)
            answered = 0
            while not misused.done() or not answered:
                resolve(request, timeout=20)
                answered += 1
            misused.result()
