"""The health of each service is right while the store fails and comes back."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.processes import children, has_ended
from tests.servers import IN_PRODUCTION_S, ServerProcess, Stubs, rampd_server, reason_of, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import PATIENCE_S, eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WRITES = ("", "rampd.v1.ReleaseService", "rampd.v1.RolloutService")
RESOLVER = "rampd.v1.ResolverService"
COMPONENTS = "rampd.v1.components"
PARTS = {"": "", "/writes": "rampd.v1.RolloutService", "/reads": RESOLVER, "/components": COMPONENTS}
"""The paths below `/readyz`, and the service that gRPC's health has for each."""
HTTP = ("--http", "127.0.0.1:0")
META = "rampd:{default}:meta"


@pytest.fixture
def store() -> Iterator[StoreServer]:
    with store_server(REDIS) as running:
        yield running


def health(call: Stubs, server: ServerProcess) -> dict[str, int]:
    """Returns what Check says of each service, once List and `/readyz` say the same. They can differ for a moment during a change."""
    stub = health_pb2_grpc.HealthStub(call.channel)
    end = time.monotonic() + PATIENCE_S
    while True:
        listed = stub.List(health_pb2.HealthListRequest(), timeout=60).statuses
        checked = {
            name: stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=60).status
            for name in (*WRITES, RESOLVER, COMPONENTS)
        }
        ready = readyz(server)
        expected_ready = {path: checked[service] for path, service in PARTS.items()}
        if {name: each.status for name, each in listed.items()} == checked and ready == expected_ready:
            return checked
        assert time.monotonic() < end, (checked, ready)


def readyz(server: ServerProcess) -> dict[str, int]:
    """What `/readyz` says of each part, in the words of gRPC."""
    url = f"http://{server.event('listening_http')['address']}/readyz"
    with httpx.Client(timeout=60, trust_env=False) as http:
        codes = {path: http.get(url + path).status_code for path in PARTS}
    return {path: {200: SERVING, 503: NOT_SERVING}[code] for path, code in codes.items()}


def expected(writes: int) -> dict[str, int]:
    return dict.fromkeys(WRITES, writes) | {RESOLVER: SERVING, COMPONENTS: SERVING}


class Watch:
    """Collects what Health/Watch sends about a service."""

    def __init__(self, call: Stubs, service: str = "") -> None:
        self._stream = health_pb2_grpc.HealthStub(call.channel).Watch(health_pb2.HealthCheckRequest(service=service))
        self._seen: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for answer in self._stream:
                self._seen.put(answer.status)

    def next(self) -> int:
        return self._seen.get(timeout=PATIENCE_S)

    def wait_for(self, status: int) -> None:
        """Waits until it has sent a status. On a busy machine, the store may have been away for a moment before."""
        eventually(lambda: self.next() == status)

    def is_quiet(self) -> bool:
        return self._seen.empty()


def is_refused(call: Stubs) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call("SetOverride", component="restyler", repo="acme/app", tag="x")
    return reason_of(caught.value)


def is_writable(call: Stubs) -> bool:
    with contextlib.suppress(grpc.RpcError):
        return bool(call("SetOverride", component="restyler", repo="acme/app", tag="x"))
    return False


def events(server: ServerProcess, name: str) -> list[dict[str, object]]:
    return [line for line in server.log if line["event"] == name]


def check_no_unexpected_errors(server: ServerProcess) -> None:
    assert not [line for line in server.log if "exception" in line or line["event"] == "call_failed"], server.log
    assert not [line for line in server.said if "Traceback" in line], server.said


def test_health_follows_a_store_that_hangs_dies_and_comes_back(directory: Path) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as store_run:
        (home := directory / "store").mkdir()
        store = store_run.enter_context(store_server(REDIS, directory=home, **options))
        flags = ("--insecure-admin", *HTTP, "--redis-url", store.url)
        server = stack.enter_context(rampd_server(directory, *flags, store_deadline_s=IN_PRODUCTION_S))
        server.event("serving")
        call = stack.enter_context(stubs(server.target))
        whole, resolver = Watch(call), Watch(call, RESOLVER)
        whole.wait_for(SERVING)
        assert resolver.next() == SERVING
        call.until_made("Release", component="restyler", tag="t1")

        store.signal(signal.SIGSTOP)
        whole.wait_for(NOT_SERVING)
        eventually(lambda: health(call, server) == expected(NOT_SERVING))
        assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
        store.signal(signal.SIGCONT)
        whole.wait_for(SERVING)
        eventually(lambda: health(call, server) == expected(SERVING))
        eventually(lambda: is_writable(call))

        store.signal(signal.SIGKILL)
        store_run.close()
        whole.wait_for(NOT_SERVING)
        eventually(lambda: health(call, server) == expected(NOT_SERVING))
        assert is_refused(call) == "STORE_UNAVAILABLE"
        assert call("Resolve", component="restyler", repo="acme/app").tag == "x"
        store_run.enter_context(store_server(REDIS, directory=home, **options))
        whole.wait_for(SERVING)
        eventually(lambda: health(call, server) == expected(SERVING))
        eventually(lambda: len(events(server, "store_found")) >= 2)
        assert len(events(server, "store_lost")) <= 2 * 8, "at most a few reasons for each outage"

        assert resolver.is_quiet()
        server.process.send_signal(signal.SIGTERM)
        whole.wait_for(NOT_SERVING)
        assert resolver.next() == NOT_SERVING
        assert server.process.wait(60) == 0
        check_no_unexpected_errors(server)


def test_health_follows_a_store_that_can_not_be_trusted(directory: Path, store: StoreServer) -> None:
    """Given data of a newer schema, and later an emptied store, expect that no writes are served until that is repaired."""
    with (
        rampd_server(directory, "--insecure-admin", *HTTP, "--redis-url", store.url) as server,
        redis.Redis.from_url(store.url, decode_responses=True) as client,
    ):
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
            schema = client.hget(META, "schema")
            client.hset(META, "schema", "99")
            eventually(lambda: health(call, server) == expected(NOT_SERVING))
            client.hset(META, "schema", schema)
            eventually(lambda: health(call, server) == expected(SERVING))

            client.flushall()
            eventually(lambda: health(call, server) == expected(NOT_SERVING))
            assert is_refused(call) == "STORE_RESET"
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"

            adopt = [sys.executable, "-m", "rampd_server", "adopt", "--redis-url", store.url]
            subprocess.run(adopt, check=True, capture_output=True, timeout=60)
            eventually(lambda: health(call, server) == expected(SERVING))
        check_no_unexpected_errors(server)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_embedded_store_that_is_killed_is_started_again_and_everything_resumes(
    directory: Path, workers: int
) -> None:
    with rampd_server(directory, "--insecure-admin", *HTTP, "--workers", str(workers)) as server:
        eventually(lambda: len(events(server, "serving")) == workers)
        pid = server.event("store_started")["process"]
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
            ValkeyOf(directory).send_signal(signal.SIGKILL)
            eventually(lambda: len(events(server, "store_started")) == 2)
            assert server.event("store_started")["process"] != pid
            ended = server.event("store_ended")
            assert "code -9. " in ended["error"]
            assert "Ready to accept connections" in ended["error"]
            eventually(lambda: is_writable(call))
            eventually(lambda: health(call, server) == expected(SERVING))
            assert call("GetRollout", component="restyler").rollout.current.tag == "t1"
        assert server.stop() == 0
        check_no_unexpected_errors(server)


class ValkeyOf:
    """The process of the Valkey of a data directory."""

    def __init__(self, directory: Path) -> None:
        with redis.Redis(unix_socket_path=str(directory / "valkey" / "valkey.sock")) as client:
            self.pid = client.info("server")["process_id"]

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def has_ended(self) -> bool:
        return has_ended(self.pid)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_embedded_store_that_can_t_be_started_again_ends_the_server_with_an_error(
    directory: Path, workers: int
) -> None:
    with rampd_server(directory, "--workers", str(workers)) as server:
        eventually(lambda: len(events(server, "serving")) == workers)
        (directory / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
        ValkeyOf(directory).send_signal(signal.SIGKILL)
        assert server.process.wait(100) == 2
        server.stop()
        (sentence,) = [line for line in server.said if line.startswith("rampd-server: ")]
        assert "ended 6 times in 300 s" in sentence
        assert "manifest" in sentence
        assert "valkey.log" in sentence
        check_no_unexpected_errors(server)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_is_not_ignored_ends_everything_in_order(
    directory: Path, number: signal.Signals, workers: int
) -> None:
    with rampd_server(directory, "--workers", str(workers)) as server:
        eventually(lambda: len(events(server, "serving")) == workers)
        store = ValkeyOf(directory)
        assert server.stop(number) == 0
        assert store.has_ended()
        assert events(server, "store_stopped")


def test_other_signals_change_nothing(directory: Path) -> None:
    with rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        store = ValkeyOf(directory)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            server.process.send_signal(number)
            eventually(
                lambda number=number: number.name in [line["signal"] for line in events(server, "signal_ignored")]
            )
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
        assert not store.has_ended()
        assert server.stop() == 0


def test_a_server_that_is_stopped_while_it_waits_for_its_store_ends_in_order(directory: Path) -> None:
    with rampd_server(directory, "--redis-url", f"unix://{directory}/none.sock") as server:
        server.event("waiting_for_store")
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_child_processes_of_a_killed_server_end(directory: Path, workers: int) -> None:
    with rampd_server(directory, "--workers", str(workers)) as server:
        eventually(lambda: len(events(server, "serving")) == workers)
        store = ValkeyOf(directory)
        started = children(server.process.pid)
        assert store.pid in started
        server.process.kill()
        eventually(lambda: all(has_ended(pid) for pid in started))
