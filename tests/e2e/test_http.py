"""The port for HTTP of a server as a process: who reaches it, connections that are slow, wrong or many, TLS, and the end."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rampd_server.http import server as http_server
from tests.authority import Authority
from tests.over_http import END, envelope, envelopes
from tests.rpc.access_table import Tokens
from tests.servers import IN_PRODUCTION_S, ServerProcess, program_of, rampd_server, require, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

HTTP = ("--http", "127.0.0.1:0")
RESOLVE, WATCH = "/rampd.v1.ResolverService/Resolve", "/rampd.v1.ResolverService/Watch"
JSON = {"content-type": "application/json"}


def address(server: ServerProcess) -> str:
    return str(server.event("listening_http")["address"])


@contextlib.contextmanager
def client(server: ServerProcess, **options: Any) -> Iterator[httpx.Client]:
    scheme = "https" if server.event("listening_http")["tls"] else "http"
    with httpx.Client(base_url=f"{scheme}://{address(server)}", timeout=30, trust_env=False, **options) as made:
        yield made


def opened(server: ServerProcess) -> socket.socket:
    host, _, port = address(server).rpartition(":")
    made = socket.create_connection((host, int(port)), timeout=30)
    made.settimeout(30)
    return made


def said(connection: socket.socket) -> bytes:
    """Everything that the server sends until it closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    return data


def lines(*words: str) -> bytes:
    return "\r\n".join([*words, "", ""]).encode()


# Who reaches it


def test_without_the_flag_nothing_is_served_over_http(directory: Path) -> None:
    with rampd_server(directory) as server:
        server.event("serving")
        assert not any(line.get("event") == "listening_http" for line in server.log)


def test_the_welcome_names_the_port(directory: Path) -> None:
    with rampd_server(directory, *HTTP) as server:
        eventually(lambda: any("Ctrl-C" in line for line in server.said))
        assert f"For HTTP it listens on http://{address(server)}." in "\n".join(server.said)


@pytest.mark.parametrize("has_tls", [False, True])
def test_the_commands_of_the_welcome_work(directory: Path, authority: Authority, has_tls: bool) -> None:
    """With TLS also with a token, which nobody sees in the list of processes."""
    require("curl")
    require("grpcurl")
    flags, token = (*HTTP, "--insecure-admin"), ""
    if has_tls:
        tokens = Tokens(directory / "access.toml")
        token = tokens.grant("ops", "admin")
        flags = (*with_tls(directory, authority), "--access-file", str(tokens.path))
    with rampd_server(directory, *flags) as server:
        server.event("serving")
        eventually(lambda: any("Ctrl-C" in line for line in server.said))
        tried = [line for line in server.said if line.startswith("  ")]
        assert [program_of(line) for line in tried] == ["rampd", *3 * ["grpcurl"], "curl"]
        for line in tried:
            done = subprocess.run(
                ["sh", "-c", line], env={**os.environ, "RAMPD_TOKEN": token},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["tag"] == "20200301"


@pytest.mark.parametrize(
    ("host", "is_served"),
    [("127.0.0.1", True), ("localhost:1", True), ("127.9.9.9:8080", True), ("[::1]:8080", True), ("LOCALHOST", True),
     ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example:80", False), ("10.0.0.1", False),
     ("a@localhost.evil", False), ("[::1", False), ("", False)],
)  # fmt: skip
def test_on_the_loopback_only_names_of_the_machine_are_answered(
    shared: ServerProcess, host: str, is_served: bool
) -> None:
    """A page whose name an attacker points to 127.0.0.1 would otherwise be a page of this server."""
    with opened(shared) as connection:
        connection.sendall(lines("GET /healthz HTTP/1.1", f"Host: {host}", "Connection: close"))
        status = int(said(connection).split()[1])
    assert status == (200 if is_served else 421)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://[", "https://localhost", "http://127.0.0.1:1"]
)
def test_a_request_from_a_page_of_another_host_is_refused(shared: ServerProcess, origin: str) -> None:
    with client(shared) as http:
        refused = http.post(RESOLVE, json={}, headers={"origin": origin})
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
        assert "access-control-allow-origin" not in refused.headers
        own = http.post(RESOLVE, json={}, headers={"origin": f"http://{address(shared)}"})
        assert (own.status_code, own.json()["code"]) == (400, "invalid_argument")
        asked = http.options(RESOLVE, headers={"origin": origin, "access-control-request-method": "POST"})
        assert asked.status_code == 403


def test_changes_need_the_socket_or_the_switch_as_over_grpc(directory: Path) -> None:
    with rampd_server(directory, *HTTP) as server:
        server.event("serving")
        with client(server) as http:
            answer = http.post("/rampd.v1.ReleaseService/Release", json={"component": "c", "tag": "t"})
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
            assert answer.json()["details"][0]["debug"]["reason"] == "ROLE_REQUIRED"


def test_a_second_server_on_the_port_is_refused_with_a_sentence(directory: Path) -> None:
    with rampd_server(directory / "a", *HTTP) as first:
        flags = ("--http", address(first))
        with rampd_server(directory / "b", *flags) as second:
            assert second.process.wait(60) == 2
            second.stop()
            assert any("--http (RAMPD_HTTP)" in line and "Address already in use" in line for line in second.said)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for tests that change nothing."""
    from tests.servers import short_directory

    with short_directory() as directory, rampd_server(directory, *HTTP, "--insecure-admin", limits="-n 400") as server:
        server.event("serving")
        # The welcome comes last.
        eventually(lambda: any("Ctrl-C" in line for line in server.said))
        yield server


# Health


def test_health_says_what_is_wrong_and_nothing_latches(directory: Path, store: StoreServer) -> None:
    flags = (*HTTP, "--redis-url", store.url)
    with rampd_server(directory, *flags, store_deadline_s=IN_PRODUCTION_S) as server:
        server.event("serving")
        with client(server) as http:

            def ready(part: str = "") -> tuple[int, Any]:
                answer = http.get(f"/readyz{part}")
                return answer.status_code, answer.json()

            served = {"status": "SERVING"}
            everything = {"status": "SERVING", "parts": {"reads": served, "writes": served, "components": served}}
            eventually(lambda: ready() == (200, everything))
            store.signal(signal.SIGSTOP)
            eventually(lambda: ready()[0] == 503)
            wrong = ready()[1]
            assert (wrong["status"], wrong["parts"]["reads"]) == ("NOT_SERVING", served)
            assert wrong["parts"]["writes"]["reason"] == "STORE_UNAVAILABLE"
            assert wrong["parts"]["writes"]["message"]
            assert (ready("/reads")[0], ready("/writes")[0], http.get("/healthz").status_code) == (200, 503, 200)
            store.signal(signal.SIGCONT)
            eventually(lambda: ready() == (200, everything))
            assert http.get("/readyz").headers["cache-control"] == "no-store"


def test_a_server_without_a_state_is_not_ready_and_says_why(directory: Path) -> None:
    with rampd_server(directory, *HTTP, "--redis-url", f"unix://{directory}/none.sock") as server:
        server.event("waiting_for_store")
        with client(server) as http:
            eventually(lambda: "can't be reached" in http.get("/readyz/reads").json()["parts"]["reads"]["message"])
            assert http.get("/readyz").status_code == http.get("/readyz/reads").status_code == 503
            assert http.get("/healthz").json() == {"status": "SERVING"}


# Connections that are slow, wrong or many


def test_what_is_no_http_gets_400_and_the_log_says_nothing(shared: ServerProcess) -> None:
    before = len(shared.raw)
    for sent in (b"\x16\x03\x01\x02\x00\x01\xfc", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"\0" * 20_000):
        with opened(shared) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = said(connection)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert shared.raw[before:] == []


SMUGGLED = {
    "two lengths": ("Content-Length: 2", "Content-Length: 40"),
    "two lengths in one": ("Content-Length: 2, 40",),
    "a length and chunks": ("Content-Length: 2", "Transfer-Encoding: chunked"),
    "chunks and a length": ("Transfer-Encoding: chunked", "Content-Length: 2"),
    "an encoding that is not there": ("Transfer-Encoding: gzip, chunked",),
    "two encodings": ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "a length with a sign": ("Content-Length: +2",),
    "a space before the colon": ("Content-Length : 2",),
    "a folded header": ("X-A: b", " Content-Length: 2"),
}


@pytest.mark.parametrize("how", SMUGGLED)
def test_a_body_whose_length_is_in_doubt_is_refused_and_what_follows_is_not_read(
    shared: ServerProcess, how: str
) -> None:
    """Behind a proxy that takes the other length, the rest would be the request of somebody else."""
    hidden = lines("GET /healthz HTTP/1.1", "Host: localhost")
    with opened(shared) as connection:
        head = lines(f"POST {RESOLVE} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *SMUGGLED[how])
        connection.sendall(head + b"0\r\n\r\n" + hidden)
        answer = said(connection)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert b"SERVING" not in answer


def test_headers_over_the_limit_are_refused(shared: ServerProcess) -> None:
    """Also if they come in one piece, which the parser then takes."""
    for size in (20_000, 400_000):
        with opened(shared) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(lines("GET /healthz HTTP/1.1", "Host: localhost", f"X: {'x' * size}"))
            answer = said(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("kind", ["nothing", "a head", "a second head", "what nobody asked for"])
def test_a_head_that_does_not_come_is_waited_for_only_so_long(shared: ServerProcess, kind: str) -> None:
    began = time.monotonic()
    with opened(shared) as connection:
        if kind == "a second head":
            connection.sendall(lines("GET /healthz HTTP/1.1", "Host: localhost"))
            assert b"200 OK" in connection.recv(65536)
        if kind == "what nobody asked for":
            connection.sendall(lines("GET /healthz HTTP/1.1", "Host: localhost", "Content-Length: 100000"))
            assert b"200 OK" in connection.recv(65536)
        ends = threading.Event()

        def dribble() -> None:
            while kind != "nothing" and not ends.wait(0.5):
                with contextlib.suppress(OSError):
                    connection.sendall(b"G")

        threading.Thread(target=dribble, daemon=True).start()
        said(connection)
        ends.set()
    assert http_server.HEAD_S * 0.8 < time.monotonic() - began < http_server.HEAD_S * 10


def test_connections_beyond_the_limit_are_closed_at_once_and_the_rest_is_served(shared: ServerProcess) -> None:
    """Given 400 files, of which each of the three listeners has its share, expect the others to be closed."""
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(asked_for_health(shared)) for _ in range(150)]
        answers = [first_of_answer(each) for each in asking]
        assert answers.count(b"") >= 40
        assert set(answers) == {b"", b"HTTP/1.1 200 OK"}
        with stubs(shared.target) as call:
            assert list(call("ListRollouts").rollouts) == []
    with client(shared) as http:
        eventually(lambda: http.get("/healthz").status_code == 200, suppressed=httpx.TransportError)


def asked_for_health(server: ServerProcess) -> socket.socket:
    """A connection with a request, so that no limit of time ends it."""
    connection = opened(server)
    with contextlib.suppress(ConnectionError):
        connection.sendall(lines("GET /healthz HTTP/1.1", "Host: localhost"))
    return connection


def first_of_answer(connection: socket.socket) -> bytes:
    """Empty if the server has closed the connection."""
    try:
        return connection.recv(15)
    except ConnectionResetError:
        return b""


def test_a_caller_that_goes_frees_the_place_of_its_stream(directory: Path) -> None:
    """Given a caller that may have one stream, expect another one as soon as the connection of the first has ended."""
    tokens = Tokens(directory / "access.toml")
    tokens.grant("team", "viewer", "limits = { streams = 1 }")
    with rampd_server(directory, *HTTP, "--access-file", str(tokens.path)) as server:
        server.event("serving")
        headers = {"authorization": f"Bearer {tokens.of['team']}", "content-type": "application/connect+json"}

        def first_flags() -> int:
            with (
                client(server) as http,
                http.stream("POST", WATCH, content=envelope(b"{}"), headers=headers) as stream,
            ):
                # The name keeps the iterator: httpx closes the connection as soon as nobody has it any more.
                messages = envelopes(stream.iter_raw())
                flags, _ = next(messages)
                if flags == 0:
                    # A second one is too many.
                    again = http.post(WATCH, content=envelope(b"{}"), headers=headers)
                    [(ends, data)] = envelopes(iter([again.content]))
                    assert (ends, json.loads(data)["error"]["code"]) == (END, "resource_exhausted")
                return flags

        for _ in range(3):
            eventually(lambda: first_flags() == 0)
        assert server.stop() == 0
        assert not any(line.get("level") == "error" for line in server.log)


# TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def with_tls(directory: Path, authority: Authority) -> tuple[str, ...]:
    certificate, key = authority.issue("localhost", "127.0.0.1").write(directory, "server")
    return (*HTTP, "--tls-cert", str(certificate), "--tls-key", str(key))


def trusting(authority: Authority, pair: Any = None, directory: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    if pair is not None:
        assert directory is not None
        context.load_cert_chain(*pair.write(directory, f"client-{pair.serial}"))
    return context


def serial_of(server: ServerProcess, authority: Authority) -> int:
    with opened(server) as plain, trusting(authority).wrap_socket(plain, server_hostname="localhost") as connection:
        found = connection.getpeercert()
        assert found is not None
        return int(str(found["serialNumber"]), 16)


def test_a_certificate_is_replaced_under_load_without_a_lost_call(directory: Path, authority: Authority) -> None:
    with rampd_server(directory, *with_tls(directory, authority), "--insecure-admin") as server:
        server.event("serving")
        calls, errors, ends = [0], [], threading.Event()

        def load() -> None:
            while not ends.is_set():
                # Now and then a connection of its own, so that there are handshakes.
                with client(server, verify=trusting(authority)) as http:
                    for _ in range(5):
                        try:
                            assert http.post("/rampd.v1.RolloutService/ListRollouts", json={}).status_code == 200
                            calls[0] += 1
                        except Exception as error:
                            errors.append(error)

        with ThreadPoolExecutor(2) as pool:
            for _ in range(2):
                pool.submit(load)
            try:
                for _ in range(3):
                    before = calls[0]
                    pair = authority.issue("localhost", "127.0.0.1")
                    pair.write(directory, "server")
                    eventually(lambda serial=pair.serial: serial_of(server, authority) == serial)
                    eventually(lambda before=before: calls[0] > before + 20)
            finally:
                ends.set()
        assert errors == []
        assert server.stop() == 0


def test_a_client_certificate_proves_who_calls_as_over_grpc(directory: Path, authority: Authority) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    tokens.grant("launcher", "launcher", proof='certificates = ["spiffe://team/launcher"]')
    tokens.grant("ci", "ci", proof='certificates = ["ci.example.org", "ada@example.org", "127.0.0.1"]')
    ca = authority.write(directory)
    access = ("--tls-client-ca", str(ca), "--access-file", str(tokens.path))
    with rampd_server(directory, *with_tls(directory, authority), *access) as server:
        server.event("serving")

        def who(pair: Any, **headers: str) -> Any:
            with client(server, verify=trusting(authority, pair, directory), headers=headers) as http:
                return http.post("/rampd.v1.RolloutService/WhoAmI", json={})

        found = who(authority.issue("spiffe://team/launcher")).json()
        assert (found["identity"], found["role"], found["proof"]) == ("launcher", "launcher", "certificate")
        with_token = who(authority.issue("spiffe://team/launcher"), authorization=f"Bearer {tokens.of['ops']}")
        assert with_token.json()["identity"] == "ops"
        assert who(authority.issue("other.example.org", "ci.example.org")).json()["identity"] == "ci"
        for name in ("stranger.example", "ada@example.org", "127.0.0.1"):
            stranger = who(authority.issue(name))
            assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, "Bearer")
        ended = authority.issue("spiffe://team/launcher", life=timedelta(hours=-1))
        for pair in (Authority("somebody else").issue("spiffe://team/launcher"), ended, None):
            with pytest.raises(httpx.TransportError):
                who(pair)
        # Another authority is in force from the next handshake on.
        second = Authority("two")
        second.write(directory)
        eventually(
            lambda: who(second.issue("spiffe://team/launcher")).status_code == 200, suppressed=httpx.TransportError
        )
        with pytest.raises(httpx.TransportError):
            who(authority.issue("spiffe://team/launcher"))


# Credentials


def test_a_stream_ends_within_a_minute_after_its_credential_was_revoked(directory: Path) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    tokens.grant("team", "viewer")
    with rampd_server(directory, *HTTP, "--access-file", str(tokens.path)) as server:
        server.event("serving")
        headers = {"authorization": f"Bearer {tokens.of['team']}", "content-type": "application/connect+json"}
        with client(server) as http, http.stream("POST", WATCH, content=envelope(b"{}"), headers=headers) as stream:
            messages = envelopes(stream.iter_raw())
            assert next(messages)[0] == 0
            tokens.revoke("team")
            began = time.monotonic()
            *_, (flags, data) = messages
            assert time.monotonic() - began < 60
        assert flags == END
        error = json.loads(data)["error"]
        assert (error["code"], error["details"][0]["debug"]["reason"]) == ("unauthenticated", "BAD_CREDENTIALS")


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_server_ends_streams_and_refuses_calls_with_unavailable(
    directory: Path, number: signal.Signals
) -> None:
    with rampd_server(directory, *HTTP, "--insecure-admin") as server:
        server.event("serving")
        codes: set[object] = set()
        ends = threading.Event()
        told_s: list[float] = []

        def ask() -> None:
            """One connection that is kept, so that calls come while the server stops. If this thread gets its next turn only
            after the time in which the server waits for calls, the server has closed the connection.
            """
            with client(server) as http:
                while not ends.is_set():
                    try:
                        answer = http.post("/rampd.v1.RolloutService/ListRollouts", json={})
                    except httpx.TransportError as error:
                        if not told_s or time.monotonic() - told_s[0] < http_server.KEPT_S:
                            codes.add(type(error).__name__)
                        return
                    codes.add(answer.status_code if answer.status_code == 200 else answer.json()["code"])

        kind = {"content-type": "application/connect+json"}
        with (
            ThreadPoolExecutor(4) as pool,
            client(server) as http,
            http.stream("POST", WATCH, content=envelope(b"{}"), headers=kind) as stream,
        ):
            messages = envelopes(stream.iter_raw())
            next(messages)
            asking = [pool.submit(ask) for _ in range(4)]
            eventually(lambda: 200 in codes)
            told_s.append(time.monotonic())
            server.process.send_signal(number)
            *_, (flags, data) = messages
            assert (flags, json.loads(data)) == (END, {})
            # A second signal would end it at once.
            assert server.process.wait(60) == 0
            ends.set()
            for each in asking:
                each.result()
        # A connection that is refused says nothing of what was done; one that breaks in a call would.
        assert codes <= {200, "unavailable", "ConnectError"}, codes


def test_a_call_that_outlasts_the_grace_ends_with_unavailable(directory: Path) -> None:
    with rampd_server(directory, *HTTP, "--insecure-admin") as server:
        server.event("serving")
        with opened(server) as connection:
            connection.sendall(
                lines(
                    f"POST {RESOLVE} HTTP/1.1",
                    "Host: localhost",
                    "Content-Type: application/json",
                    "Content-Length: 10",
                    "Expect: 100-continue",
                )
            )
            # The call has begun.
            assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"{")
            server.process.send_signal(signal.SIGTERM)
            answer = said(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"unavailable"' in answer
        # A second signal would end it at once.
        assert server.process.wait(60) == 0
        server.stop()
        assert not any(line.get("level") == "error" for line in server.log)


def test_every_worker_serves_http_on_the_one_port(directory: Path) -> None:
    with rampd_server(directory, *HTTP, "--insecure-admin", "--workers", "2") as server:
        eventually(lambda: sum(line.get("event") == "serving" for line in server.log) == 2)
        assert len({line["address"] for line in server.log if line.get("event") == "listening_http"}) == 1
        for _ in range(20):
            with client(server) as http:
                assert http.get("/readyz").status_code == 200
        assert server.stop() == 0
