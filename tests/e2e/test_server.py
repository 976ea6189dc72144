"""rampd-server as a process: what lasts, what it says, what it refuses, and how it ends."""

import contextlib
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.servers import Stubs, rampd_server, reason_of, short_directory, stubs
from tests.stores import REDIS, VALKEY, StoreServer, store_server


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture(params=[VALKEY, REDIS])
def store(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with store_server(request.param) as running:
        yield running


def eventually(is_so: Callable[[], bool], within_s: float = 20) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def refusal(call: Stubs, method: str, **fields: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(method, **fields)
    return caught.value.code(), reason_of(caught.value)


def test_what_the_server_knows_is_there_again_after_a_stop_and_after_a_kill(directory: Path) -> None:
    for number, end in enumerate((signal.SIGINT, signal.SIGKILL, signal.SIGTERM), start=1):
        with rampd_server(directory, "--insecure-admin") as server:
            server.event("serving")
            with stubs(server.target) as call:
                if number > 1:
                    assert call("GetRollout", component="restyler").rollout.current.tag == f"t{number - 1}"
                call("Release", component="restyler", tag=f"t{number}", expedite=number > 1)
                assert call("Resolve", component="restyler", repo="acme/app").tag == f"t{number}"
            assert server.stop(end) == (-signal.SIGKILL if end is signal.SIGKILL else 0)


def test_the_unix_socket_is_its_owners_and_tcp_is_for_reads(directory: Path) -> None:
    with rampd_server(directory) as server:
        server.event("serving")
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o600
        with stubs(server.target) as tcp, stubs(f"unix:{server.socket}") as unix:
            assert refusal(tcp, "Release", component="restyler", tag="t1") == (
                grpc.StatusCode.PERMISSION_DENIED,
                "ROLE_REQUIRED",
            )
            unix("Release", component="restyler", tag="t1")
            assert tcp("Resolve", component="restyler", repo="acme/app").tag == "t1"
            assert tcp("GetRollout", component="restyler").rollout.current.tag == "t1"


def test_health_says_serving_for_each_service(directory: Path) -> None:
    with rampd_server(directory) as server:
        server.event("serving")
        with stubs(server.target) as call:
            health = health_pb2_grpc.HealthStub(call.channel)
            for name in ("", *(f"rampd.v1.{service}Service" for service in ("Resolver", "Release", "Rollout"))):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_server_waits_for_a_store_that_is_away_at_the_start(directory: Path) -> None:
    with rampd_server(directory, "--redis-url", f"unix://{directory}/none.sock") as server:
        server.event("waiting_for_store")
        with stubs(server.target) as call:
            health = health_pb2_grpc.HealthStub(call.channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert refusal(call, "Resolve", component="restyler", repo="a/b") == (
                grpc.StatusCode.UNAVAILABLE,
                "NO_SNAPSHOT",
            )
        assert server.stop() == 0


def test_a_server_told_not_to_wait_says_so_and_ends(directory: Path) -> None:
    flags = ("--redis-url", f"unix://{directory}/none.sock", "--no-wait-for-store")
    with rampd_server(directory, *flags) as server:
        assert server.process.wait(20) == 2
        server.stop()
        assert any("can't be reached" in line for line in server.said)


def test_resolve_goes_on_while_redis_is_away_and_everything_resumes(directory: Path, store: StoreServer) -> None:
    with rampd_server(directory, "--insecure-admin", "--redis-url", store.url) as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
            store.signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                assert refusal(call, "Release", component="restyler", tag="t2") == (
                    grpc.StatusCode.UNAVAILABLE,
                    "STORE_UNAVAILABLE",
                )
                assert time.monotonic() - began < 10
                assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
                eventually(lambda: call("Resolve", component="restyler", repo="acme/app").stale)
            finally:
                store.signal(signal.SIGCONT)
            eventually(lambda: not call("Resolve", component="restyler", repo="acme/app").stale)
            # The refused one may have been applied when Redis came back: it is once, or not at all.
            assert call("Release", component="restyler", tag="t2").release == 2


def test_an_emptied_store_is_not_believed_until_it_is_adopted(directory: Path, store: StoreServer) -> None:
    with rampd_server(directory, "--insecure-admin", "--redis-url", store.url) as server:
        server.event("serving")
        with stubs(server.target) as call, redis.Redis.from_url(store.url) as client:
            call("Release", component="restyler", tag="t1")
            client.flushall()
            assert refusal(call, "Release", component="restyler", tag="t2") == (
                grpc.StatusCode.UNAVAILABLE,
                "STORE_RESET",
            )
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
            assert not client.keys("*")

            from rampd_server.command import run

            assert run(["adopt", "--redis-url", store.url, "--data-dir", str(directory)]) == 0
            eventually(lambda: "COMPONENT_NOT_FOUND" in str(_resolve_or_error(call)))
            assert call("Release", component="restyler", tag="t2").release == 1


def _resolve_or_error(call: Stubs) -> object:
    try:
        return call("Resolve", component="restyler", repo="acme/app")
    except grpc.RpcError as error:
        return reason_of(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"maxmemory-policy": "allkeys-lru"}, "noeviction"), ({"replicaof": "127.0.0.1 1"}, "replica")],
)
def test_a_store_that_can_t_be_built_on_is_refused_with_a_sentence(
    directory: Path, options: dict[str, str], words: str
) -> None:
    with store_server(REDIS, **options) as store, rampd_server(directory, "--redis-url", store.url) as server:
        assert server.process.wait(20) == 2
        server.stop()
        assert any(words in line for line in server.said), server.said


@pytest.mark.parametrize("waits", ["--wait-for-store", "--no-wait-for-store"])
@pytest.mark.parametrize("wrong", ["password", "no password", "database", "permission", "tls", "no redis"])
def test_what_will_not_heal_by_waiting_ends_the_start_with_a_sentence(directory: Path, wrong: str, waits: str) -> None:
    with contextlib.ExitStack() as stack:
        port = str(_free_port())
        store = stack.enter_context(store_server(REDIS, port=port))
        url, words = f"redis://127.0.0.1:{port}/0", ""
        with redis.Redis.from_url(url) as client:
            if wrong in {"password", "no password"}:
                client.config_set("requirepass", "geheim")
                words = "refuses the user or the password of RAMPD_REDIS_URL"
            if wrong == "password":
                url = f"redis://:secret@127.0.0.1:{port}/0"
            if wrong == "no password":
                words = "wants a password, and RAMPD_REDIS_URL (--redis-url) has none"
            if wrong == "database":
                url, words = f"redis://127.0.0.1:{port}/99", "does not have the database"
            if wrong == "permission":
                client.execute_command("ACL", "SETUSER", "default", "-zadd", "-xadd")
                words = "may not do in Redis what rampd needs: XADD, ZADD"
            if wrong == "tls":
                url, words = f"rediss://127.0.0.1:{port}/0", "the port speaks plain Redis: write redis://"
            if wrong == "no redis":
                other = stack.enter_context(rampd_server(directory / "other", "--redis-url", store.url))
                url, words = f"redis://{other.target}/0", "What answers is no Redis"
        server = stack.enter_context(rampd_server(directory, "--redis-url", url, waits))
        assert server.process.wait(60) == 2
        server.stop()
        assert [line for line in server.said if line.startswith("rampd-server: ")] == [
            line for line in server.said if words in line
        ]
        said = str((server.said, server.log))
        assert "Traceback" not in said
        assert "is not known" not in said, "nothing was sent"
        assert "secret" not in said


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_data_of_a_newer_schema_is_refused_with_a_sentence(directory: Path, store: StoreServer) -> None:
    with redis.Redis.from_url(store.url) as client:
        client.hset("rampd:{default}:meta", mapping={"schema": "99", "epoch": "x", "adopted": "0"})
    with rampd_server(directory, "--redis-url", store.url) as server:
        assert server.process.wait(20) == 2
        server.stop()
        assert any("99" in line for line in server.said), server.said


def test_all_mistakes_of_the_command_line_are_told_at_once(directory: Path) -> None:
    with rampd_server(
        directory, "--listen", "0.0.0.0:1", "--redis-url", "http://:secret@x", RAMPD_LOG_LEVEL="x"
    ) as server:
        assert server.process.wait(20) == 2
        server.stop()
        said = "\n".join(server.said)
        assert all(flag in said for flag in ("--listen", "--redis-url", "--log-level"))
        assert "secret" not in said
        assert "Traceback" not in said
