"""`--workers N`: several processes on one port, as one server."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from rampd import v1
from tests.authority import Authority
from tests.processes import children, command_line, has_ended, is_reaped
from tests.rpc.access_table import Tokens, status
from tests.servers import ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.stores import VALKEY, store_server
from tests.waiting import eventually


@contextlib.contextmanager
def two_workers(directory: Path, *flags: str) -> Iterator[ServerProcess]:
    """Starts a server with two workers, and waits until both serve."""
    with rampd_server(directory, "--insecure-admin", "--workers", "2", *flags) as server:
        eventually(lambda: serving(server) == {0, 1})
        yield server


def serving(server: ServerProcess) -> set[int]:
    return {line["worker"] for line in server.log if line["event"] == "serving"}


def process_ids(server: ServerProcess) -> set[int]:
    """Returns the process ids of the running workers."""
    return {pid for pid in children(server.process.pid) if "spawn_main" in command_line(pid)}


def test_every_worker_answers_on_the_one_port(directory: Path) -> None:
    with two_workers(directory) as server:
        assert {line["address"] for line in server.log if line["event"] == "listening"} == {server.target}
        with contextlib.ExitStack() as stack:
            # Each channel is a connection, which one of the two workers gets.
            calls = [stack.enter_context(stubs(server.target)) for _ in range(24)]
            calls[0]("Release", component="restyler", tag="t1")
            revision = calls[1]("SetOverride", component="restyler", repo="acme/app", tag="pb/x").revision
            for call in calls:
                answer = call("Resolve", component="restyler", repo="acme/app", min_revision=revision)
                assert answer.tag == "pb/x"
            assert len(answering(server.target, process_ids(server))) == 2


def test_every_worker_answers_on_each_of_several_addresses(directory: Path) -> None:
    """Given an address with TLS and one in plain text, expect that each of them is one address of both workers."""
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    flags = ("--listen", "http://127.0.0.1:0", "--tls-cert", str(certificate), "--tls-key", str(key))
    with two_workers(directory, *flags) as server, contextlib.ExitStack() as stack:
        listening = {(line["address"], line["tls"]) for line in server.log if line["event"] == "listening"}
        [secure], [clear] = ([address for address, has_tls in listening if has_tls is kind] for kind in (True, False))
        trusted = grpc.ssl_channel_credentials(authority.certificate)
        options = [("grpc.use_local_subchannel_pool", 1)]
        over_tls = [stack.enter_context(grpc.secure_channel(secure, trusted, options)) for _ in range(24)]
        calls = [*map(Stubs, over_tls), *(stack.enter_context(stubs(clear)) for _ in range(24))]
        revision = calls[0]("Release", component="restyler", tag="t1").revision
        for call in calls:
            assert call("Resolve", component="restyler", repo="acme/app", min_revision=revision).tag == "t1"
        for address in (secure, clear):
            assert len(answering(address, process_ids(server))) == 2


def answering(target: str, workers: set[int]) -> set[int]:
    """Returns the workers that hold a connection to a client."""
    port = f":{int(target.rpartition(':')[2]):04X} "
    established = {
        line.split()[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "01" and f"{line.split()[1]} ".endswith(port)
    }
    return {pid for pid in workers if established & sockets(pid)}


def sockets(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            link = str(descriptor.readlink())
            if link.startswith("socket:["):
                found.add(link[8:-1])
    return found


def test_each_worker_tells_of_itself_and_of_all_addresses_of_the_server(directory: Path) -> None:
    with two_workers(directory) as server, contextlib.ExitStack() as stack:
        calls = [stack.enter_context(stubs(server.target)) for _ in range(24)]
        told = [call("GetServer").server for call in calls]
        assert len({each.start_time.ToNanoseconds() for each in told}) == 2
        assert {tuple(listener.address for listener in each.listeners) for each in told} == {
            (server.target, f"unix://{server.socket}")
        }
        assert {each.store.embedded for each in told} == {True}


def test_the_unix_socket_is_served_too(directory: Path) -> None:
    with two_workers(directory) as server, stubs(f"unix:{server.socket}") as call:
        assert call("Release", component="restyler", tag="t1").disposition == v1.DISPOSITION_BOOTSTRAPPED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_all_workers_in_order(directory: Path, number: signal.Signals) -> None:
    with two_workers(directory) as server:
        workers = process_ids(server)
        assert server.stop(number) == 0
        assert all(is_reaped(pid) for pid in workers)
        assert [line["worker"] for line in server.log if line["event"] == "stopping" and "worker" in line]
        assert not server.socket.exists() or refuses(server.socket)
        assert_free(server.target)


def refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) != 0


def assert_free(target: str) -> None:
    host, _, port = target.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, int(port)))


def test_a_worker_that_dies_is_started_again(directory: Path) -> None:
    with two_workers(directory) as server:
        with stubs(f"unix:{server.socket}") as call:
            call("Release", component="restyler", tag="t1")
        before = process_ids(server)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(after := process_ids(server)) == 2 and not after & before)
        server.event("worker_died")
        with stubs(server.target) as tcp, stubs(f"unix:{server.socket}") as unix:
            for call in (tcp, unix):
                eventually(lambda call=call: resolves(call))
        assert server.stop() == 0


def test_a_worker_that_dies_while_the_access_file_is_broken_does_not_end_the_others(directory: Path) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    with rampd_server(directory, "--access-file", str(tokens.path), "--workers", "2") as server:
        eventually(lambda: serving(server) == {0, 1})
        # In one step: no worker must see a file that is half written.
        broken = tokens.path.with_name("broken")
        broken.write_text("[[grant]]\n")
        broken.replace(tokens.path)
        refused = "access_file_refused"
        eventually(lambda: {line["worker"] for line in list(server.log) if line["event"] == refused} == {0, 1})
        os.kill(max(process_ids(server)), signal.SIGKILL)
        server.event("worker_not_started")
        with grpc.insecure_channel(server.target) as channel:
            assert status(channel, "WhoAmI", v1.WhoAmIRequest(), tokens.metadata("ops")) == "OK"
        tokens.write()
        eventually(lambda: sum(line["event"] == "serving" for line in server.log) == 3)
        assert server.stop() == 0


def resolves(call: Stubs) -> bool:
    with contextlib.suppress(Exception):
        return call("Resolve", component="restyler", repo="acme/app").tag == "t1"
    return False


def test_workers_end_with_the_process_that_started_them(directory: Path) -> None:
    # Not the embedded store: the kill would leave a Valkey running.
    with store_server(VALKEY) as store, two_workers(directory, "--redis-url", store.url) as server:
        workers = process_ids(server)
        server.stop(signal.SIGKILL)
        eventually(lambda: all(has_ended(pid) for pid in workers))


def test_a_second_server_on_the_port_is_refused(directory: Path) -> None:
    with two_workers(directory) as server, short_directory() as other:
        flags = ("--listen", server.target, "--workers", "2")
        with rampd_server(other, *flags) as second:
            assert second.process.wait(60) == 2
            second.stop()
            assert any(server.target in line for line in second.said), second.said


def test_a_worker_that_can_not_start_ends_all_with_a_sentence(directory: Path) -> None:
    with rampd_server(directory, "--workers", "2", "--redis-url", "unix:///nowhere", "--no-wait-for-store") as server:
        assert server.process.wait(60) == 2
        server.stop()
        assert any("Redis" in line for line in server.said), server.said
        assert "Traceback" not in "\n".join(server.said)
