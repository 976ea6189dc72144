"""Clients with credentials, against real servers: each kind of client, each kind of proof, and the end of a proof."""

import asyncio
import contextlib
import http.server
import inspect
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from openfeature.evaluation_context import EvaluationContext

from rampd import (
    Admin,
    AsyncAdmin,
    AsyncResolver,
    ClientCertificate,
    DeadlineExceededError,
    GitHubActions,
    RampdError,
    Resolver,
    ResourceExhaustedError,
    Token,
    TokenFile,
    UnauthenticatedError,
    UnavailableError,
    v1,
)
from rampd._calls import held_token
from rampd._calls.endpoint import Endpoint
from rampd._contract.token import new_token
from rampd._reporting import report_thread
from rampd._runtime import fork_gate
from rampd.credentials import Credentials
from rampd.openfeature import RampdProvider
from rampd_server import testing
from rampd_server.access import following
from rampd_server.process.address import Address
from rampd_server.rpc import door
from tests.authority import Authority, Pair
from tests.children import in_child
from tests.rpc.access_table import Tokens
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status
from tests.servers import short_directory
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
VARIABLES = ("RAMPD_TOKEN", "RAMPD_TOKEN_FILE", "RAMPD_CA_FILE", "RAMPD_CERT_FILE", "RAMPD_KEY_FILE")
PATIENT: dict[str, Any] = {"timeout": 60}
"""For calls that are answered. The machine may be busy."""
REFUSED = status(grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS", "The token was revoked.")
ANSWER = v1.ResolveResponse(tag="t1", channel=v1.CHANNEL_CURRENT, reason=v1.RESOLVE_REASON_STEADY, release=1)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers follow their files, and clients come back, as fast as a test needs it. No variable has credentials."""
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    monkeypatch.setattr(door, "_CHECK_AGAIN_S", 0.05)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@dataclass
class Place:
    """A server with an access file and one component, at a plain address and at one with TLS."""

    plain: str
    tls: str
    tokens: Tokens
    directory: Path
    authority: Authority
    certificate: tuple[Path, Path]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def port(self) -> str:
        return self.tls.rpartition(":")[2]

    def token_file(self, name: str) -> Path:
        path = self.directory / f"token-of-{name}"
        replace(path, self.tokens.of[name])
        return path

    def who(self, target: str = "", **options: Any) -> str:
        with Admin(target or self.plain, **PATIENT | options) as admin:
            return admin.who_am_i().identity


def replace(path: Path, text: str) -> None:
    """Puts a file with this text in the place of another one, as an agent does."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@contextlib.contextmanager
def serving(url: str, authority: Authority, pair: Pair, **settings: Any) -> Iterator[Place]:
    """Starts two servers with the same data: one without TLS, and one with TLS."""
    with short_directory() as directory, short_directory() as other:
        tokens = Tokens(directory / "access.toml")
        for name, role in (("ops", "admin"), ("worker", "launcher"), ("page", "viewer")):
            tokens.grant(name, role)
        tokens.grant("mesh", "viewer", proof='certificates = ["spiffe://team/mesh"]')
        tokens.grant("other-mesh", "viewer", proof='certificates = ["spiffe://team/other"]')
        certificate = pair.write(directory, "server")
        authority.write(directory)
        given = {"access_file": tokens.path, "insecure_admin": False, "namespace": settings.pop("namespace")}
        tls = {"listen": [Address("127.0.0.1", 0, True)], "tls_cert": certificate[0], "tls_key": certificate[1]}
        with testing.run(directory, url, **given) as plain:
            # Released before the other server starts, because it would see the release a moment later than this one.
            with Admin(plain, credentials=Token(tokens.of["ops"]), **PATIENT) as admin:
                admin.release(C, "t1")
            with testing.run(other, url, **given, **tls, **settings) as secure:
                port = secure.rpartition(":")[2]
                yield Place(plain, f"https://127.0.0.1:{port}", tokens, directory, authority, certificate)


@pytest.fixture
def place(store_process: StoreServer, namespace: str, authority: Authority) -> Iterator[Place]:
    pair = authority.issue("127.0.0.1", "localhost")
    with serving(store_process.url, authority, pair, namespace=namespace) as made:
        yield made


@pytest.fixture
def mesh(store_process: StoreServer, namespace: str, authority: Authority, tmp_path: Path) -> Iterator[Place]:
    """A place whose address with TLS asks for a client certificate."""
    pair, ca = authority.issue("127.0.0.1"), authority.write(tmp_path)
    with serving(store_process.url, authority, pair, namespace=namespace, tls_client_ca=ca) as made:
        yield made


async def result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


# Each client


async def resolved(face: type, target: str, mode: str, **options: Any) -> str:
    resolver = face(target, mode=mode, **PATIENT | options)
    try:
        return str((await result(resolver.resolve(C, repo="acme/app"))).tag)
    finally:
        await result(resolver.close())


async def read(face: type, target: str, **options: Any) -> str:
    admin = face(target, **PATIENT | options)
    try:
        return str((await result(admin.get_rollout(C))).current.tag)
    finally:
        await result(admin.close())


async def provided(target: str, **options: Any) -> str:
    provider = RampdProvider(target, **PATIENT | options)
    try:
        await asyncio.to_thread(provider.initialize, EvaluationContext())
        return provider.resolve_string_details(C, "none", EvaluationContext("acme/app")).value
    finally:
        provider.shutdown()


CLIENTS: dict[str, Callable[..., Any]] = {
    "Resolver, local": lambda target, **options: resolved(Resolver, target, "local", **options),
    "Resolver, rpc": lambda target, **options: resolved(Resolver, target, "rpc", **options),
    "AsyncResolver, local": lambda target, **options: resolved(AsyncResolver, target, "local", **options),
    "AsyncResolver, rpc": lambda target, **options: resolved(AsyncResolver, target, "rpc", **options),
    "Admin": lambda target, **options: read(Admin, target, **options),
    "AsyncAdmin": lambda target, **options: read(AsyncAdmin, target, **options),
    "RampdProvider": provided,
}
WAITS_FOR_A_STATE = ("Resolver, local", "AsyncResolver, local", "RampdProvider")
"""Clients that wait for a first state until their time-out, also if the server refuses them."""


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_proves_who_calls_by_a_token_over_tls(place: Place, client: str) -> None:
    options = {"credentials": Token(place.tokens.of["page"]), "ca_file": place.ca_file}
    assert await CLIENTS[client](place.tls, **options) == "t1"
    with pytest.raises(Exception, match=r"(?s)credential|No version|no state"):
        await CLIENTS[client](place.tls, ca_file=place.ca_file, timeout=2 if client in WAITS_FOR_A_STATE else 60)


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_follows_the_environment(place: Place, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPD_TOKEN_FILE", str(place.token_file("page")))
    monkeypatch.setenv("RAMPD_CA_FILE", str(place.ca_file))
    assert await CLIENTS[client](place.tls) == "t1"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("from_variables", [False, True], ids=["argument", "variables"])
async def test_every_client_proves_who_calls_by_a_certificate(
    mesh: Place, client: str, from_variables: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = mesh.authority.issue("spiffe://team/mesh").write(mesh.directory, "mesh")
    options: dict[str, Any] = {"ca_file": mesh.ca_file}
    if from_variables:
        monkeypatch.setenv("RAMPD_CERT_FILE", str(certificate))
        monkeypatch.setenv("RAMPD_KEY_FILE", str(key))
    else:
        options["credentials"] = ClientCertificate(certificate, key)
    assert await CLIENTS[client](mesh.tls, **options) == "t1"


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_takes_a_token_from_a_variable(
    place: Place, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMPD_TOKEN", place.tokens.of["page"])
    assert await CLIENTS[client](place.plain) == "t1"


def test_each_variable_of_the_environment_proves_who_calls(mesh: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPD_TOKEN", mesh.tokens.of["worker"])
    assert mesh.who() == "worker"
    assert mesh.who(credentials=Token(mesh.tokens.of["page"])) == "page"
    certificate, key = mesh.authority.issue("spiffe://team/mesh").write(mesh.directory, "mesh")
    for name, value in (("CA_FILE", mesh.ca_file), ("CERT_FILE", certificate), ("KEY_FILE", key)):
        monkeypatch.setenv(f"RAMPD_{name}", str(value))
    # The certificate opens the connection, and the token says who calls.
    assert mesh.who(mesh.tls) == "worker"
    monkeypatch.delenv("RAMPD_TOKEN")
    assert mesh.who(mesh.tls) == "mesh"


# Rotation


@contextlib.contextmanager
def jobs(resolve: Callable[[], object]) -> Iterator[list[BaseException | None]]:
    """Resolves without a pause in a thread. The list gets the error of each call, or None."""
    ran: list[BaseException | None] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                resolve()
            except BaseException as error:
                ran.append(error)
            else:
                ran.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ran
    finally:
        stop.set()
        thread.join(30)


def test_a_token_file_is_rotated_and_the_old_token_revoked_without_a_failed_job(place: Place) -> None:
    path = place.token_file("worker")
    with (
        Resolver(place.plain, credentials=TokenFile(path), **PATIENT) as local,
        Resolver(place.plain, credentials=TokenFile(path), mode="rpc", **PATIENT) as rpc,
        jobs(lambda: local.resolve(C, repo="acme/app")) as of_local,
        jobs(lambda: rpc.resolve(C, repo="acme/app")) as of_rpc,
    ):
        eventually(lambda: of_local and of_rpc and local.status().connected)
        new = place.tokens.grant("worker-2", "launcher")
        eventually(lambda: place.who(credentials=Token(new)) == "worker-2", suppressed=UnauthenticatedError)
        replace(path, new)
        place.tokens.revoke("worker")
        eventually(lambda: not is_taken(place, "worker"))
        count = len(of_rpc)
        eventually(lambda: len(of_rpc) > count + 5)
        # The first stream has ended, and the next one has the new token.
        eventually(lambda: is_well(local))
        assert local.resolve(C, repo="acme/app").tag == "t1"
    assert [error for error in (*of_local, *of_rpc) if error is not None] == []


def is_well(resolver: Resolver) -> bool:
    """Whether a resolver has a stream and a fresh state."""
    found = resolver.status()
    return found.connected and not found.error


def is_taken(place: Place, name: str) -> bool:
    try:
        return place.who(credentials=Token(place.tokens.of[name])) == name
    except UnauthenticatedError:
        return False


def test_a_client_certificate_is_replaced_while_an_admin_is_in_use(mesh: Place) -> None:
    def put(name: str) -> tuple[Path, Path]:
        return mesh.authority.issue(f"spiffe://team/{name}").write(mesh.directory, "client")

    certificate, key = put("mesh")
    with Admin(mesh.tls, credentials=ClientCertificate(certificate, key), ca_file=mesh.ca_file, **PATIENT) as admin:
        assert admin.who_am_i().identity == "mesh"
        put("other")
        assert admin.who_am_i().identity == "other-mesh"
        # The key does not belong to the certificate, so the earlier pair stays in use.
        key.write_bytes(mesh.authority.issue("x").key)
        assert admin.who_am_i().identity == "other-mesh"
        put("mesh")
        assert admin.who_am_i().identity == "mesh"


def test_calls_of_many_threads_go_on_while_a_client_certificate_is_replaced(mesh: Place) -> None:
    def put() -> tuple[Path, Path]:
        return mesh.authority.issue("spiffe://team/mesh").write(mesh.directory, "client")

    with Admin(mesh.tls, credentials=ClientCertificate(*put()), ca_file=mesh.ca_file, **PATIENT) as admin:
        admin.who_am_i()
        with jobs(admin.who_am_i) as first, jobs(admin.who_am_i) as second, jobs(admin.who_am_i) as third:
            for _ in range(4):
                put()
                count = len(first) + len(second) + len(third)
                eventually(lambda count=count: len(first) + len(second) + len(third) > count + 10)
    assert [error for error in (*first, *second, *third) if error is not None] == []


def test_a_call_under_way_goes_on_while_a_client_certificate_is_replaced_several_times(mesh: Place) -> None:
    def put() -> tuple[Path, Path]:
        return mesh.authority.issue("spiffe://team/mesh").write(mesh.directory, "client")

    with (
        Admin(mesh.plain, credentials=Token(mesh.tokens.of["ops"]), **PATIENT) as ops,
        Admin(mesh.tls, credentials=ClientCertificate(*put()), ca_file=mesh.ca_file, **PATIENT) as admin,
    ):
        number = ops.release(C, "t2").release
        eventually(lambda: admin.get_rollout(C).next.number == number)
        watched = admin.watch_release(C, number)
        assert next(watched).rollout.next_percent == 0
        for _ in range(3):
            put()
            admin.who_am_i()
        ops.ramp(C, 10)
        assert next(watched).rollout.next_percent == 10


def test_a_resolver_goes_on_when_its_client_certificate_is_replaced(
    mesh: Place, caplog: pytest.LogCaptureFixture
) -> None:
    pair = mesh.authority.issue("spiffe://team/mesh").write(mesh.directory, "client")
    caplog.set_level(logging.INFO, "rampd")
    with Resolver(mesh.tls, credentials=ClientCertificate(*pair), ca_file=mesh.ca_file, **PATIENT) as resolver:
        assert resolver.resolve(C, repo="acme/app").tag == "t1"
        eventually(lambda: resolver.status().connected)
        mesh.authority.issue("spiffe://team/other").write(mesh.directory, "client")
        mesh.tokens.revoke("mesh")
        # The log keeps what the status may say for a moment only: the next stream has the other certificate.
        eventually(lambda: "The known state stays in use" in caplog.text)
        assert resolver.resolve(C, repo="acme/app").tag == "t1"
        eventually(lambda: resolver.status().connected)


# Mistakes with TLS


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("unknown authority", "no authority that this client trusts has signed the certificate of the server: give ca_file="),
        ("another name", "the certificate of the server is not for this host name"),
        ("expired", "the certificate of the server has expired: its admin has to renew it"),
        ("a plain port", "this port of the server is plain text, and the target asks for TLS: leave https:// out"),
        ("a plain target", "the server has closed the connection: if this port has TLS, the target is https://host:port"),
        ("no client certificate", "it may ask for a client certificate, or not accept this client's (RAMPD_CERT_FILE"),
        ("a client certificate of another authority", "it may ask for a client certificate, or not accept this client's"),
    ],
)  # fmt: skip
def test_each_mistake_with_tls_has_its_sentence(
    store_process: StoreServer, namespace: str, authority: Authority, mistake: str, sentence: str
) -> None:
    names = ("elsewhere.example",) if mistake == "another name" else ("127.0.0.1",)
    pair = authority.issue(*names, life=timedelta(hours=-1 if mistake == "expired" else 1))
    with short_directory() as directory:
        settings = {"tls_client_ca": authority.write(directory, "clients")} if "client certificate" in mistake else {}
        with serving(store_process.url, authority, pair, namespace=namespace, **settings) as place:
            other = Authority("another authority")
            target, options = place.tls, {"ca_file": place.ca_file}
            if mistake == "unknown authority":
                options = {"ca_file": other.write(directory, "other")}
            elif mistake == "a plain port":
                target = f"https://{place.plain}"
            elif mistake == "a plain target":
                target, options = f"127.0.0.1:{place.port}", {}
            elif mistake == "a client certificate of another authority":
                certificate = ClientCertificate(*other.issue("spiffe://team/mesh").write(directory, "client"))
                options["credentials"] = certificate  # type: ignore[assignment]
            with pytest.raises(UnavailableError) as caught:
                place.who(target, **options)
            assert f"Can't reach a rampd server at {target}: " in caught.value.message
            assert sentence in caught.value.message
            with Resolver(target, timeout=0.2, **options) as resolver:
                resolver.connect()
                eventually(lambda: sentence in resolver.status().error)


# Refusals, and the way back


def test_a_refused_provider_goes_on_and_its_event_says_why(place: Place) -> None:
    provider = RampdProvider(place.plain, credentials=Token(place.tokens.of["worker"]), **PATIENT)
    told: list[str] = []
    provider.emit_provider_stale = lambda details: told.append(details.message)  # type: ignore[method-assign]
    try:
        provider.initialize(EvaluationContext())
        place.tokens.revoke("worker")
        eventually(lambda: not provider.resolver.status().connected)
        eventually(lambda: any("No grant of the access file has this token" in each for each in told))
        assert provider.resolve_string_details(C, "none", EvaluationContext("acme/app")).value == "t1"
    finally:
        provider.shutdown()


def test_a_refused_resolver_goes_on_with_what_it_knows_and_comes_back_by_itself(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    path = place.token_file("worker")
    caplog.set_level(logging.DEBUG, "rampd")
    with Resolver(place.plain, credentials=TokenFile(path), **PATIENT) as resolver:
        assert resolver.resolve(C, repo="acme/app").tag == "t1"
        place.tokens.revoke("worker")
        # A machine that stands still for seconds ends a stream, too.
        eventually(lambda: "No grant of the access file has this token" in resolver.status().error)
        assert not resolver.status().connected
        assert resolver.resolve(C, repo="acme/app").tag == "t1"
        assert resolver.status().source == "server"
        replace(path, place.tokens.grant("worker-2", "launcher"))
        eventually(lambda: is_well(resolver))
    for token in place.tokens.of.values():
        assert token not in caplog.text
    assert "The known state stays in use" in caplog.text


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        yield script


def require_pauses(server: ScriptedServer, method: str) -> None:
    """Expects that a refused caller comes back after pauses of a half to 1 s, then 1 to 2 s. A busy machine makes them longer."""
    eventually(lambda: len(server.times_s(method)) >= 3)
    first_s, second_s, third_s = server.times_s(method)[:3]
    assert second_s - first_s >= 0.5
    assert third_s - second_s >= 1


def test_a_refused_watch_is_not_tried_again_in_a_tight_loop(server: ScriptedServer) -> None:
    server.answers["Watch"] = [REFUSED]
    with Resolver(server.target, credentials=Token(new_token()), timeout=0.2) as resolver:
        resolver.connect()
        require_pauses(server, "Watch")
        assert "The token was revoked." in resolver.status().error


def test_a_refused_report_is_not_tried_again_in_a_tight_loop(server: ScriptedServer) -> None:
    server.answers["Resolve"] = [ANSWER]
    server.answers["ReportOutcomes"] = [REFUSED]
    with Resolver(server.target, mode="rpc", credentials=Token(new_token()), **PATIENT) as resolver:
        with resolver.job(C, repo="acme/app"):
            pass
        require_pauses(server, "ReportOutcomes")
        reports = resolver.status().reports
        assert (reports.buffered, reports.error) == (1, "The token was revoked.")
        server.answers["ReportOutcomes"] = [v1.ReportOutcomesResponse(accepted=1)]
        eventually(lambda: resolver.status().reports.sent == 1)


@pytest.mark.parametrize(
    ("credentials", "calls"),
    [
        (lambda _path: Token(new_token()), 1),
        (TokenFile, 1),
        (lambda _path: lambda: ("token", None), 1),
    ],
    ids=["Token", "TokenFile", "callable"],
)
def test_a_refused_call_is_made_once(
    server: ScriptedServer, tmp_path: Path, credentials: Callable[[Path], Credentials], calls: int
) -> None:
    (tmp_path / "token").write_text(new_token())
    server.answers["GetRollout"] = [REFUSED]
    with (
        Admin(server.target, credentials=credentials(tmp_path / "token"), **PATIENT) as admin,
        pytest.raises(UnauthenticatedError, match="revoked"),
    ):
        admin.get_rollout(C)
    assert len(server.requests("GetRollout")) == calls


def test_a_refused_call_is_made_once_more_if_there_is_another_token(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")

    def refuse(_request: Any, context: grpc.ServicerContext) -> Any:
        replace(path, "second")
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")

    server.answers["GetRollout"] = [refuse, v1.GetRolloutResponse(rollout=v1.Rollout(component=C))]
    with Admin(server.target, credentials=TokenFile(path), **PATIENT) as admin:
        assert admin.get_rollout(C).component == C
    assert [asked.metadata["authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    "answer",
    [
        REFUSED,
        status(grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED"),
        status(grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
    ],
    ids=["refused", "no role", "over its limit"],
)
@pytest.mark.parametrize("face", [Resolver, AsyncResolver])
async def test_a_job_gets_its_fallback_if_the_server_refuses_its_caller(
    server: ScriptedServer, face: type, answer: status_pb2.Status
) -> None:
    server.answers["Resolve"] = [answer]
    resolver = face(server.target, mode="rpc", credentials=Token(new_token()), **PATIENT)
    try:
        assert (await result(resolver.resolve(C, repo="acme/app", fallback="t0"))).tag == "t0"
        with pytest.raises(RampdError):
            await result(resolver.resolve(C, repo="acme/app"))
    finally:
        await result(resolver.close())


@pytest.mark.parametrize("face", [Resolver, AsyncResolver])
async def test_a_refused_resolver_in_mode_rpc_says_so_until_a_call_is_not_refused(
    server: ScriptedServer, face: type
) -> None:
    server.answers["Resolve"] = [REFUSED]
    resolver = face(server.target, mode="rpc", credentials=Token(new_token()), **PATIENT)

    def told() -> tuple[bool, str]:
        found = resolver.status()
        return found.connected, found.error

    try:
        assert told() == (True, "")
        assert (await result(resolver.resolve(C, repo="acme/app", fallback="t0"))).tag == "t0"
        assert told() == (False, "The token was revoked.")
        server.answers["Resolve"] = [ANSWER]
        assert (await result(resolver.resolve(C, repo="acme/app"))).tag == "t1"
        assert told() == (True, "")
    finally:
        await result(resolver.close())


@pytest.mark.parametrize("face", [Admin, AsyncAdmin])
async def test_a_wait_for_a_release_goes_on_with_another_token_when_the_first_has_ended(
    server: ScriptedServer, face: type
) -> None:
    def under_way(state: int) -> v1.WatchReleaseResponse:
        return v1.WatchReleaseResponse(
            release=v1.Release(number=2, tag="t2", state=state), rollout=v1.Rollout(component=C), message="under way"
        )

    streams = iter([[under_way(v1.RELEASE_STATE_NEXT), REFUSED], [under_way(v1.RELEASE_STATE_CURRENT)]])
    with streaming_server(lambda: next(streams)) as (target, tokens):
        numbers = iter(range(10))
        admin = face(target, credentials=lambda: (f"token-{next(numbers)}", time.time()))
        try:
            released = await result(admin.wait_for_release(C, 2, timeout=60))
        finally:
            await result(admin.close())
    assert released.state == v1.RELEASE_STATE_CURRENT
    assert len(tokens) == 2


def test_a_wait_for_a_release_that_is_refused_at_first_ends(server: ScriptedServer) -> None:
    server.answers["WatchRelease"] = [REFUSED]
    with Admin(server.target, credentials=Token(new_token())) as admin, pytest.raises(UnauthenticatedError):
        admin.wait_for_release(C, 2, timeout=60)
    assert len(server.requests("WatchRelease")) == 1


@contextlib.contextmanager
def streaming_server(messages: Callable[[], list[Any]]) -> Iterator[tuple[str, list[str]]]:
    """Answers each WatchRelease with the next messages. A Status among them ends the stream. Yields the target, and the list of
    the tokens that came.
    """
    from concurrent.futures import ThreadPoolExecutor

    from grpc_status import rpc_status

    tokens: list[str] = []

    def answer(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        tokens.append(str(dict(context.invocation_metadata())["authorization"]))
        for message in messages():
            if isinstance(message, status_pb2.Status):
                context.abort_with_status(rpc_status.to_status(message))
            yield message.SerializeToString()

    handler = grpc.method_handlers_generic_handler(
        "rampd.v1.ReleaseService", {"WatchRelease": grpc.unary_stream_rpc_method_handler(answer)}
    )
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", tokens
        finally:
            server.stop(None).wait(10)


# A server that says when to come back


def limited(seconds: float) -> status_pb2.Status:
    answer = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", "launcher has used up its calls a second.")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(int(seconds * 1e9))
    answer.details.add().Pack(retry)
    return answer


def test_a_call_over_its_limit_is_made_again_when_the_server_says(server: ScriptedServer) -> None:
    server.answers["GetRollout"] = [limited(0.4), v1.GetRolloutResponse(rollout=v1.Rollout(component=C))]
    with Admin(server.target, **PATIENT) as admin:
        assert admin.get_rollout(C).component == C
    first_s, second_s = server.times_s("GetRollout")
    assert second_s - first_s >= 0.4


def test_a_call_whose_time_out_is_shorter_than_the_wait_fails_at_once_and_has_the_wait(server: ScriptedServer) -> None:
    server.answers["GetRollout"] = [limited(300)]
    with Admin(server.target, timeout=50) as admin, pytest.raises(ResourceExhaustedError) as caught:
        admin.get_rollout(C)
    assert (caught.value.retry_after_s, caught.value.retryable) == (300, True)
    assert len(server.requests("GetRollout")) == 1


def test_a_watch_and_a_report_over_their_limit_come_back_when_the_server_says(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not longer than the wait: otherwise the call itself would wait, instead of the reporter.
    monkeypatch.setattr(report_thread, "_CALL_S", 4)
    server.answers["Watch"] = [limited(4)]
    server.answers["ReportOutcomes"] = [limited(4)]
    server.answers["Resolve"] = [ANSWER]
    with (
        Resolver(server.target, timeout=0.1) as local,
        Resolver(server.target, mode="rpc", **PATIENT) as rpc,
    ):
        local.connect()
        with rpc.job(C, repo="acme/app"):
            pass
        for method in ("Watch", "ReportOutcomes"):
            # By themselves both would come back within 0.1 s.
            eventually(lambda method=method: len(server.times_s(method)) >= 2)
            first_s, second_s = server.times_s(method)[:2]
            assert second_s - first_s >= 4


def test_a_wait_for_a_release_goes_on_after_a_limit(server: ScriptedServer) -> None:
    done = v1.WatchReleaseResponse(release=v1.Release(number=2, tag="t2", state=v1.RELEASE_STATE_CURRENT))
    server.answers["WatchRelease"] = [limited(0.2), done]
    with Admin(server.target) as admin:
        assert admin.wait_for_release(C, 2, timeout=60).number == 2


# Slow credentials


def test_credentials_that_hang_delay_no_fork_and_no_job_that_has_a_state(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, is_asked, forever = threading.Event(), threading.Event(), threading.Event()

    def ask() -> tuple[str, float | None]:
        if hangs.is_set():
            is_asked.set()
            forever.wait(90)
        return place.tokens.of["worker"], time.time()

    with Resolver(place.plain, credentials=ask, **PATIENT) as resolver:
        assert resolver.resolve(C, repo="acme/app").tag == "t1"
        # Without this shortest time, the client gives up its first token as soon as a server refuses it.
        monkeypatch.setattr(held_token, "_LEAST_LIFE_S", 0.0)
        # A fork that waited for the token would wait so long, and so would the thread that asks.
        monkeypatch.setattr(fork_gate, "_PATIENCE_S", 80.0)
        monkeypatch.setattr(Endpoint.authorization, "__defaults__", (80.0,))
        hangs.set()
        place.tokens.revoke("worker")
        assert is_asked.wait(60)
        began_s = time.monotonic()
        for _ in range(100):
            assert resolver.resolve(C, repo="acme/app").tag == "t1"
        child = os.fork()
        if not child:
            with in_child():
                assert resolver.resolve(C, repo="acme/app").tag == "t1"
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert time.monotonic() - began_s < 60, "something waited for the credentials"
        forever.set()


@pytest.mark.parametrize("face", [Resolver, AsyncResolver])
async def test_with_credentials_that_hang_a_call_ends_after_its_time_out(server: ScriptedServer, face: type) -> None:
    forever = threading.Event()

    def ask() -> tuple[str, float | None]:
        forever.wait(90)
        return "token", None

    for mode in ("rpc", "local"):
        resolver = face(server.target, mode=mode, credentials=ask, timeout=0.2)
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceededError if mode == "rpc" else RampdError):
            await result(resolver.resolve(C, repo="acme/app"))
        assert (await result(resolver.resolve(C, repo="acme/app", fallback="t0"))).tag == "t0"
        await result(resolver.close())
        assert time.monotonic() - began_s < 60, "something waited for the credentials"
    forever.set()
    assert server.asked == []


# GitHub


class _GitHub(http.server.BaseHTTPRequestHandler):
    """Gives tokens like the runner of a job of GitHub Actions."""

    asked: list[tuple[str, str]]
    answer: tuple[int, bytes]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        code, body = self.answer
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_GitHub]]:
    handler = type("GitHub", (_GitHub,), {"asked": [], "answer": (200, json.dumps({"value": "a.b.c"}).encode())})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"http://127.0.0.1:{running.server_port}/token?api=2")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-of-the-job")
        monkeypatch.setattr("rampd.credentials._TIMEOUT_S", 60)
        yield handler
        running.shutdown()
        thread.join(10)


def test_a_job_of_github_sends_the_token_that_github_gives_for_the_audience(
    server: ScriptedServer, github: type[_GitHub]
) -> None:
    with Admin(server.target, credentials=GitHubActions("https://rampd.example"), **PATIENT) as admin:
        for _ in range(3):
            admin.get_rollout(C)
    assert github.asked == [("/token?api=2&audience=https%3A%2F%2Frampd.example", "bearer secret-of-the-job")]
    assert {asked.metadata["authorization"] for asked in server.asked} == {"Bearer a.b.c"}


@pytest.mark.parametrize(
    "answer",
    [(403, b"no"), (200, b"no JSON"), (200, b"[]"), (200, b"{}"), (200, b'{"value": 7}'), (302, b"")],
)
def test_any_answer_of_github_without_a_token_gives_one_error_without_the_secret(
    server: ScriptedServer, github: type[_GitHub], answer: tuple[int, bytes]
) -> None:
    github.answer = answer
    with (
        Admin(server.target, credentials=GitHubActions("rampd"), **PATIENT) as admin,
        pytest.raises(UnauthenticatedError, match="GitHub gave no token for this job") as caught,
    ):
        admin.get_rollout(C)
    assert "secret" not in caught.value.message
    assert (len(github.asked), server.asked) == (1, [])


def test_the_secret_of_a_job_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://rampd.example/token")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-of-the-job")
    with pytest.raises(UnauthenticatedError, match="https://"):
        GitHubActions("rampd")()
