"""TLS of the fast listener: a new certificate is used without a restart, and the certificates of clients prove who calls."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from rampd import Admin, ClientCertificate, UnavailableError, v1
from rampd_server import testing
from rampd_server.fast import held
from rampd_server.fast import server as fast_server
from rampd_server.process.address import Address
from rampd_server.process.startup import StartupError
from rampd_server.rpc.certificates import Certificates
from tests.authority import Authority
from tests.bench.http2 import GOAWAY, SETTINGS
from tests.fast import RESOLVE, WATCH, Fast, fast
from tests.raw_calls import connection
from tests.rpc.access_table import Tokens
from tests.servers import short_directory
from tests.waiting import PATIENCE_S, eventually_async


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_server, "_LOOK_S", 0.02)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def certificates(authority: Authority, directory: Path, **options: Any) -> Certificates:
    return Certificates(*authority.issue("localhost", "127.0.0.1").write(directory, "server"), **options)


def secure(served: Fast, authority: Authority) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(served.target, credentials, options=options)


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    return context


async def serial_of(served: Fast, authority: Authority) -> int:
    """The serial number of the certificate that a new connection gets."""
    context = trusting(authority)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", served.address.port, ssl=context, server_hostname="localhost"
    )
    del reader
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def resolved(channel: grpc.aio.Channel) -> str:
    request = v1.ResolveRequest(job_id="four").SerializeToString()
    answer = await channel.unary_unary(RESOLVE)(request, timeout=60, wait_for_ready=True)
    return v1.ResolveResponse.FromString(answer).tag


async def test_a_call_over_tls_is_answered(authority: Authority, tmp_path: Path) -> None:
    async with fast(certificates=certificates(authority, tmp_path)) as served:
        assert served.address.is_tls
        async with secure(served, authority) as channel:
            assert await resolved(channel) == "4"


async def test_a_new_certificate_is_used_and_no_call_is_lost(authority: Authority, tmp_path: Path) -> None:
    """Given callers that call without a pause, expect each of some renewals at new connections, and not one failed call."""
    async with fast(certificates=certificates(authority, tmp_path)) as served, secure(served, authority) as channel:
        stops, answers = asyncio.Event(), 0

        async def keep_calling() -> None:
            nonlocal answers
            while not stops.is_set():
                assert await resolved(channel) == "4"
                answers += 1

        async with asyncio.TaskGroup() as callers:
            for _ in range(8):
                callers.create_task(keep_calling())
            for _ in range(3):
                before, pair = answers, authority.issue("localhost", "127.0.0.1")
                pair.write(tmp_path, "server")

                async def is_used(serial: int = pair.serial) -> bool:
                    return await serial_of(served, authority) == serial

                await eventually_async(is_used)
                await eventually_async(lambda before=before: answers > before + 100)  # type: ignore[misc]
            stops.set()


async def test_a_connection_with_an_earlier_certificate_is_there_until_its_caller_has_read_where_to_go(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a caller that just sends its next calls, expect no error: gRPC would take it for the error of all calls of the connection."""
    monkeypatch.setattr(held, "LINGER_S", PATIENCE_S + 30)
    async with fast(certificates=certificates(authority, tmp_path)) as served:
        run = served.server._run
        assert run is not None
        async with connection(served, tls=trusting(authority)) as raw:
            await raw.until(SETTINGS)
            authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
            await raw.until(GOAWAY)
            await eventually_async(lambda: run.has_ended)
            await raw.sends_on()
        async with asyncio.timeout(PATIENCE_S):
            await served.server.stop(0)


async def test_a_stream_goes_on_for_a_while_after_a_new_certificate_and_then_its_caller_opens_it_again(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_server, "DRAIN_S", 5.0)
    monkeypatch.setattr(fast_server, "_BEFORE_DRAIN_S", 1.0)
    async with fast(certificates=certificates(authority, tmp_path)) as served, secure(served, authority) as channel:
        stream = channel.unary_stream(WATCH)(b"")
        assert await stream.read() == b""
        run = served.server._run
        authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
        await eventually_async(lambda: served.server._run is not run)
        # New calls go over a connection with the new certificate.
        assert await resolved(channel) == "4"
        assert not stream.done()
        assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert "Send it again" in await stream.details()
        again = channel.unary_stream(WATCH)(b"")
        assert await again.read() == b""
        again.cancel()
        await eventually_async(lambda: not served.server._earlier)


async def test_a_stopping_server_gives_calls_with_an_earlier_certificate_no_more_time(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_server, "DRAIN_S", PATIENCE_S + 30)
    async with fast(certificates=certificates(authority, tmp_path)) as served, secure(served, authority) as channel:
        stream = channel.unary_stream(WATCH)(b"")
        assert await stream.read() == b""
        run = served.server._run
        authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
        await eventually_async(lambda: served.server._run is not run and bool(served.server._earlier))
        async with asyncio.timeout(PATIENCE_S):
            await served.server.stop(0.2)
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
        assert "Send it again" in await stream.details()
        assert not served.server._earlier


async def test_a_wrong_file_leaves_the_certificate_and_all_connections(authority: Authority, tmp_path: Path) -> None:
    found = certificates(authority, tmp_path)
    async with fast(certificates=found) as served, secure(served, authority) as channel:
        serial = await serial_of(served, authority)
        run = served.server._run
        (tmp_path / "server.pem").write_text("nothing")
        await eventually_async(lambda: found.reloads.is_refused)
        assert (await serial_of(served, authority), await resolved(channel)) == (serial, "4")
        assert served.server._run is run


@pytest.mark.parametrize("kind", [OSError, ValueError, RuntimeError])
async def test_a_certificate_that_h2corn_refuses_leaves_the_one_in_use(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(fast_server._log, "error", lambda _event, **pairs: logged.append(pairs), raising=False)
    async with fast(certificates=certificates(authority, tmp_path)) as served:
        serial = await serial_of(served, authority)

        async def refuse(*_: object) -> None:
            raise kind("a kind of key that it does not know")

        with monkeypatch.context() as patch:
            patch.setattr(fast_server._Run, "begun", refuse)
            authority.issue("localhost", "127.0.0.1").write(tmp_path, "server")
            await eventually_async(lambda: bool(logged))
        assert "h2corn can't use it: a kind of key" in logged[0]["error"]
        assert await serial_of(served, authority) == serial


async def test_a_certificate_that_h2corn_refuses_at_the_start_ends_the_start(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(fast_server._Run, "begun", refuse)
    with pytest.raises(StartupError, match=r"--fast-listen .* can't use --tls-cert"):
        async with fast(certificates=certificates(authority, tmp_path)):
            pass


@pytest.fixture
def mesh(store_process: Any, namespace: str, authority: Authority) -> Iterator[tuple[str, Path, Tokens]]:
    """A server whose fast listener asks for certificates of clients."""
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("mesh", "viewer", proof='certificates = ["spiffe://team/mesh"]')
        tokens.grant("named", "viewer", proof='certificates = ["launcher.example.com"]')
        certificate, key = authority.issue("127.0.0.1").write(directory, "server")
        settings = {
            "namespace": namespace,
            "insecure_admin": False,
            "access_file": tokens.path,
            "tls_cert": certificate,
            "tls_key": key,
            "tls_client_ca": authority.write(directory),
            "fast_listen": Address("127.0.0.1", 0, True),
        }
        with testing.listening(directory, store_process.url, **settings) as found:
            assert found.fast is not None
            yield f"https://127.0.0.1:{found.fast.port}", directory, tokens


@pytest.mark.parametrize(
    ("name", "identity"), [("spiffe://team/mesh", "mesh"), ("launcher.example.com", "named"), ("ada@example.com", None)]
)
def test_the_certificate_of_a_client_proves_who_calls(
    mesh: tuple[str, Path, Tokens], authority: Authority, name: str, identity: str | None
) -> None:
    target, directory, _ = mesh
    pair = ClientCertificate(*authority.issue(name).write(directory, "client"))
    with Admin(target, credentials=pair, ca_file=directory / "ca.pem", timeout=60) as admin:
        if identity is None:
            with pytest.raises(Exception, match="credential"):
                admin.who_am_i()
        else:
            assert admin.who_am_i().identity == identity


def test_without_a_certificate_of_that_authority_there_is_no_connection(
    mesh: tuple[str, Path, Tokens], authority: Authority
) -> None:
    target, directory, _ = mesh
    for other in (None, Authority("another one").issue("spiffe://team/mesh")):
        pair = None if other is None else ClientCertificate(*other.write(directory, "client"))
        with (
            Admin(target, credentials=pair, ca_file=directory / "ca.pem", timeout=20) as admin,
            pytest.raises(UnavailableError, match="it may ask for a client certificate, or not accept this client's"),
        ):
            admin.who_am_i()


def test_threads_that_call_see_no_error_while_the_certificate_is_replaced(
    mesh: tuple[str, Path, Tokens], authority: Authority
) -> None:
    target, directory, _ = mesh
    pair = ClientCertificate(*authority.issue("spiffe://team/mesh").write(directory, "client"))
    errors: list[BaseException] = []
    stops = threading.Event()

    def keep_calling() -> None:
        try:
            with Admin(target, credentials=pair, ca_file=directory / "ca.pem", timeout=60) as admin:
                while not stops.is_set():
                    admin.who_am_i()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=keep_calling) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        authority.issue("127.0.0.1").write(directory, "server")
        stops.wait(0.3)
    stops.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
