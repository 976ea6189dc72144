"""rampd-server as a process: which data last, what it prints, what it refuses, and how it ends."""

import contextlib
import itertools
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

import rampd
from rampd import v1
from tests.ports import free_port
from tests.servers import IN_PRODUCTION_S, Stubs, program_of, rampd_server, reason_of, require, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually


def refusal(call: Stubs, method: str, **fields: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(method, **fields)
    return caught.value.code(), reason_of(caught.value)


def test_the_server_keeps_its_data_over_a_stop_and_over_a_kill(directory: Path) -> None:
    for number, end in enumerate((signal.SIGINT, signal.SIGKILL, signal.SIGTERM), start=1):
        with rampd_server(directory, "--insecure-admin") as server:
            server.event("serving")
            with stubs(server.target) as call:
                if number > 1:
                    assert call("GetRollout", component="restyler").rollout.current.tag == f"t{number - 1}"
                call("Release", component="restyler", tag=f"t{number}", expedite=number > 1)
                assert call("Resolve", component="restyler", repo="acme/app").tag == f"t{number}"
            assert server.stop(end) == (-signal.SIGKILL if end is signal.SIGKILL else 0)


def test_every_writer_under_way_at_a_sigterm_is_told_to_send_the_call_again(directory: Path) -> None:
    ends: list[grpc.StatusCode] = []
    written = itertools.count()

    def write(number: int) -> None:
        with stubs(server.target) as call:
            while True:
                try:
                    call("SetOverride", component="restyler", repo=f"acme/{number}", tag=f"x{next(written)}")
                except grpc.RpcError as error:
                    return ends.append(error.code())

    with rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
        with ThreadPoolExecutor(16) as writers:
            for number in range(16):
                writers.submit(write, number)
            eventually(lambda: next(written) > 200)
            assert server.stop() == 0

    assert ends == [grpc.StatusCode.UNAVAILABLE] * 16


def test_a_missing_token_file_ends_the_start_and_secrets_are_never_logged(directory: Path) -> None:
    flags = ("--prometheus-url", "http://127.0.0.1:1", "--prometheus-header", "X-Key: s3cr3t")
    token = directory / "token"
    with rampd_server(directory, *flags, "--prometheus-token-file", str(token)) as server:
        assert server.process.wait(60) == 2
        server.stop()
    assert any(f"the token file {token} can't be read: No such file or directory." in line for line in server.said)

    token.write_text("s3cr3t\n")
    with rampd_server(
        directory, *flags, "--prometheus-token-file", str(token), "--log-level", "debug", "--workers", "2"
    ) as server:
        server.event("serving")
        assert server.stop() == 0
    assert "s3cr3t" not in str(server.log) + str(server.said)


def test_the_unix_socket_is_open_to_its_owner_only_and_tcp_serves_only_reads(directory: Path) -> None:
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


@pytest.mark.parametrize("name", ["a b", "ä%20ö", 'it\'s "quoted" $HOME', "a#b?c=d"])
@pytest.mark.parametrize("flags", [(), ("--insecure-admin",)])
def test_the_commands_of_the_welcome_work_and_the_socket_is_reached_by_its_path(
    directory: Path, name: str, flags: tuple[str, ...]
) -> None:
    require("grpcurl")
    with rampd_server(directory / name, *flags) as server:
        server.event("serving")
        eventually(lambda: any("Ctrl-C" in line for line in server.said))
        tried = [line for line in server.said if line.startswith("  ")]
        assert [program_of(line) for line in tried] == ["rampd", *3 * ["grpcurl"]]
        for line in tried:
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        for mode in ("local", "rpc"):
            with rampd.Resolver(f"unix:{server.socket}", mode=mode, timeout=60) as resolver:
                assert resolver.resolve("restyler", repo="acme/app").tag == "20200301"
        with rampd.Admin(f"unix:{server.socket}", timeout=60) as admin:
            assert admin.get_rollout("restyler").current.tag == "20200301"


def test_health_says_serving_for_each_service(directory: Path) -> None:
    with rampd_server(directory) as server:
        server.event("serving")
        with stubs(server.target) as call:
            health = health_pb2_grpc.HealthStub(call.channel)
            for name in ("", *(f"rampd.v1.{service}Service" for service in ("Resolver", "Release", "Rollout"))):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_server_waits_for_a_store_that_is_away_at_the_start(directory: Path) -> None:
    with rampd_server(directory, "--redis-url", f"unix://{directory}/none.sock") as server:
        server.event("waiting_for_store")
        with stubs(server.target) as call:
            health = health_pb2_grpc.HealthStub(call.channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert refusal(call, "Resolve", component="restyler", repo="a/b") == (
                grpc.StatusCode.UNAVAILABLE,
                "NO_SNAPSHOT",
            )
        assert server.stop() == 0


def test_a_server_with_no_wait_for_store_ends_with_a_message(directory: Path) -> None:
    flags = ("--redis-url", f"unix://{directory}/none.sock", "--no-wait-for-store")
    with rampd_server(directory, *flags) as server:
        assert server.process.wait(60) == 2
        server.stop()
        assert any("can't be reached" in line for line in server.said)


def test_resolve_goes_on_while_redis_is_away_and_everything_resumes(directory: Path, store: StoreServer) -> None:
    flags = ("--insecure-admin", "--redis-url", store.url)
    with rampd_server(directory, *flags, store_deadline_s=IN_PRODUCTION_S) as server:
        server.event("serving")
        with stubs(server.target) as call:
            call.until_made("Release", component="restyler", tag="t1")
            store.signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                assert refusal(call, "Release", component="restyler", tag="t2") == (
                    grpc.StatusCode.UNAVAILABLE,
                    "STORE_UNAVAILABLE",
                )
                assert time.monotonic() - began < 50
                assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
                eventually(lambda: call("Resolve", component="restyler", repo="acme/app").stale)
            finally:
                store.signal(signal.SIGCONT)
            eventually(lambda: not call("Resolve", component="restyler", repo="acme/app").stale)
            # Redis may have applied the refused write when it came back. It must be applied once at most.
            assert call.until_made("Release", component="restyler", tag="t2").release == 2


def adopt(*flags: str) -> tuple[int, str]:
    """Runs `rampd-server adopt`. Returns the exit code and the output."""
    command = [sys.executable, "-m", "rampd_server", "adopt", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_emptied_store_is_not_trusted_until_it_is_adopted(directory: Path, store: StoreServer) -> None:
    """Given two running servers, expect that both go on with the store as it is now, without a restart."""
    flags = ("--insecure-admin", "--redis-url", store.url)
    with (
        rampd_server(directory, *flags) as server,
        rampd_server(directory / "second", *flags) as second,
        stubs(second.target) as other,
    ):
        server.event("serving")
        second.event("serving")
        with stubs(server.target) as call, redis.Redis.from_url(store.url) as client:
            call("Release", component="restyler", tag="t1")
            client.flushall()
            assert refusal(call, "Release", component="restyler", tag="t2") == (
                grpc.StatusCode.UNAVAILABLE,
                "STORE_RESET",
            )
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
            assert not client.keys("*")

            code, said = adopt("--redis-url", store.url)
            assert code == 0
            assert f"the namespace default of {store.url} goes on as it is now" in said
            assert (
                "The namespace has no component. Launchers keep their versions for 5 minutes (next_max_stale)." in said
            )
            assert "2 servers follow it and take it over within seconds." in said
            for each in (call, other):
                eventually(lambda each=each: "COMPONENT_NOT_FOUND" in str(_resolve_or_error(each)))
            assert call("Release", component="restyler", tag="t2").release == 1
            assert other("Release", component="hlint", tag="h1").release == 1


def test_adopt_names_the_store_without_its_password_and_counts_the_servers_on_it(
    directory: Path, store: StoreServer
) -> None:
    with redis.Redis.from_url(store.url) as client:
        client.execute_command("ACL SETUSER ada on >secret ~* &* +@all -client")
        client.execute_command("ACL SETUSER bob on >secret ~* &* +@all")
    unix, shown = store.url.removeprefix("unix://"), "unix://{}:***@{}"
    for user in ("ada", "bob"):
        url, name = f"unix://{user}:secret@{unix}", f"n-{user}"
        flags = ("--redis-url", url, "--namespace", name)
        # A server whose Redis user may not name its connections serves too, but can't be counted.
        with rampd_server(directory / user, *flags) as server:
            server.event("serving")
            code, said = adopt(*flags)
            assert (code, "secret" in said) == (0, False)
            assert f"the namespace {name} of {shown.format(user, unix)} goes on" in said
            assert ("is not known" in said, "1 server follows it" in said) == ((True, False), (False, True))[
                user == "bob"
            ]
    code, said = adopt("--redis-url", store.url, "--namespace", "n-bob")
    assert code == 0
    assert said.splitlines()[-1] == "No server is connected to it now. The next server that starts goes on with it."
    code, said = adopt("--redis-url", store.url, "--namespace", "typo")
    assert (code, "The namespace has no component" in said, "check --namespace" in said) == (0, True, True)


def test_adopt_of_a_data_directory_uses_its_store_and_creates_none(directory: Path) -> None:
    code, said = adopt("--data-dir", str(directory / "none"))
    assert (code, list(directory.iterdir())) == (2, [])
    assert said.startswith(f"rampd-server: There is no data of rampd in {directory / 'none'}. ")

    with rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="t1")
            code, said = adopt("--data-dir", str(directory))
            assert (code, "1 server follows it" in said, "no component" in said) == (0, True, False)
            assert f"of the Valkey in {directory} goes on" in said
            eventually(lambda: _releases(call) == 2)

    code, said = adopt("--data-dir", str(directory))
    assert (code, "No server is connected" in said) == (0, True)
    with rampd_server(directory) as server:
        server.event("serving")
        with stubs(server.target) as call:
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t2"


def _releases(call: Stubs) -> int:
    """Releases t2 and returns its number. Returns 0 while the server has not yet seen the new epoch."""
    with contextlib.suppress(grpc.RpcError):
        return int(call("Release", component="restyler", tag="t2", expedite=True).release)
    return 0


def _resolve_or_error(call: Stubs) -> object:
    try:
        return call("Resolve", component="restyler", repo="acme/app")
    except grpc.RpcError as error:
        return reason_of(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"maxmemory-policy": "allkeys-lru"}, "noeviction"), ({"replicaof": "127.0.0.1 1"}, "replica")],
)
def test_an_unsuitable_store_is_refused_with_a_sentence(directory: Path, options: dict[str, str], words: str) -> None:
    with store_server(REDIS, **options) as store, rampd_server(directory, "--redis-url", store.url) as server:
        assert server.process.wait(60) == 2
        server.stop()
        assert any(words in line for line in server.said), server.said


@pytest.mark.parametrize("waits", ["--wait-for-store", "--no-wait-for-store"])
@pytest.mark.parametrize("wrong", ["password", "no password", "database", "permission", "tls", "no redis"])
def test_an_error_that_waiting_does_not_fix_ends_the_start_with_a_sentence(
    directory: Path, wrong: str, waits: str
) -> None:
    with contextlib.ExitStack() as stack:
        port = str(free_port())
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
                words = "may not run commands in Redis that rampd needs: XADD, ZADD"
            if wrong == "tls":
                url, words = f"rediss://127.0.0.1:{port}/0", "the port speaks plain Redis: write redis://"
            if wrong == "no redis":
                other = stack.enter_context(rampd_server(directory / "other", "--redis-url", store.url))
                url, words = f"redis://{other.target}/0", "The server that answers is not Redis"
        server = stack.enter_context(rampd_server(directory, "--redis-url", url, waits))
        assert server.process.wait(60) == 2
        server.stop()
        assert [line for line in server.said if line.startswith("rampd-server: ")] == [
            line for line in server.said if words in line
        ]
        said = str((server.said, server.log))
        assert "Traceback" not in said
        assert "is not known" not in said, "the message wrongly says that the result of a write is not known"
        assert "Ctrl-C" not in said, "a server that can't start prints no welcome"
        assert "secret" not in said


def test_data_of_a_newer_schema_is_refused_with_a_sentence(directory: Path, store: StoreServer) -> None:
    with redis.Redis.from_url(store.url) as client:
        client.hset("rampd:{default}:meta", mapping={"schema": "99", "epoch": "x"})
    with rampd_server(directory, "--redis-url", store.url) as server:
        assert server.process.wait(60) == 2
        server.stop()
        assert any("99" in line for line in server.said), server.said


def test_all_mistakes_of_the_command_line_are_reported_together(directory: Path) -> None:
    with rampd_server(
        directory, "--listen", "0.0.0.0", "--redis-url", "http://:secret@x", RAMPD_LOG_LEVEL="x"
    ) as server:
        assert server.process.wait(60) == 2
        server.stop()
        said = "\n".join(server.said)
        assert all(flag in said for flag in ("--listen", "--redis-url", "--log-level"))
        assert "secret" not in said
        assert "Traceback" not in said


def test_every_committed_change_is_one_line_of_the_log_and_nothing_else_is_logged(directory: Path) -> None:
    """Given changes by people and by automation, writes that change nothing, and refusals, expect one line for each event of the
    history, in the same order.
    """
    policy = v1.Policy(steps=[v1.Step(percent=10)], auto_start=True, auto_finalize=True)
    with rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="a", tag="1", note="first é")
            call("SetPolicy", component="a", policy=policy)
            call("SetOverride", component="a", repo="acme/app", tag="1")
            call("SetOverride", component="a", repo="acme/app", tag="1")
            call("BatchSetOverrides", component="a", overrides=[v1.OverrideChange(repo=repo, tag="1") for repo in "xy"])
            with pytest.raises(grpc.RpcError):
                call("Ramp", component="a", percent=1)
            call("Freeze", all=True, note="holidays")
            call("Unfreeze", all=True)
            call("Release", component="a", tag="2", request_id="r")
            call("Release", component="a", tag="2", request_id="r")
            eventually(lambda: call("GetRollout", component="a").rollout.current.tag == "2")
            call("DeleteComponent", component="a", confirm="a")
            events = {name: list(call("ListEvents", component=name).events)[::-1] for name in ("a", "")}
        assert server.stop() == 0
    lines = [line for line in server.log if line["event"] == "change_committed"]
    for name, expected in events.items():
        assert [
            (line["revision"], line["verb"], line["actor"], line["note"]) for line in lines if line["component"] == name
        ] == [(event.revision, event.action, event.actor, event.note) for event in expected]
    assert {line["actor"] for line in lines} == {"anonymous", "rampd"}
    assert len(lines) == sum(map(len, events.values())) >= 10
