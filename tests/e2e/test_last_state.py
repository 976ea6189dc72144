"""A server remembers what it served. So it does not take an emptied store for a new store, and launchers keep their versions."""

import contextlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rampd import NoVersionError, Resolver
from rampd._decision.bucketing import bucket
from tests.ports import free_address
from tests.servers import ServerProcess, Stubs, rampd_server, reason_of, short_directory, stubs
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import eventually

C = "restyler"
PINNED = "acme/pinned"
EARLY = next(f"acme/app-{n}" for n in range(10_000) if bucket(C, 2, f"acme/app-{n}") < 100)
"""A repo that gets next at 1 %."""


def serving(store: StoreServer, directory: Path, *flags: str) -> "contextlib.AbstractContextManager[ServerProcess]":
    return rampd_server(directory, "--insecure-admin", "--redis-url", store.url, *flags)


def begin(server: ServerProcess) -> None:
    """Begins a rollout from t1 to t2, at 1 %, that must be confirmed, and sets an override."""
    with stubs(server.target) as call:
        call("Release", component=C, tag="t1")
        call("Release", component=C, tag="t2")
        call("Ramp", component=C, percent=1, confirm_within=Duration(seconds=3600))
        call("SetOverride", component=C, repo=PINNED, tag="t9")


def last_states(directory: Path) -> list[Path]:
    return sorted(directory.glob("last-state-*"))


def adopt(*flags: str) -> None:
    subprocess.run([sys.executable, "-m", "rampd_server", "adopt", *flags], check=True, capture_output=True, timeout=60)


def resolve(call: Stubs, repo: str = "acme/app") -> Any:
    return call("Resolve", component=C, repo=repo)


def refusal(call: Stubs, method: str, **fields: object) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(method, **fields)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return reason_of(caught.value), caught.value.details()


def health(call: Stubs) -> dict[str, str]:
    check = health_pb2_grpc.HealthStub(call.channel).Check
    names = ("", "rampd.v1.ResolverService", "rampd.v1.ReleaseService", "rampd.v1.RolloutService")
    status = health_pb2.HealthCheckResponse.ServingStatus
    return {name: status.Name(check(health_pb2.HealthCheckRequest(service=name), timeout=60).status) for name in names}


def check_is_reset(server: ServerProcess, *how_to_adopt: str) -> None:
    """Checks that the server answers from its last state, writes nothing, and says what to do. Then adopts the store, and checks
    that the server goes on.
    """
    server.event("serving_last_state")
    with stubs(server.target) as call:
        assert resolve(call).tag == "t1"
        assert resolve(call, PINNED).tag == "t9"
        eventually(lambda: resolve(call).stale)
        # This worker may not have looked at the store yet.
        eventually(lambda: refusal(call, "Release", component=C, tag="evil")[0] == "STORE_RESET")
        for method, fields in (
            ("Release", {"tag": "evil"}),
            ("Rollback", {}),
            ("SetOverride", {"repo": "a", "tag": "b"}),
        ):
            reason, said = refusal(call, method, component=C, **fields)
            assert reason == "STORE_RESET"
            assert "this server last served 1 component at 20" in said
            assert "From a copy of the store's files: stop the server, put the copy back, start it." in said
        assert refusal(call, "GetRollout", component=C)[0] == "STORE_RESET"
        assert health(call) == {
            "": "NOT_SERVING",
            "rampd.v1.ResolverService": "SERVING",
            "rampd.v1.ReleaseService": "NOT_SERVING",
            "rampd.v1.RolloutService": "NOT_SERVING",
        }
        assert "this server last served 1 component at 20" in server.event("waiting_for_store")["error"]

        # The command in the message must work unchanged.
        command = said.split("`")[1]
        assert command == shlex.join([sys.executable, "-m", "rampd_server", "adopt", *how_to_adopt])
        subprocess.run(command, shell=True, check=True, capture_output=True, timeout=60)
        server.event("replica_loaded")
        eventually(lambda: health(call)[""] == "SERVING")
        answer = call("Release", component=C, tag="t5")
        assert (answer.disposition, answer.release) == (1, 1)
        assert resolve(call).tag == "t5"


@pytest.mark.parametrize("flags", [(), ("--no-wait-for-store",), ("--workers", "2")])
def test_a_restarted_server_does_not_take_an_emptied_store_for_a_new_store(
    directory: Path, store: StoreServer, flags: tuple[str, ...]
) -> None:
    with serving(store, directory, *flags) as server:
        server.event("serving")
        begin(server)
        eventually_kept(directory, "t9")
        assert server.stop() == 0
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
        with serving(store, directory, *flags) as server:
            server.event("waiting_for_store")
            assert not client.keys("*")
            check_is_reset(server, "--redis-url", store.url)


def test_a_store_that_another_server_began_again_is_not_accepted_either(directory: Path, store: StoreServer) -> None:
    with serving(store, directory / "a") as server:
        server.event("serving")
        begin(server)
        eventually_kept(directory / "a", "t9")
        server.stop(signal.SIGKILL)
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    with serving(store, directory / "b") as other, serving(store, directory / "a") as server:
        other.event("serving")
        server.event("serving_last_state")
        with stubs(other.target) as call:
            call("Release", component=C, tag="evil")
        with stubs(server.target) as call:
            eventually(lambda: "has another epoch, " in refusal(call, "Release", component=C, tag="t3")[1])
            assert refusal(call, "Release", component=C, tag="t3")[0] == "STORE_RESET"
            assert (resolve(call).tag, resolve(call, EARLY).tag, resolve(call).stale) == ("t1", "t1", True)
            adopt("--redis-url", store.url)
            eventually(lambda: resolve(call).tag == "evil")


def test_deleted_data_of_the_embedded_store_are_noticed_and_a_deleted_directory_is_a_new_start(
    directory: Path,
) -> None:
    with rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        begin(server)
        assert server.stop() == 0
    shutil.rmtree(directory / "valkey")
    with rampd_server(directory, "--insecure-admin") as server:
        check_is_reset(server, "--data-dir", str(directory))
        server.stop()
    for each in directory.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    with rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            assert call("Release", component=C, tag="t1").release == 1


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_answers_before_its_store_is_there(directory: Path, end: signal.Signals) -> None:
    """After an orderly end the server knows how old its state is. After a kill it does not know what it served last, so it does
    not give next.
    """
    (directory / "redis").mkdir()
    aof = {"directory": directory / "redis", "appendonly": "yes", "appendfsync": "always"}
    with contextlib.ExitStack() as redis_runs:
        store = redis_runs.enter_context(store_server(REDIS, **aof))
        with serving(store, directory) as server:
            server.event("serving")
            begin(server)
            file = eventually_kept(directory, "t9")
            server.stop(end)
        redis_runs.close()
        with serving(store, directory) as server:
            server.event("serving_last_state")
            with stubs(server.target) as call:
                answers = [resolve(call), resolve(call, PINNED), resolve(call, EARLY)]
                assert [each.tag for each in answers] == ["t1", "t9", "t2" if end is signal.SIGTERM else "t1"]
                assert (answers[0].snapshot_age.seconds < 300) is (end is signal.SIGTERM)
                assert refusal(call, "Release", component=C, tag="t3")[0] == "NO_SNAPSHOT"
                eventually(lambda: resolve(call).stale)
                with Resolver(server.target, timeout=60) as resolver:
                    assert resolver.resolve(C, repo="acme/app").tag == "t1"
                with redis_runs:
                    redis_runs.enter_context(store_server(REDIS, **aof))
                    server.event("serving")
                    answer = resolve(call, EARLY)
                    assert (answer.tag, answer.stale) == ("t2", False)
                    assert call("Release", component=C, tag="t3").release == 3
    assert file.stat().st_mode & 0o777 == 0o600


def eventually_kept(directory: Path, word: str) -> Path:
    """Waits until a last state contains the word, and returns its file. It is written at most every 10 s."""
    found: list[Path] = []

    def is_kept() -> bool:
        found[:] = [file for file in last_states(directory) if word in file.read_text()]
        return bool(found)

    eventually(is_kept)
    return found[0]


def test_with_no_wait_for_store_a_missing_store_ends_the_start_despite_a_last_state(directory: Path) -> None:
    with store_server(REDIS) as store, serving(store, directory) as server:
        server.event("serving")
        begin(server)
        server.stop()
    with serving(store, directory, "--no-wait-for-store") as server:
        assert server.process.wait(60) == 2


def test_with_an_unusable_last_state_file_an_empty_store_is_not_begun(directory: Path, store: StoreServer) -> None:
    with serving(store, directory) as server:
        server.event("serving")
        server.stop()
    [file] = last_states(directory)
    file.chmod(0o644)
    with serving(store, directory) as server:
        assert "its mode is 0644" in server.event("last_state_not_read")["error"]
        server.event("serving")
        server.stop()
    file.chmod(0o644)
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
        with serving(store, directory) as server:
            said = server.event("waiting_for_store")["error"]
            assert (
                f"The namespace is empty. The file {file} (what this server last served) is not used: its mode is 0644"
                in said
            )
            assert (
                ", so this server does not know whether the namespace was emptied. If it is new, remove that file. To get"
                in said
            )
            with stubs(server.target) as call:
                assert refusal(call, "Release", component=C, tag="evil")[0] == "STORE_RESET"
            assert not client.keys("*")
            file.unlink()
            server.stop()
    with serving(store, directory) as server:
        server.event("serving")


def test_servers_that_share_a_directory_remember_each_store_and_namespace(directory: Path) -> None:
    with (
        store_server(REDIS) as store,
        store_server(VALKEY) as other,
        serving(store, directory) as first,
        serving(store, directory, "--socket", str(directory / "2.sock")) as second,
        serving(store, directory, "--socket", str(directory / "3.sock"), "--namespace", "n") as third,
        serving(other, directory, "--socket", str(directory / "4.sock")) as fourth,
    ):
        for server in (first, second, third, fourth):
            server.event("serving")
        begin(first)
        begin(fourth)
        eventually_kept(directory, "t9")
        # It writes what it knows when it stops.
        with stubs(second.target) as call:
            eventually(lambda: resolve(call, PINNED).tag == "t9", suppressed=grpc.RpcError)
        second.stop()
        first.stop(signal.SIGKILL)
        third.stop()
        fourth.stop()
        with redis.Redis.from_url(store.url) as client:
            client.flushall()
        assert len(last_states(directory)) == 3
        assert not [each for each in directory.iterdir() if each.name.startswith(".last-state")]
        with serving(store, directory) as server:
            check_is_reset(server, "--redis-url", store.url)


def test_a_password_is_never_written(directory: Path, store: StoreServer) -> None:
    with redis.Redis.from_url(store.url) as client:
        client.execute_command("ACL SETUSER wilhelm on >s3cr3t ~* &* +@all")
    url = f"unix://wilhelm:s3cr3t@{store.url.removeprefix('unix://')}"
    with rampd_server(directory, "--insecure-admin", "--redis-url", url) as server:
        server.event("serving")
        begin(server)
        server.stop()
    content = last_states(directory)[0].read_text()
    assert "t9" in content
    assert "s3cr3t" not in content
    assert "wilhelm" not in content


def test_a_last_state_that_can_not_be_written_is_logged_once_and_the_server_goes_on(store: StoreServer) -> None:
    with short_directory() as directory, short_directory() as other:
        (directory / "file").touch()
        with serving(store, directory / "file" / "data", "--socket", str(other / "rampd.sock")) as server:
            server.event("serving")
            assert "Not a directory" in server.event("last_state_not_written")["error"]
            begin(server)
            assert server.stop() == 0
        assert sum(line["event"] == "last_state_not_written" for line in server.log) == 1


@pytest.mark.parametrize("is_remembered", [True, False])
@pytest.mark.parametrize("has_file", [True, False])
def test_a_launcher_keeps_its_versions_until_an_operator_adopts(
    directory: Path, store: StoreServer, is_remembered: bool, has_file: bool
) -> None:
    """Given an emptied store, and on it the same server or a server without a last state, expect that launchers keep current.
    They keep it for longer than they keep next.
    """
    max_stale_s = 1.0
    snapshot = directory / "launcher.snapshot" if has_file else None
    with contextlib.ExitStack() as stack:
        target = free_address()
        server = stack.enter_context(serving(store, directory, "--listen", target))
        server.event("serving")
        begin(server)

        def launcher(**more: Any) -> Resolver:
            options: dict[str, Any] = {"next_max_stale": max_stale_s, "snapshot_file": snapshot, "timeout": 60, **more}
            return stack.enter_context(Resolver(target, **options))

        running = launcher()
        # On a busy machine, its state may be too old for next at a moment.
        eventually(lambda: running.resolve(C, repo=EARLY).tag == "t2")
        if has_file:
            running.close()
            running = launcher()
        server.stop()
        with redis.Redis.from_url(store.url) as client:
            client.flushall()
        data = directory if is_remembered else directory / "new"
        server = stack.enter_context(serving(store, data, "--listen", target))
        server.event("serving_last_state" if is_remembered else "serving")
        if not is_remembered:
            with stubs(target) as call:
                call("Release", component=C, tag="evil")
        launchers = [running]
        if has_file:
            # One new launcher that starts from the first launcher's file, and one that also watches fewer components.
            launchers += [launcher(), launcher(components=(C,))]
        for each in launchers:
            assert each.resolve(C, repo=PINNED).tag == "t9"
        eventually(lambda: all("adopt" in each.status().error or each.status().connected for each in launchers))
        eventually(lambda: all(each.resolve(C, repo=EARLY).snapshot_age_s > 2 * max_stale_s for each in launchers))
        end = time.monotonic() + 2 * max_stale_s
        while time.monotonic() < end:
            for each in launchers:
                assert (each.resolve(C, repo=EARLY).tag, each.resolve(C, repo=PINNED).tag) == ("t1", "t9")
            time.sleep(0.05)
        adopt("--redis-url", store.url)
        with stubs(target) as call:
            eventually(lambda: released(call))
            eventually(lambda: all(tag_of(each) == "t7" for each in launchers), within_s=60)
            for each in launchers:
                # If another change follows at once, the age comes with that change, a moment after the state.
                eventually(lambda each=each: not each.resolve(C, repo=EARLY).stale)


def tag_of(launcher: Resolver) -> str | None:
    """None: the store has no component yet, and the launcher has kept the version of before for long enough."""
    with contextlib.suppress(NoVersionError):
        return launcher.resolve(C, repo=EARLY).tag
    return None


def released(call: Stubs) -> bool:
    with contextlib.suppress(grpc.RpcError):
        call("Release", component=C, tag="t7", expedite=True)
        return True
    return False
