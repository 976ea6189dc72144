"""Many connections that ask for nothing keep nobody out for long, and no file from the store."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.servers import ServerProcess, rampd_server, short_directory, stubs

_IDLE = 1_200
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
