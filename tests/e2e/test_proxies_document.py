"""Runs the configurations of docs/proxies.md, with other ports and files, in front of a real server."""

import contextlib
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from rampd import Admin, InvalidArgumentError, Resolver, Token, v1
from rampd._calls.endpoint import Endpoint
from rampd._contract.token import new_token
from rampd.v1 import release_service_pb2_grpc, resolver_service_pb2_grpc
from tests.authority import Authority, Pair
from tests.browsing import Browser
from tests.nights import IS_NIGHT
from tests.ports import free_port
from tests.rpc.access_table import Tokens, send
from tests.servers import ServerProcess, rampd_server, reason_of, require, short_directory, stubs
from tests.waiting import eventually

C = "restyler"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "proxies.md").read_text()
ENDS_TLS, TO_ANOTHER_MACHINE, PASSES_TLS, PAGE = re.findall(r"```nginx\n(.*?)```", DOCUMENT, re.DOTALL)
ENVOY, _SERVICE, PROBE = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
NAME = "rampd.example.com"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Where Debian has it."""


@dataclass
class Place:
    """A server, and what a proxy in front of it needs."""

    directory: Path
    authority: Authority
    tokens: Tokens
    server: ServerProcess
    clear: str
    """Its address in plain text."""
    tls: str
    """Its address with TLS."""
    tls_for_clients: str
    """The address of another server, where each caller needs a certificate."""
    page: str
    """The address of its page, in plain text."""

    def configuration(self, text: str, upstream: str, port: int) -> str:
        """A configuration of the document for this machine."""
        for shown, here in (
            ("listen 443", f"listen 127.0.0.1:{port}"),
            ("address: 0.0.0.0, port_value: 443", f"address: 127.0.0.1, port_value: {port}"),
            ("127.0.0.1, port_value: 50051", f"127.0.0.1, port_value: {upstream.rpartition(':')[2]}"),
            ("127.0.0.1:50051", upstream),
            ("listen 8443", f"listen 127.0.0.1:{port}"),
            ("127.0.0.1:8080", upstream),
            ("/etc/rampd", str(self.directory)),
            ("modules/ngx_stream_module.so", str(STREAM_MODULE)),
            # nginx keeps large bodies in folders of root, and a log.
            ("http {", f"http {{ access_log off; {self._folders()}"),
        ):
            text = text.replace(shown, here)
        return text

    def _folders(self) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return " ".join(f"{kind}_temp_path {self.directory}/{kind};" for kind in kinds)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with short_directory() as directory:
        authority = Authority()
        ca = authority.write(directory)
        certificate, key = authority.issue(NAME, "localhost").write(directory, "server")
        tokens = Tokens(directory / "access.toml")
        for name in ("ci", "launcher", "viewer"):
            tokens.grant(name, name)
        tokens.grant("machine", "launcher", proof='certificates = ["spiffe://team/launcher"]')
        flags = ("--tls-cert", str(certificate), "--tls-key", str(key), "--access-file", str(tokens.path))
        with (
            rampd_server(directory / "a", *flags, "--tls-client-ca", str(ca)) as other,
            rampd_server(
                directory / "b", *flags, "--listen", "http://127.0.0.1:0", "--http", "http://127.0.0.1:0"
            ) as server,
        ):
            for each in (other, server):
                each.event("serving")
                with stubs(f"unix:{each.socket}") as call:
                    call("Release", component=C, tag="20200301")
            tls, clear = (str(line["address"]) for line in server.log if line.get("event") == "listening")
            page = str(server.event("listening_http")["address"])
            yield Place(directory, authority, tokens, server, clear, tls, other.target, page)


@contextlib.contextmanager
def running(words: list[str], port: int, log: Path) -> Iterator[str]:
    """A proxy; its address."""
    with log.open("wb") as said, subprocess.Popen(words, stdout=said, stderr=said) as process:
        try:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return True

            eventually(answers, suppressed=OSError)
            yield f"localhost:{port}"
        finally:
            process.terminate()
            process.wait(60)


@contextlib.contextmanager
def nginx(place: Place, text: str, upstream: str) -> Iterator[str]:
    port = free_port()
    path = place.directory / f"nginx-{port}.conf"
    path.write_text(place.configuration(text, upstream, port))
    settings = f"daemon off; pid {place.directory}/nginx-{port}.pid;"
    words = [require("nginx"), "-p", str(place.directory), "-c", str(path), "-e", "stderr", "-g", settings]
    with running(words, port, path.with_suffix(".log")) as address:
        yield address


@contextlib.contextmanager
def envoy(place: Place, text: str, upstream: str) -> Iterator[str]:
    here = Path(sys.executable).parent / "envoy"
    program = str(here) if here.exists() else require("envoy")
    port = free_port()
    path = place.directory / f"envoy-{port}.yaml"
    path.write_text(place.configuration(text, upstream, port))
    words = [program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with running(words, port, path.with_suffix(".log")) as address:
        yield address


def nginx_to_another_machine(place: Place) -> "contextlib.AbstractContextManager[str]":
    here = "            grpc_pass grpc://rampd;\n"
    assert ENDS_TLS.count(here) == 1
    return nginx(place, ENDS_TLS.replace(here, TO_ANOTHER_MACHINE), place.tls)


def nginx_that_passes_tls(place: Place, upstream: str) -> "contextlib.AbstractContextManager[str]":
    if not STREAM_MODULE.exists():
        require("nginx with its module stream")
    return nginx(place, PASSES_TLS, upstream)


PROXIES: dict[str, Callable[[Place], "contextlib.AbstractContextManager[str]"]] = {
    "nginx that ends TLS": lambda place: nginx(place, ENDS_TLS, place.clear),
    "nginx that ends TLS, to another machine": nginx_to_another_machine,
    "nginx that passes TLS through": lambda place: nginx_that_passes_tls(place, place.tls),
    "Envoy that ends TLS": lambda place: envoy(place, ENVOY, place.clear),
}


@contextlib.contextmanager
def channel_to(address: str, authority: Authority, pair: Pair | None = None) -> Iterator[grpc.Channel]:
    own = (pair.key, pair.certificate) if pair is not None else ()
    credentials = grpc.ssl_channel_credentials(authority.certificate, *own)
    with grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


@pytest.mark.parametrize("proxy", PROXIES)
def test_calls_go_through_and_the_token_says_who_calls(place: Place, proxy: str) -> None:
    ca = place.directory / "ca.pem"
    with PROXIES[proxy](place) as address:
        target = f"https://{address}"
        with Admin(target, credentials=Token(place.tokens.of["ci"]), ca_file=ca, timeout=60) as admin:
            assert admin.who_am_i().identity == "ci"
            tag = f"t{address.rpartition(':')[2]}"
            large = {f"a{number}": "x" * 800 for number in range(15)}
            assert admin.release(C, tag, attributes=large).release > 1
            [event] = [event for event in admin.list_events(C) if event.action == "Release"][:1]
            assert event.actor == "ci"
        launcher: dict[str, Any] = {"credentials": Token(place.tokens.of["launcher"]), "ca_file": ca, "timeout": 60}
        with Resolver(target, mode="rpc", **launcher) as resolver:
            assert resolver.resolve(C, repo="acme/app").tag == "20200301"
        with channel_to(address, place.authority) as channel, pytest.raises(grpc.RpcError) as caught:
            send(channel, "WhoAmI", v1.WhoAmIRequest())
        assert reason_of(caught.value) == "NO_CREDENTIALS"


def test_a_client_certificate_is_known_where_tls_is_passed_through_and_not_where_it_ends(place: Place) -> None:
    pair = place.authority.issue("spiffe://team/launcher")
    with (
        nginx_that_passes_tls(place, place.tls_for_clients) as address,
        channel_to(address, place.authority, pair) as channel,
    ):
        assert send(channel, "WhoAmI", v1.WhoAmIRequest()).identity == "machine"
    for proxy in ("nginx that ends TLS", "Envoy that ends TLS"):
        with PROXIES[proxy](place) as address, channel_to(address, place.authority, pair) as channel:
            headers = (("x-forwarded-client-cert", "URI=spiffe://team/launcher"),)
            with pytest.raises(grpc.RpcError) as caught:
                send(channel, "WhoAmI", v1.WhoAmIRequest(), headers)
            assert reason_of(caught.value) == "NO_CREDENTIALS"


class Streams:
    """A Watch and a WatchRelease of a client over one proxy."""

    def __init__(self, address: str, place: Place, release: int, stack: contextlib.ExitStack) -> None:
        channel = stack.enter_context(channel_to(address, place.authority))
        launcher, ci = place.tokens.metadata("launcher"), place.tokens.metadata("ci")
        self.watch = resolver_service_pb2_grpc.ResolverServiceStub(channel).Watch(
            v1.WatchRequest(components=["quiet"]), metadata=launcher, timeout=110
        )
        stack.callback(self.watch.cancel)
        self.release = release_service_pb2_grpc.ReleaseServiceStub(channel).WatchRelease(
            v1.WatchReleaseRequest(component="quiet", release=release), metadata=ci, timeout=110
        )
        stack.callback(self.release.cancel)
        next(self.watch)
        self.first = next(self.release)


def test_streams_live_through_quiet(place: Place) -> None:
    """Given a release that waits for a person, expect that the stream of its build says nothing, and then the end. At night the quiet
    is longer than a minute, which is the time after which most proxies end a stream.
    """
    with contextlib.ExitStack() as stack:
        call = stack.enter_context(stubs(f"unix:{place.server.socket}"))
        call("Release", component="quiet", tag="t1")
        release = call("Release", component="quiet", tag="t2").release
        addresses = [stack.enter_context(each(place)) for each in PROXIES.values()]
        streams = [Streams(address, place, release, stack) for address in addresses]
        time.sleep(65 if IS_NIGHT else 5)
        call("Abandon", component="quiet")
        for each in streams:
            last = list(each.release)[-1]
            assert last.release.state == v1.RELEASE_STATE_ABANDONED
            assert next(each.watch) is not None


def page_behind_nginx(place: Place) -> "contextlib.AbstractContextManager[str]":
    return nginx(place, f"events {{ }}\nhttp {{\n{PAGE}}}\n", place.page)


def page_behind_envoy(place: Place) -> "contextlib.AbstractContextManager[str]":
    """Its configuration with what the document says in words."""
    text = ENVOY
    for shown, wanted in (("codec_type: HTTP2", "codec_type: AUTO"), ("[h2]", '[h2, "http/1.1"]')):
        assert text.count(shown) == 1
        text = text.replace(shown, wanted)
    text, number = re.subn(r"      typed_extension_protocol_options:\n(?: {8,}.*\n)+", "", text)
    assert number == 1
    return envoy(place, text, place.page)


@pytest.mark.parametrize("behind", [page_behind_nginx, page_behind_envoy])
def test_people_sign_in_to_the_page_and_see_what_changes_at_once(
    place: Place, behind: Callable[[Place], "contextlib.AbstractContextManager[str]"]
) -> None:
    trust = ssl.create_default_context(cadata=place.authority.certificate.decode())
    with (
        behind(place) as address,
        httpx.Client(base_url=f"https://{address}", verify=trust, timeout=30, trust_env=False) as client,
        stubs(f"unix:{place.server.socket}") as call,
    ):
        client.headers["host"] = f"{NAME}:{address.rpartition(':')[2]}"
        browser = Browser(client, f"https://{client.headers['host']}")
        assert browser.sign_in(place.tokens.of["viewer"]).status_code == 303
        assert {each.name for each in client.cookies.jar if each.secure} == {
            "__Host-rampd-form",
            "__Host-rampd-credential",
        }
        # A password that the proxy has asked for.
        passed_on = {} if behind is page_behind_envoy else {"authorization": "Basic of-the-proxy"}
        page = browser.page("/", **passed_on)
        assert f"/components/{C}" in page.links
        name = f"behind-{address.rpartition(':')[2]}"
        with browser.stream("/live") as stream:
            stream.until("seen")
            call("Release", component=name, tag="v7")
            found = []
            while not any(event == "patch" and name in data["html"] for event, data in found):
                found += stream.until("seen")
        assert browser.send(page.form("/sign-out")).status_code == 303
        assert browser.get("/").status_code == 303


def test_the_command_of_the_probe_says_whether_launchers_get_answers(place: Place) -> None:
    [script] = re.findall(r"- \|\n(.*)", PROBE, re.DOTALL)
    script = script.replace("/var/lib/rampd/rampd.sock", str(place.server.socket))
    words = [sys.executable, "-c", "if True:\n" + script]
    assert subprocess.run(words, check=False, timeout=60).returncode == 0
    words[-1] = words[-1].replace("ResolverService", "NoService")
    assert subprocess.run(words, check=False, capture_output=True, timeout=60).returncode == 1


def test_a_client_sends_its_token_to_the_addresses_of_the_recipe_for_a_mesh() -> None:
    [recipe] = re.findall(r"^- \*\*A mesh\*\*(.*?)^- \*\*", DOCUMENT, re.DOTALL | re.MULTILINE)
    targets = re.findall(r"[Cc]lients use `([^`]+)`", recipe)
    assert targets == ["https://rampd.tools.svc:50051", "127.0.0.1:50051"]
    for target in targets:
        assert Endpoint(target, Token(new_token())).authorization()
    with pytest.raises(InvalidArgumentError, match="not sent in the clear"):
        Endpoint("rampd.tools.svc:50051", Token(new_token()))
