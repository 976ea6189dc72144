"""`rampd doctor` against real servers, and against what is no server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from rampd import Admin, v1
from rampd._contract.token import new_token
from rampd.testing import RampdServer
from rampd_server import testing
from rampd_server.listeners import Listening
from tests.authority import Authority
from tests.cli.conftest import Ran, Run, be_impatient
from tests.rpc.access_table import Tokens
from tests.servers import short_directory
from tests.stores import REDIS, VALKEY, store_server
from tests.waiting import eventually

ALL = [
    *("reach", "tls", "credentials", "version", "store", "staleness", "components", "persistence", "memory", "clock"),
    "exposure",
]


@dataclass(frozen=True)
class Checks:
    """What the command says, by the name of the check."""

    ran: Ran

    @property
    def of(self) -> dict[str, dict[str, str]]:
        return {each["check"]: each for each in self.ran.json["checks"]}

    def __getitem__(self, check: str) -> tuple[str, str]:
        found = self.of[check]
        return found["result"], f"{found['message']} {found['advice']}"

    def bad(self) -> dict[str, str]:
        return {check: each["result"] for check, each in self.of.items() if each["result"] != "ok"}


def doctor(run: Run, *servers: str) -> Checks:
    ran = run("doctor", *(word for server in servers for word in ("--server", server)), "-o", "json")
    assert ran.err == ""
    return Checks(ran)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@dataclass(frozen=True)
class Place:
    """A server at a plain address and at one with TLS, with an access file."""

    listening: Listening
    plain: str
    port: int
    ca_file: Path
    tokens: Tokens


@contextlib.contextmanager
def serving(
    authority: Authority, *names: str, life: timedelta = timedelta(days=30), **settings: Any
) -> Iterator[Place]:
    with short_directory() as directory:
        certificate, key = authority.issue(*(names or ("localhost", "127.0.0.1")), life=life).write(directory, "server")
        tokens = Tokens(directory / "access.toml")
        for role in ("launcher", "viewer", "operator"):
            tokens.grant(role, role)
        soon = datetime.now(UTC) + timedelta(days=3, hours=12)
        tokens.grant("leaving", "operator", f"expires = {soon:%Y-%m-%dT%H:%M:%SZ}", 'components = ["a", "b-*"]')
        given = {
            "access_file": tokens.path,
            "insecure_admin": False,
            "tls_cert": certificate,
            "tls_key": key,
            "listen": "https://127.0.0.1:0 http://127.0.0.1:0",
            "http": "http://127.0.0.1:0",
            **settings,
        }
        with testing.listening(directory, **given) as found, Admin(f"unix:{directory}/rampd.sock") as admin:
            plain = next(each.address for each in admin.get_server().listeners if not each.tls)
            yield Place(found, plain, found.grpc.port, authority.write(directory), tokens)


@pytest.fixture(scope="module")
def place(authority: Authority) -> Iterator[Place]:
    with serving(authority) as found:
        yield found


def test_where_all_is_well_nothing_is_a_problem(rampd: Run, rampd_server: RampdServer) -> None:
    said = doctor(rampd)
    assert list(said.of) == ALL
    # Every user of the machine may change rollouts: `make run` and tests have it so.
    assert said.bad() == {"exposure": "warning"}
    assert "--insecure-admin" in said["exposure"][1]
    assert said.ran.code == 0
    assert "(RAMPD_SERVER) answers in" in said["reach"][1]
    assert "which the server runs itself" in said["store"][1]
    assert {each["server"] for each in said.of.values()} == {rampd_server.target}


def test_plain_output_is_one_line_for_each_check_with_stable_columns(rampd: Run, rampd_server: RampdServer) -> None:
    ran = rampd("doctor")
    assert [row[1] for row in ran.rows] == ALL
    assert {len(row) for row in ran.rows} == {5}
    assert {row[0] for row in ran.rows} == {rampd_server.target}
    assert {row[2] for row in ran.rows} == {"ok", "warning"}


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_table_has_what_to_do_below_each_warning(rampd: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ran = rampd("doctor", "-o", "table")
    assert max(map(len, ran.out.splitlines())) <= int(columns)
    assert [line.split()[1] for line in ran.out.splitlines() if line.startswith(("ok ", "warning "))] == ALL
    assert "Start the server with --access-file" in ran.out
    assert ran.out.splitlines()[-1] == "0 problems, 1 warning, 10 ok."


class TestNobodyThere:
    def test_no_server_is_named_and_none_runs_here(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rampd_cli.place.LOOPBACK", "127.0.0.1:1")
        monkeypatch.setattr("rampd_cli.diagnosis.gathering.LOOPBACK", "127.0.0.1:1")
        monkeypatch.setattr("rampd_cli.place._sockets", lambda _environment: iter(()))
        said = doctor(run)
        assert (said.ran.code, said.bad()) == (3, {"reach": "problem"})
        assert "If there is none yet, start one here: rampd-server" in said["reach"][1]

    def test_no_server_is_named_and_the_one_that_has_run_here_is_stopped(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("rampd_cli.place.LOOPBACK", "127.0.0.1:1")
        monkeypatch.setattr("rampd_cli.diagnosis.gathering.LOOPBACK", "127.0.0.1:1")
        (tmp_path / "state" / "rampd").mkdir(parents=True)
        said = doctor(run)
        assert (said.ran.code, said.bad()) == (3, {"reach": "problem"})
        assert f"its data are in {tmp_path}/state/rampd" in said["reach"][1]
        assert "rampd-server" not in said["reach"][1]

    @pytest.mark.parametrize(
        ("server", "part"),
        [
            ("127.0.0.1:1", "Nothing listens at 127.0.0.1:1"),
            ("rampd.invalid:50051", "There is no host rampd.invalid"),
            ("unix:/tmp/there/is/none.sock", "There is no socket /tmp/there/is/none.sock"),
            ("http://127.0.0.1:1", "is not an address of a server"),
        ],
    )
    def test_it_says_what_is_missing_and_ends_with_3(self, run: Run, server: str, part: str) -> None:
        said = doctor(run, server)
        assert (said.ran.code, said.bad()) == (3, {"reach": "problem"})
        assert part in said["reach"][1]

    def test_a_socket_that_is_no_server_s(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        said = doctor(run, f"unix:{tmp_path}/file")
        assert (said.ran.code, said["reach"][0]) == (3, "problem")

    def test_a_program_that_takes_connections_and_never_answers(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        be_impatient(monkeypatch)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            said = doctor(run, f"127.0.0.1:{silent.getsockname()[1]}")
        assert (said.ran.code, said.bad()) == (3, {"reach": "problem"})
        assert "has not answered WhoAmI in time" in said["reach"][1]


class TestTls:
    def test_tls_that_is_in_order_says_until_when(
        self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAMPD_CA_FILE", str(place.ca_file))
        monkeypatch.setenv("RAMPD_TOKEN", place.tokens.of["operator"])
        said = doctor(run, f"https://localhost:{place.port}")
        assert (said.ran.code, said.bad()) == (0, {})
        assert "valid until" in said["tls"][1]

    def test_plain_text_at_a_port_with_tls(self, run: Run, place: Place) -> None:
        said = doctor(run, f"127.0.0.1:{place.port}")
        assert (said.ran.code, said["tls"][0], said["reach"][0]) == (3, "problem", "problem")
        assert f"rampd doctor --server https://127.0.0.1:{place.port}" in said["tls"][1]

    def test_tls_at_a_port_without_it(self, run: Run, place: Place) -> None:
        said = doctor(run, f"https://{place.plain}")
        assert (said.ran.code, said["tls"][0]) == (3, "problem")
        assert f"rampd doctor --server {place.plain}" in said["tls"][1]

    def test_the_port_of_http(self, run: Run, place: Place) -> None:
        said = doctor(run, str(place.listening.http))
        assert (said.ran.code, said.bad()) == (3, {"reach": "problem"})
        assert "not the port of --http" in said["reach"][1]

    def test_an_authority_that_nobody_trusts(self, run: Run, place: Place) -> None:
        said = doctor(run, f"https://127.0.0.1:{place.port}")
        assert (said.ran.code, said["tls"][0]) == (3, "problem")
        assert "Its issuer is the test's authority" in said["tls"][1]
        assert "export RAMPD_CA_FILE=FILE" in said["tls"][1]

    def test_authorities_that_can_t_be_read(self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAMPD_CA_FILE", "/tmp/there/is/none.pem")
        said = doctor(run, f"https://127.0.0.1:{place.port}")
        assert (said.ran.code, said["tls"][0]) == (3, "problem")
        assert "/tmp/there/is/none.pem can't be read" in said["tls"][1]

    def test_a_certificate_for_another_name(
        self, run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(authority, "rampd.example.com") as other:
            monkeypatch.setenv("RAMPD_CA_FILE", str(other.ca_file))
            said = doctor(run, f"https://localhost:{other.port}")
        assert (said.ran.code, said["tls"][0]) == (3, "problem")
        assert "is for rampd.example.com, and not for localhost" in said["tls"][1]
        assert f"rampd doctor --server https://rampd.example.com:{other.port}" in said["tls"][1]

    def test_a_certificate_that_has_ended(
        self, run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(authority, life=timedelta(hours=-1)) as other:
            monkeypatch.setenv("RAMPD_CA_FILE", str(other.ca_file))
            said = doctor(run, f"https://localhost:{other.port}")
        assert (said.ran.code, said["tls"][0]) == (3, "problem")
        assert "The certificate of the server has ended" in said["tls"][1]
        assert "--tls-cert and --tls-key" in said["tls"][1]

    def test_a_certificate_that_ends_soon(
        self, run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(authority, life=timedelta(days=13, hours=12)) as other:
            monkeypatch.setenv("RAMPD_CA_FILE", str(other.ca_file))
            monkeypatch.setenv("RAMPD_TOKEN", other.tokens.of["viewer"])
            said = doctor(run, f"https://localhost:{other.port}")
        assert (said.ran.code, said.bad()) == (0, {"tls": "warning"})
        assert "ends in 13 days" in said["tls"][1]
        assert "--tls-cert and --tls-key" in said["tls"][1]

    def test_a_server_that_wants_a_certificate_of_its_callers(
        self, run: Run, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with short_directory() as directory:
            ca_file = authority.write(directory)
            with serving(authority, tls_client_ca=ca_file) as other:
                monkeypatch.setenv("RAMPD_CA_FILE", str(ca_file))
                said = doctor(run, f"https://localhost:{other.port}")
        assert (said.ran.code, said["tls"][0]) == (3, "problem")
        assert "export RAMPD_CERT_FILE=FILE RAMPD_KEY_FILE=FILE" in said["tls"][1]


class TestCredentials:
    def test_none(self, run: Run, place: Place) -> None:
        said = doctor(run, place.plain)
        assert (said.ran.code, said.bad()) == (1, {"credentials": "problem"})
        assert "rampd-server token create NAME" in said["credentials"][1]
        assert "export RAMPD_TOKEN_FILE=FILE" in said["credentials"][1]

    def test_one_of_another_server(self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAMPD_TOKEN", new_token())
        said = doctor(run, place.plain)
        assert (said.ran.code, said["credentials"][0]) == (1, "problem")
        assert "The credential of RAMPD_TOKEN is not accepted. No grant of the access file" in said["credentials"][1]

    def test_one_that_is_cut_is_not_sent_and_not_shown(
        self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = new_token()
        monkeypatch.setenv("RAMPD_TOKEN", token[:-1])
        said = doctor(run, place.plain)
        assert (said.ran.code, said["credentials"][0]) == (3, "problem")
        assert "Correct RAMPD_TOKEN." in said["credentials"][1]
        assert token[:20] not in said.ran.out

    def test_a_file_without_a_token(self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAMPD_TOKEN_FILE", "/tmp/there/is/none")
        said = doctor(run, place.plain)
        assert (said.ran.code, said["credentials"][0]) == (1, "problem")
        assert "/tmp/there/is/none can't be read" in said["credentials"][1]

    def test_one_that_ends_soon(self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAMPD_TOKEN", place.tokens.of["leaving"])
        said = doctor(run, place.plain)
        assert (said.ran.code, said.bad()) == (0, {"credentials": "warning"})
        assert "leaving with the role operator, which reads and changes rollouts, for a, b-*" in said["credentials"][1]
        assert "It ends in 3 days" in said["credentials"][1]

    def test_one_that_only_reads_sees_all_checks(self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAMPD_TOKEN", place.tokens.of["viewer"])
        said = doctor(run, place.plain)
        assert (said.ran.code, list(said.of), said.bad()) == (0, ALL, {})
        assert "reads and changes nothing" in said["credentials"][1]

    def test_that_of_a_launcher(self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAMPD_TOKEN", place.tokens.of["launcher"])
        said = doctor(run, place.plain)
        assert (said.ran.code, said.bad()) == (0, {"credentials": "warning", "version": "warning"})

    def test_a_token_for_a_server_beyond_this_machine_without_tls(
        self, run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAMPD_TOKEN", place.tokens.of["viewer"])
        said = doctor(run, "rampd.invalid:50051")
        assert (said.ran.code, said["credentials"][0]) == (3, "problem")
        assert "--server https://rampd.invalid:50051" in said["credentials"][1]


class TestServer:
    def test_an_older_server_is_a_warning(self, run: Run) -> None:
        """Given a server that has WhoAmI, and no GetServer."""

        def who(_request: v1.WhoAmIRequest, _context: Any) -> v1.WhoAmIResponse:
            return v1.WhoAmIResponse(identity="anonymous", role="admin", components=["*"], proof="none")

        method = grpc.unary_unary_rpc_method_handler(
            who, v1.WhoAmIRequest.FromString, v1.WhoAmIResponse.SerializeToString
        )
        server = grpc.server(futures.ThreadPoolExecutor(1))
        handlers = grpc.method_handlers_generic_handler("rampd.v1.RolloutService", {"WhoAmI": method})
        server.add_generic_rpc_handlers((handlers,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            said = doctor(run, f"127.0.0.1:{port}")
        finally:
            server.stop(0).wait()
        assert (said.ran.code, said.bad()) == (0, {"version": "warning"})
        assert "older than this command" in said["version"][1]
        assert "pip install --upgrade 'rampd[server]'" in said["version"][1]

    def test_a_store_that_hangs_is_a_problem(self, run: Run) -> None:
        with (
            store_server(VALKEY) as store,
            short_directory() as directory,
            testing.run(directory, store.url) as target,
        ):
            store.signal(signal.SIGSTOP)
            try:
                with Admin(target) as admin:
                    eventually(lambda: admin.get_server().stale)
                said = doctor(run, target)
            finally:
                store.signal(signal.SIGCONT)
        assert said.ran.code == 1
        assert {check for check, result in said.bad().items() if result == "problem"} == {"store", "staleness"}
        assert "did not answer in time" in said["store"][1]

    def test_a_redis_that_may_lose_what_it_has_is_named(self, run: Run) -> None:
        with (
            store_server(REDIS, maxmemory="10mb") as store,
            short_directory() as directory,
            testing.run(directory, store.url) as target,
        ):
            said = doctor(run, target)
        assert (said.ran.code, said["persistence"][0]) == (0, "warning")
        assert "CONFIG SET appendonly yes" in said["persistence"][1]
        assert "of 10 MiB (maxmemory)" in said["memory"][1]
        assert "Redis 7" in said["store"][1]


class TestSeveral:
    def test_servers_of_one_store_are_the_same(self, run: Run) -> None:
        with (
            store_server(VALKEY) as store,
            short_directory() as one,
            short_directory() as two,
            testing.run(one, store.url) as first,
            testing.run(two, store.url) as second,
        ):
            with Admin(first) as admin:
                admin.release("restyler", "1.0")
            said = doctor(run, first, second)
        same = {check: each for check, each in said.of.items() if check.startswith("same_")}
        assert {check: each["result"] for check, each in same.items()} == dict.fromkeys(
            ("same_version", "same_namespace", "same_store", "same_state"), "ok"
        )
        assert {each["server"] for each in same.values()} == {""}
        assert {each["server"] for each in said.ran.json["checks"]} == {first, second, ""}
        assert said.ran.code == 0

    @pytest.mark.parametrize(("namespace", "check"), [("default", "same_store"), ("eu", "same_namespace")])
    def test_servers_of_different_stores_or_namespaces_are_named(self, run: Run, namespace: str, check: str) -> None:
        with (
            short_directory() as one,
            short_directory() as two,
            testing.run(one) as first,
            testing.run(two, namespace=namespace) as second,
        ):
            said = doctor(run, first, second)
        assert (said.ran.code, said[check][0]) == (1, "problem")
        assert first in said[check][1]
        assert second in said[check][1]

    def test_one_that_is_not_reached_is_named_and_the_others_are_asked(
        self, rampd: Run, rampd_server: RampdServer
    ) -> None:
        said = doctor(rampd, "127.0.0.1:1", rampd_server.target)
        assert said.ran.code == 3
        assert [each["check"] for each in said.ran.json["checks"] if each["server"] == rampd_server.target] == ALL
        assert [each["check"] for each in said.ran.json["checks"] if each["server"] == "127.0.0.1:1"] == ["reach"]


def test_a_failed_handshake_writes_nothing_but_the_answer(place: Place) -> None:
    """As a process of its own: gRPC would write lines of its own to stderr."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAMPD_", "GRPC_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "rampd_cli", "doctor", "--server", f"https://127.0.0.1:{place.port}"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (3, "")
    assert [line.split("\t")[1] for line in ran.stdout.splitlines()] == ["reach", "tls"]
