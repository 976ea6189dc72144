"""gRPC's clients of other languages call both listeners, in plain text and over TLS with a token: all see the same. Only at night."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rampd import Admin, Token
from tests.authority import Authority
from tests.bench.access import ENDLESS
from tests.clients.building import LANGUAGES, Language, NotBuiltError, built
from tests.clients.client import Client, Secure, client
from tests.rpc.access_table import Tokens
from tests.servers import ServerProcess, rampd_server
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.timeout(900)

C = "restyler"
LISTENERS = ("grpcio", "fast")
LATE = {"tonic": "CANCELLED"}
"""How a client names a call whose time it has ended itself, where it is not DEADLINE_EXCEEDED."""
ENDED = {("tonic", "fast"): {"UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"}}
"""How calls may end with a server, where it is not only UNAVAILABLE. h2corn says at once which call is its last one, and tonic gives the
later ones to its caller as one of these, where the others send them again by themselves."""


@pytest.fixture(params=LANGUAGES, ids=lambda language: language.library, scope="module")
def language(request: pytest.FixtureRequest) -> Language:
    found: Language = request.param
    return found


@pytest.fixture(scope="module")
def command(language: Language) -> list[str]:
    try:
        return built(language)
    except NotBuiltError as error:
        pytest.skip(str(error))


@dataclass
class Site:
    """A server with both listeners, and one release."""

    server: ServerProcess
    secure: Secure | None
    admin: Admin

    def target(self, listener: str) -> str:
        return self.server.fast_target if listener == "fast" else self.server.target


@pytest.fixture(params=["plain", "TLS"])
def site(request: pytest.FixtureRequest, directory: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        flags, secure = ["--insecure-admin"], None
        if request.param == "TLS":
            authority, tokens = Authority(), Tokens(directory / "access.toml")
            certificate, key = authority.issue("127.0.0.1").write(directory, "server")
            secure = Secure(authority.write(directory), tokens.grant("ada", "admin", f"limits = {{ {ENDLESS} }}"))
            flags = ["--tls-cert", str(certificate), "--tls-key", str(key), "--access-file", str(tokens.path)]
        server = stack.enter_context(rampd_server(directory, *flags, "--fast-listen", "127.0.0.1:0"))
        server.event("serving")
        admin = Admin(f"unix:{server.socket}", timeout=60)
        if secure is not None:
            admin = Admin(
                f"https://{server.target}", credentials=Token(secure.token), ca_file=secure.authority, timeout=60
            )
        stack.enter_context(admin).release(C, "t1")
        yield Site(server, secure, admin)


@pytest.fixture(params=LISTENERS)
def listener(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def asked(listener: str, site: Site, command: list[str]) -> Iterator[Client]:
    with client(command, site.target(listener), site.secure) as running:
        yield running


def test_calls_are_answered_and_refused_with_details(asked: Client) -> None:
    assert asked.ask("resolve") == {"tags": ["t1"] * 5}
    assert asked.ask("health") == {"status": "SERVING"}
    refused = asked.ask("refused")
    assert "There is no component none" in refused.pop("message")
    assert refused == {"code": "NOT_FOUND", "reason": "COMPONENT_NOT_FOUND", "metadata": {"component": "none"}}


def test_a_large_message_is_taken_and_one_that_is_too_large_is_refused(asked: Client) -> None:
    assert asked.ask("large") == {"results": 1000, "tags": 1}
    assert asked.ask("too_large") == {"code": "RESOURCE_EXHAUSTED"}
    assert asked.ask("resolve") == {"tags": ["t1"] * 5}


def test_a_stream_tells_a_change_and_ends_with_its_caller(asked: Client, site: Site) -> None:
    assert asked.ask("watch") == {"state": ["t1"]}
    site.admin.release(C, "t2")
    assert asked.read() == {"change": ["t2"]}
    assert asked.read() == {"ended": "CANCELLED"}
    assert asked.ask("resolve") == {"tags": ["t1"] * 5}


def test_a_call_to_a_server_that_stands_still_is_late_and_then_calls_are_answered_again(
    asked: Client, site: Site, language: Language
) -> None:
    assert asked.ask("resolve") == {"tags": ["t1"] * 5}
    os.kill(site.server.process.pid, signal.SIGSTOP)
    try:
        assert asked.ask("late") == {"code": LATE.get(language.library, "DEADLINE_EXCEEDED")}
    finally:
        os.kill(site.server.process.pid, signal.SIGCONT)
    assert asked.ask("resolve") == {"tags": ["t1"] * 5}


def test_calls_while_a_server_ends_are_answered_or_unavailable(
    asked: Client, site: Site, language: Language, listener: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked.ask("calls") == {"begun": True}
    site.server.process.send_signal(signal.SIGTERM)
    found = asked.read()
    assert site.server.process.wait(PATIENCE_S) == 0
    answered, ends = found.pop("answered"), found.pop("ends")
    assert found == {"wrong": 0, "stream": "OK"}
    assert sum(ends.values()) == 8
    assert ends.keys() <= ENDED.get((language.library, listener), {"UNAVAILABLE"})
    with capsys.disabled():
        print(f"\n{language.library}, {listener}: {answered:,} answered until the server had ended, then {ends}")
