"""Credentials, addresses and certificates of a server as a process, as an admin and callers meet them."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from rampd import v1
from tests.authority import Authority
from tests.bench.http2 import Http2
from tests.ci_issuer import ci_issuer
from tests.rpc.access_table import Metadata, Tokens, send, status
from tests.servers import ServerProcess, program_of, rampd_server, reason_of, require, stubs
from tests.waiting import eventually

WHO = v1.WhoAmIRequest()


def typed(*words: str) -> "subprocess.CompletedProcess[str]":
    """`rampd-server` with these words, as an admin types them."""
    return subprocess.run(
        [sys.executable, "-m", "rampd_server", *words], capture_output=True, text=True, check=False, timeout=60
    )


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def addresses(server: ServerProcess) -> list[str]:
    """All that it listens on, in the order of its flags."""
    server.event("serving")
    return [str(line["address"]) for line in server.log if line.get("event") == "listening"]


@contextlib.contextmanager
def plain(target: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


@contextlib.contextmanager
def secure(
    target: str, authority: Authority, pair: Any = None, options: tuple[tuple[str, Any], ...] = ()
) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(
        authority.certificate, *((pair.key, pair.certificate) if pair is not None else ())
    )
    with grpc.secure_channel(target, credentials, options=[("grpc.use_local_subchannel_pool", 1), *options]) as channel:
        yield channel


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def tls_flags(directory: Path, authority: Authority, *names: str) -> tuple[str, ...]:
    certificate, key = authority.issue(*(names or ("localhost", "127.0.0.1"))).write(directory, "server")
    return ("--tls-cert", str(certificate), "--tls-key", str(key))


# Tokens, from the first to the last


def test_a_token_is_made_used_rotated_and_revoked(directory: Path) -> None:
    path = directory / "access.toml"
    made = typed(
        "token", "create", "ci-restyler", "--role", "ci", "--component", "restyler", "--access-file", str(path)
    )
    assert (made.returncode, made.stdout.count("\n")) == (0, 1)
    first = made.stdout.strip()
    assert path.stat().st_mode & 0o777 == 0o600
    with rampd_server(directory, "--access-file", str(path), "--log-level", "debug") as server:
        [address] = addresses(server)
        with plain(address) as channel:
            answer = send(channel, "WhoAmI", WHO, bearer(first))
            assert (answer.identity, answer.role, list(answer.components)) == ("ci-restyler", "ci", ["restyler"])
            send(channel, "Release", v1.ReleaseRequest(component="restyler", tag="t1"), bearer(first))

            second = typed("token", "create", "ci-restyler", "--access-file", str(path)).stdout.strip()
            eventually(lambda: status(channel, "WhoAmI", WHO, bearer(second)) == "OK")
            for _ in range(3):  # the server remembers a token that comes again
                assert status(channel, "WhoAmI", WHO, bearer(first)) == "OK"

            listed = typed("token", "list", "--access-file", str(path)).stdout.splitlines()
            assert [line.split("\t")[:3] for line in listed] == [["ci-restyler", "ci", "restyler"]] * 2
            revoked = typed("token", "revoke", listed[0].split("\t")[-1], "--access-file", str(path))
            assert revoked.stdout.startswith("Revoked 1 token.")
            eventually(lambda: status(channel, "WhoAmI", WHO, bearer(first)) == "UNAUTHENTICATED")
            assert status(channel, "WhoAmI", WHO, bearer(second)) == "OK"
            assert typed("token", "revoke", "ci-restyler", "--access-file", str(path)).returncode == 0
            eventually(lambda: status(channel, "WhoAmI", WHO, bearer(second)) == "UNAUTHENTICATED")
        assert server.event("call_refused")["reason"] == "BAD_CREDENTIALS"
        assert server.stop() == 0
    for token in (first, second):
        assert token[6:] not in "\n".join(server.raw)
        assert token[6:] not in path.read_text()


def test_a_token_with_a_byte_that_is_no_text_is_not_in_the_log(directory: Path) -> None:
    """Given a client that reads its token from a file with a byte too many, expect that the log of gRPC does not show it."""
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    with rampd_server(directory, "--access-file", str(tokens.path)) as server:
        [address] = addresses(server)
        with closing(Http2(address)) as connection:
            sent = connection.request(
                "/rampd.v1.RolloutService/WhoAmI", b"", [("authorization", f"Bearer {tokens.of['ops']}~")]
            )
            connection.socket.sendall(sent.replace(b"~", b"\xa0"))
            while not any(is_end for _, _, is_end in connection.read()):
                pass
        assert server.stop() == 0
    assert tokens.of["ops"][6:] not in "\n".join(server.raw)


def test_a_check_is_for_ci_and_says_with_its_code_whether_a_file_can_be_used(directory: Path) -> None:
    path = directory / "access.toml"
    typed("token", "create", "ops", "--role", "admin", "--access-file", str(path))
    good = typed("access", "check", str(path))
    assert (good.returncode, good.stdout, good.stderr) == (0, f"{path} can be used: 1 grant, 0 warnings.\n", "")
    path.write_text(path.read_text().replace('"admin"', '"root"') + '[[grant]]\nname = "b"\nrole = "ci"\n')
    bad = typed("access", "check", str(path))
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "grant ops: role: 'root' is not one of launcher, viewer, ci, operator, admin." in bad.stderr


def test_a_file_that_is_broken_while_the_server_runs_changes_nothing_and_is_told(directory: Path) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    with rampd_server(directory, "--access-file", str(tokens.path)) as server:
        [address] = addresses(server)
        # In one step: the server must not see a file that is half written.
        broken = tokens.path.with_name("broken")
        broken.write_text("[[grant]]\neverybody = true\n")
        broken.replace(tokens.path)
        assert server.event("access_file_refused")["mistakes"] == ["grant number 1: name is missing.", "grant number 1: role is missing."]  # fmt: skip
        with plain(address) as channel:
            assert status(channel, "WhoAmI", WHO, tokens.metadata("ops")) == "OK"
        assert server.stop() == 0


def test_a_token_is_revoked_also_while_the_server_waits_for_its_store(directory: Path) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    with rampd_server(directory, "--access-file", str(tokens.path), "--redis-url", "redis://127.0.0.1:1") as server:
        with plain(server.target) as channel:
            eventually(lambda: status(channel, "WhoAmI", WHO, tokens.metadata("ops")) == "OK")
            tokens.revoke("ops")
            eventually(lambda: status(channel, "WhoAmI", WHO, tokens.metadata("ops")) == "UNAUTHENTICATED")
        assert server.stop() == 0


# The start


def refused_start(directory: Path, *flags: str) -> str:
    with rampd_server(directory, *flags) as server:
        assert server.process.wait(60) == 2
        server.stop()
    return "\n".join(server.said)


def test_beyond_the_loopback_there_is_no_start_without_tls_and_an_access_file(
    directory: Path, authority: Authority
) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    without = refused_start(directory, "--listen", "0.0.0.0:0")
    assert "0.0.0.0:0 needs TLS: give --tls-cert" in without
    assert "0.0.0.0:0 is beyond the loopback" in without
    with_tls = refused_start(directory, "--listen", "0.0.0.0:0", *tls_flags(directory, authority))
    assert "--access-file" in with_tls
    assert "needs TLS" not in with_tls
    with_file = refused_start(directory, "--listen", "0.0.0.0:0", "--access-file", str(tokens.path))
    assert "needs TLS" in with_file


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_an_access_file_that_others_may_write_ends_the_start(directory: Path, mode: int) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    tokens.path.chmod(mode)
    said = refused_start(directory, "--access-file", str(tokens.path))
    assert (
        f"--access-file (RAMPD_ACCESS_FILE): Users other than its owner may write to {tokens.path}. Type chmod go-w"
        in said
    )


def test_an_access_file_with_mistakes_ends_the_start_and_each_is_told(directory: Path) -> None:
    path = directory / "access.toml"
    path.write_text('[[grant]]\nname = "a"\nrole = "root"\n[[grant]]\nname = "b"\n')
    path.chmod(0o600)
    said = refused_start(directory, "--access-file", str(path))
    assert "--access-file (RAMPD_ACCESS_FILE): grant a: role: 'root' is not one of" in said
    assert "--access-file (RAMPD_ACCESS_FILE): grant b: role is missing." in said


@pytest.mark.parametrize("what", ["gone", "no PEM", "another key"])
def test_a_certificate_that_can_t_be_used_ends_the_start(directory: Path, authority: Authority, what: str) -> None:
    flags = tls_flags(directory, authority)
    if what == "gone":
        (directory / "server.pem").unlink()
    elif what == "no PEM":
        (directory / "server.pem").write_text("hello")
    else:
        (directory / "server.key").write_bytes(authority.issue("other").key)
    told = {"gone": "server.pem can't be read: No such file or directory", "no PEM": "is not a certificate in PEM form", "another key": "is not the key of"}  # fmt: skip
    assert told[what] in refused_start(directory, *flags)


def test_plain_text_beyond_the_loopback_is_said_at_every_start(directory: Path) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    flags = ("--listen", "0.0.0.0:0", "--insecure-plaintext", "--access-file", str(tokens.path))
    for _ in range(2):
        with rampd_server(directory, *flags) as server:
            server.event("serving")
            assert server.event("insecure_plaintext")["address"].startswith("0.0.0.0:")
            assert server.stop() == 0


# Addresses and TLS


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "localhost:0"])
def test_the_commands_of_the_welcome_work_with_a_token_over_tls(
    directory: Path, authority: Authority, listen: str
) -> None:
    """Given a certificate without the name `0.0.0.0`, expect commands with a name of it, and with no token to be seen."""
    require("grpcurl")
    tokens = Tokens(directory / "access.toml")
    token = tokens.grant("ops", "admin")
    flags = ("--listen", listen, *tls_flags(directory, authority, "*.example.org", "localhost"))
    with rampd_server(directory, *flags, "--access-file", str(tokens.path)) as server:
        server.event("serving")
        eventually(lambda: any("Ctrl-C" in line for line in server.said))
        tried = [line for line in server.said if line.startswith("  ")]
        assert [program_of(line) for line in tried] == ["rampd", *3 * ["grpcurl"]]
        for line in tried:
            done = subprocess.run(
                ["sh", "-c", line], env={**os.environ, "RAMPD_TOKEN": token},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stderr) == (0, "")


def test_a_plain_address_for_the_launcher_and_one_with_tls_for_the_rest(directory: Path, authority: Authority) -> None:
    require("grpcurl")
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    ca = authority.write(directory)
    flags = ("--listen", "http://127.0.0.1:0", *tls_flags(directory, authority), "--access-file", str(tokens.path))
    with rampd_server(directory, *flags) as server:
        tls, clear = addresses(server)
        assert [line["tls"] for line in server.log if line.get("event") == "listening"] == [True, False]
        with plain(clear) as channel:
            assert status(channel, "WhoAmI", WHO) == "UNAUTHENTICATED"
            assert status(channel, "WhoAmI", WHO, tokens.metadata("ops")) == "OK"
        with secure(tls, authority) as channel:
            assert send(channel, "WhoAmI", WHO, tokens.metadata("ops")).identity == "ops"
        with secure(tls, Authority("somebody else")) as channel:
            assert status(channel, "WhoAmI", WHO, tokens.metadata("ops")) == "UNAVAILABLE"
        with plain(tls) as channel:
            assert status(channel, "WhoAmI", WHO, tokens.metadata("ops")) == "UNAVAILABLE"
        port = tls.rpartition(":")[2]
        asked = subprocess.run(
            ["grpcurl", "-cacert", str(ca), "-H", "authorization: Bearer " + tokens.of["ops"], f"localhost:{port}",
             "rampd.v1.RolloutService/WhoAmI"],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert json.loads(asked.stdout)["identity"] == "ops"
        untrusted = subprocess.run(
            ["grpcurl", f"localhost:{port}", "list"], capture_output=True, text=True, check=False, timeout=60
        )
        assert untrusted.returncode != 0
        assert "certificate" in untrusted.stderr
        assert server.stop() == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(("version", "is_taken"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_is_1_2_or_later(directory: Path, authority: Authority, version: str, is_taken: bool) -> None:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with rampd_server(directory, *tls_flags(directory, authority)) as server:
        [address] = addresses(server)
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            if is_taken:
                with context.wrap_socket(connection, server_hostname="localhost") as wrapped:
                    assert wrapped.selected_alpn_protocol() == "h2"
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context.wrap_socket(connection, server_hostname="localhost")


@pytest.mark.parametrize("verbosity", [None, "INFO"], ids=["default", "asked for"])
def test_callers_who_fail_the_handshake_do_not_fill_the_log(
    directory: Path, authority: Authority, verbosity: str | None
) -> None:
    """Given 300 callers who speak plain text to each address with TLS, expect no line about them. An admin may ask for them."""
    flags = (*tls_flags(directory, authority), "--http", "https://127.0.0.1:0")
    with rampd_server(directory, *flags, **({"GRPC_VERBOSITY": verbosity} if verbosity else {})) as server:
        [address] = addresses(server)
        for place in (address, str(server.event("listening_http")["address"])):
            host, _, port = place.removeprefix("https://").rpartition(":")
            for _ in range(300):
                with socket.create_connection((host, int(port)), timeout=60) as connection:
                    connection.sendall(b"this is plain text\r\n\r\n")
                    with contextlib.suppress(ConnectionError):
                        while connection.recv(1024):
                            pass
        with secure(address, authority) as channel:
            assert status(channel, "WhoAmI", WHO) == "OK"
        assert server.stop() == 0
    if verbosity is None:
        assert len(server.raw) < 50, server.raw[-20:]
    else:
        assert sum("Handshake failed" in line for line in server.raw) == 300


def serial_of(address: str, authority: Authority) -> int:
    """Of the certificate that a new handshake gets."""
    from cryptography import x509

    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=60) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as wrapped,
    ):
        return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"").serial_number


class Load:
    """Callers who never pause: some on one connection, some with a handshake for each call. Any error is kept."""

    def __init__(self, address: str, authority: Authority, metadata: Metadata) -> None:
        self.calls = 0
        self.errors: list[object] = []
        self._how = address, authority, metadata
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._stay, self._stay, self._come, self._come)]

    def _call(self, channel: grpc.Channel) -> None:
        try:
            send(channel, "WhoAmI", WHO, self._how[2])
            self.calls += 1
        except grpc.RpcError as error:
            self.errors.append(error)

    def _stay(self) -> None:
        with secure(*self._how[:2]) as channel:
            while not self._ends.is_set():
                self._call(channel)

    def _come(self) -> None:
        while not self._ends.is_set():
            with secure(*self._how[:2]) as channel:
                self._call(channel)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        before = self.calls
        eventually(lambda: self.errors or self.calls > before + 50)
        assert self.errors == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_is_replaced_under_load_without_a_lost_call(
    directory: Path, authority: Authority, workers: str
) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin", "limits = { calls_per_s = 1e6, burst = 1e6 }")
    flags = (*tls_flags(directory, authority), "--access-file", str(tokens.path), "--workers", workers)
    with rampd_server(directory, *flags) as server:
        address = addresses(server)[0]
        with Load(address, authority, tokens.metadata("ops")) as load:
            load.goes_on()
            for _ in range(3):
                pair = authority.issue("localhost", "127.0.0.1")
                pair.write(directory, "server")
                eventually(lambda serial=pair.serial: serial_of(address, authority) == serial)
                load.goes_on()
        assert load.errors == []
        assert server.event("certificate_changed")["file"] == str(directory / "server.pem")
        assert server.stop() == 0


BROKEN: dict[str, Callable[[Path, Authority], object]] = {
    "garbage": lambda directory, _: (directory / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nhello\n"),
    "empty": lambda directory, _: (directory / "server.pem").write_text(""),
    "gone": lambda directory, _: (directory / "server.pem").unlink(),
    "of another key": lambda directory, authority: (directory / "server.pem").write_bytes(
        authority.issue("localhost").certificate
    ),
    "a key that is cut": lambda directory, _: (directory / "server.key").write_bytes(
        (directory / "server.key").read_bytes()[:60]
    ),
    "a pipe": lambda directory, _authority: _pipe_at(directory / "server.key"),
    # gRPC would take these, and no client could connect,
    "Ed25519": lambda directory, authority: _of_key(directory, authority, ed25519.Ed25519PrivateKey.generate()),
    "P-521": lambda directory, authority: _of_key(directory, authority, ec.generate_private_key(ec.SECP521R1())),
    # or would keep the certificate of before, and say so to nobody.
    "P-224": lambda directory, authority: _of_key(directory, authority, ec.generate_private_key(ec.SECP224R1())),
}


def _pipe_at(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _of_key(directory: Path, authority: Authority, key: PrivateKeyTypes) -> None:
    authority.issue("localhost", "127.0.0.1", key=key).write(directory, "server")


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_new_certificate_leaves_the_old_one_in_use_and_the_log_says_so(
    directory: Path, authority: Authority, how: str
) -> None:
    pair = authority.issue("localhost", "127.0.0.1")
    certificate, key = pair.write(directory, "server")
    with rampd_server(directory, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        [address] = addresses(server)
        BROKEN[how](directory, authority)
        for _ in range(5):
            assert serial_of(address, authority) == pair.serial
        refused = server.event("certificate_refused")
        assert refused["what_it_means"] == "the earlier certificate stays in use"
        assert sum(line.get("event") == "certificate_refused" for line in server.log) == 1
        better = authority.issue("localhost", "127.0.0.1")
        key.unlink(missing_ok=True)
        better.write(directory, "server")
        eventually(lambda: serial_of(address, authority) == better.serial)
        assert server.stop() == 0


# Certificates of clients


def test_a_client_certificate_proves_who_calls_by_the_names_in_its_san(directory: Path, authority: Authority) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ops", "admin")
    tokens.grant("launcher", "launcher", proof='certificates = ["spiffe://team/launcher"]')
    tokens.grant("ci", "ci", proof='certificates = ["ci.example.org", "ada@example.org", "127.0.0.1"]')
    ca = authority.write(directory)
    flags = (*tls_flags(directory, authority), "--tls-client-ca", str(ca), "--access-file", str(tokens.path))
    with rampd_server(directory, *flags) as server:
        [address] = addresses(server)

        def who(*names: str, metadata: Metadata = ()) -> Any:
            with secure(address, authority, authority.issue(*names)) as channel:
                return send(channel, "WhoAmI", WHO, metadata)

        launcher = who("spiffe://team/launcher")
        assert (launcher.identity, launcher.role, launcher.proof) == ("launcher", "launcher", "certificate")
        assert 0 < launcher.expire_time.seconds - time.time() < 86_500
        assert who("other.example.org", "ci.example.org").identity == "ci"
        # A token says more than the certificate of the machine that it is sent from.
        assert who("spiffe://team/launcher", metadata=tokens.metadata("ops")).identity == "ops"
        strangers = ("stranger.example.org", "spiffe://team/launcher2", "spiffe://team", "ada@example.org", "127.0.0.1")
        for name in strangers:
            with pytest.raises(grpc.RpcError) as caught:
                who(name)
            assert reason_of(caught.value) == "NO_CREDENTIALS"
        strange = Authority("somebody else").issue("spiffe://team/launcher")
        ended = authority.issue("spiffe://team/launcher", life=timedelta(hours=-1))
        for pair in (strange, ended, None):
            with secure(address, authority, pair) as channel:
                assert status(channel, "WhoAmI", WHO) == "UNAVAILABLE"
        assert server.stop() == 0


def test_another_authority_of_clients_is_in_force_from_the_next_handshake_on(
    directory: Path, authority: Authority
) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("launcher", "launcher", proof='certificates = ["spiffe://team/launcher"]')
    first, second = Authority("one"), Authority("two")
    ca = first.write(directory)
    flags = (*tls_flags(directory, authority), "--tls-client-ca", str(ca), "--access-file", str(tokens.path))
    with rampd_server(directory, *flags) as server:
        [address] = addresses(server)

        def comes(by: Authority) -> str:
            with secure(address, authority, by.issue("spiffe://team/launcher")) as channel:
                return status(channel, "WhoAmI", WHO)

        assert (comes(first), comes(second)) == ("OK", "UNAVAILABLE")
        second.write(directory)
        eventually(lambda: comes(second) == "OK")
        assert comes(first) == "UNAVAILABLE"
        assert server.stop() == 0


# Jobs that prove themselves by an issuer


def test_a_job_proves_itself_without_a_stored_secret(directory: Path) -> None:
    with ci_issuer() as issuer:
        tokens = Tokens(directory / "access.toml")
        tokens.grant(
            "ci-restyler", "ci",
            proof=f'[[grant.oidc]]\nissuer = "{issuer.name}"\naudience = "rampd"\n'
            'claims = { repository_id = "65", ref = "refs/heads/main" }',
        )  # fmt: skip
        claims = {"aud": "rampd", "exp": int(time.time()) + 300, "repository_id": "65", "ref": "refs/heads/main"}
        with rampd_server(directory, "--access-file", str(tokens.path), "--log-level", "debug") as server:
            [address] = addresses(server)
            with plain(address) as channel:
                token = issuer.token(claims)
                # The server gives the issuer only some seconds for its keys, and asks again later.
                eventually(lambda: status(channel, "WhoAmI", WHO, bearer(token)) == "OK")
                answer = send(channel, "WhoAmI", WHO, bearer(token))
                assert (answer.identity, answer.proof) == ("ci-restyler", "oidc")
                assert abs(answer.expire_time.seconds - claims["exp"]) <= 60
                fork = issuer.token({**claims, "repository_id": "66"})
                assert status(channel, "WhoAmI", WHO, bearer(fork)) == "UNAUTHENTICATED"
            assert "It differs in repository_id" in server.event("call_refused")["why"]
            assert server.stop() == 0
        assert token.rpartition(".")[2] not in "\n".join(server.raw)
        assert fork.rpartition(".")[2] not in "\n".join(server.raw)


DOCUMENT = (Path(__file__).parents[2] / "docs" / "launcher.md").read_text()
RESOLVES_AS_ANOTHER_USER = """
import os, sys
from rampd import RampdError, Resolver

def resolved(target, **options):
    with Resolver(target, mode="rpc", timeout=60) as resolver:
        return resolver.resolve("restyler", repo="acme/app", **options).tag

# All that a call imports is imported before it is another user, who may not read the folder of Python.
resolved("unix:/nowhere.sock", fallback="t0", timeout=0.1)
os.setgroups([]); os.setgid(4711); os.setuid(4711)
try:
    print(resolved(sys.argv[1]))
except RampdError as error:
    print(type(error).__name__)
"""


def test_the_launcher_socket_is_open_to_other_users_and_the_admin_socket_is_not(directory: Path) -> None:
    """Given a folder as the document has systemd make it, expect that a job of another user resolves there and nowhere else."""
    if os.geteuid() != 0:
        pytest.skip("only root can call as another user")
    [mode] = re.findall(r"^RuntimeDirectoryMode=(\d+)$", DOCUMENT, re.MULTILINE)
    [shown] = re.findall(r"`--launcher-socket (\S+)`", DOCUMENT)
    [target] = re.findall(r"`(unix:\S*/launchers\.sock)`", DOCUMENT)
    launchers = directory / "jobs" / "launchers.sock"
    launchers.parent.mkdir()
    launchers.parent.chmod(int(mode, 8))
    directory.chmod(0o755)
    with rampd_server(directory, "--launcher-socket", str(launchers)) as server:
        server.event("serving")
        with stubs(f"unix:{server.socket}") as call:
            call("Release", component="restyler", tag="t1")

        def as_another_user(target: str) -> str:
            words = [sys.executable, "-c", RESOLVES_AS_ANOTHER_USER, target]
            return subprocess.run(words, capture_output=True, text=True, check=True, timeout=100).stdout.strip()

        assert as_another_user(target.replace(shown, str(launchers))) == "t1"
        assert as_another_user(f"unix:{server.socket}") == "UnavailableError"
        assert server.stop() == 0
