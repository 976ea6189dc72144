"""Errors that waiting does not repair: the message says which of the two sides is wrong, and what to change."""

import contextlib
import http.server
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.ports import Override
from rampd_server.storage import other_protocol
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.certificates import make_certificate
from tests.contract.driving import ADA, COMPONENT
from tests.ports import free_ports
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import PATIENCE_S

UNKNOWN = "is not known"
"""What may be said only of a change that may have been made."""
OF_A_SILENT_END_S = 6.0
"""The time of a call to an end that never answers: the test waits for all of it."""


@pytest.fixture(autouse=True)
def _patient_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer than in production to show which protocol a port speaks."""
    monkeypatch.setattr(other_protocol, "_TIMEOUT_S", 1.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("certificates")
    make_certificate(path)
    return path


class Ports:
    """A Redis with one port without TLS and one port with TLS."""

    def __init__(self, certificates: Path) -> None:
        self.certificates = certificates
        self.plain, self.tls, self.tls_with_client = free_ports(3)

    def options(self, tls: int, auth_clients: str) -> dict[str, str]:
        certificate, key = self.certificates / "localhost.pem", self.certificates / "localhost.key"
        return {
            "tls_port": str(tls),
            "tls_cert_file": str(certificate),
            "tls_key_file": str(key),
            "tls_ca_cert_file": str(certificate),
            "tls_auth_clients": auth_clients,
        }


@pytest.fixture(scope="module")
def ports(certificates: Path) -> Iterator[Ports]:
    made = Ports(certificates)
    with (
        store_server(REDIS, port=str(made.plain), **made.options(made.tls, "no")),
        store_server(REDIS, **made.options(made.tls_with_client, "yes")),
    ):
        yield made


@contextlib.asynccontextmanager
async def store_at(url: str, deadline_s: float = PATIENCE_S) -> AsyncIterator[RedisStore]:
    store = RedisStore(Link.connect(url, deadline_s=deadline_s))
    store.set_epoch("e")
    yield store
    await store.close()


async def misconfigured(url: str, deadline_s: float = PATIENCE_S) -> str:
    """Returns the message of a look, a write and the feed. The three must be equal, apart from the words of Redis."""
    said = set()
    async with store_at(url, deadline_s) as store:
        for call in (
            store.head,
            lambda: store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA),
            lambda: store.feed("0-0", block_ms=10),
        ):
            with pytest.raises(StoreMisconfiguredError) as caught:
                await call()
            said.add(caught.value.message.partition(" It says: ")[0])
    (sentence,) = said
    assert UNKNOWN not in sentence
    assert "RAMPD_REDIS_URL (--redis-url)" in sentence or "in Redis" in sentence
    assert ".." not in sentence
    assert sentence.endswith(".")
    return sentence


async def test_tls_to_a_port_without_tls(ports: Ports):
    sentence = await misconfigured(f"rediss://localhost:{ports.plain}/0", OF_A_SILENT_END_S)
    assert "begins with rediss://, which is TLS, and the port speaks plain Redis: write redis://" in sentence


async def test_plain_text_to_a_port_with_tls(ports: Ports):
    for port in (ports.tls, ports.tls_with_client):
        sentence = await misconfigured(f"redis://localhost:{port}/0")
        assert "begins with redis://, which is plain, and the port speaks TLS: write rediss://" in sentence


async def test_a_certificate_from_an_unknown_authority(ports: Ports):
    sentence = await misconfigured(f"rediss://localhost:{ports.tls}/0")
    assert "not to be trusted (self-signed certificate): name the certificate of its signer by ssl_ca_certs" in sentence


async def test_a_certificate_for_another_name(ports: Ports):
    ca = ports.certificates / "localhost.pem"
    sentence = await misconfigured(f"rediss://127.0.0.1:{ports.tls}/0?ssl_ca_certs={ca}")
    assert "not valid for '127.0.0.1'" in sentence
    assert "write the host in RAMPD_REDIS_URL (--redis-url) as the certificate has it" in sentence


async def test_a_missing_file_for_tls(ports: Ports):
    sentence = await misconfigured(f"rediss://localhost:{ports.tls}/0?ssl_ca_certs=/nowhere/ca.pem")
    assert "for TLS (ssl_ca_certs, ssl_certfile, ssl_keyfile) is not there" in sentence


async def test_a_redis_that_requires_a_client_certificate(ports: Ports):
    ca = ports.certificates / "localhost.pem"
    sentence = await misconfigured(f"rediss://localhost:{ports.tls_with_client}/0?ssl_ca_certs={ca}")
    assert "wants a certificate of its clients: name one by ssl_certfile and ssl_keyfile" in sentence


async def test_tls_with_the_right_settings(ports: Ports):
    ca = ports.certificates / "localhost.pem"
    async with store_at(f"rediss://localhost:{ports.tls}/0?ssl_ca_certs={ca}") as store:
        assert await store.head() is None


async def test_a_database_that_does_not_exist(ports: Ports):
    sentence = await misconfigured(f"redis://localhost:{ports.plain}/99")
    assert "does not have the database that RAMPD_REDIS_URL (--redis-url) names" in sentence


@pytest.fixture(params=[VALKEY, REDIS])
def guarded(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with store_server(request.param) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "geheim")
        yield server


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "Redis wants a password, and RAMPD_REDIS_URL (--redis-url) has none: put it in"),
        ("?password=x", "Redis refuses the user or the password of RAMPD_REDIS_URL (--redis-url): correct"),
        ("?username=joe&password=geheim", "Redis refuses the user or the password of RAMPD_REDIS_URL"),
    ],
)
async def test_a_missing_password_and_a_wrong_password_have_different_errors(
    guarded: StoreServer, options: str, expected: str
):
    assert (await misconfigured(guarded.url + options)).startswith(expected)


@pytest.mark.parametrize("kind", [VALKEY, REDIS])
async def test_a_password_for_a_redis_without_passwords(kind: str):
    with store_server(kind) as server:
        sentence = await misconfigured(f"{server.url}?password=x")
    assert sentence.startswith("RAMPD_REDIS_URL (--redis-url) has a password, and this Redis has none: take it out")


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Yields a port. A function serves its connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def mail(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.sendall(b"220 mail ESMTP\r\n")
        while connection.recv(1024):
            pass


async def test_a_server_that_is_not_redis(http_port: int):
    with listening(mail) as mail_port:
        for port in (http_port, mail_port):
            assert "The server that answers is not Redis" in await misconfigured(f"redis://127.0.0.1:{port}/0")
            assert "speaks no TLS" in await misconfigured(f"rediss://127.0.0.1:{port}/0")


def hang(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while connection.recv(1024):
            pass


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_a_port_without_an_answer_may_be_a_redis_that_does_not_answer_and_nothing_was_sent_to_it(scheme: str):
    with listening(hang) as port:
        async with store_at(f"{scheme}://127.0.0.1:{port}/0", OF_A_SILENT_END_S) as store:
            with pytest.raises(StoreUnavailableError, match="can't be reached") as caught:
                await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA)
            assert UNKNOWN not in caught.value.message
            assert not isinstance(caught.value, StoreMisconfiguredError)
