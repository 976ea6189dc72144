"""The fast listener of a server as a process."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc

from rampd import v1
from tests.authority import Authority
from tests.ports import free_port
from tests.rpc.access_table import Tokens, status
from tests.servers import rampd_server, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

FAST = ("--fast-listen", "127.0.0.1:0")


def test_it_answers_and_the_server_ends_in_order(directory: Path) -> None:
    with rampd_server(directory, "--insecure-admin", *FAST) as server:
        with stubs(server.fast_target) as call:
            call("Release", component="restyler", tag="t1")
            assert call("Resolve", component="restyler", repo="acme/app").tag == "t1"
        server.event("serving")
        assert server.stop() == 0
    assert any(f"Its fast listener for the same calls is {server.fast_target}." in line for line in server.said)
    assert not [line for line in server.said if "h2corn" in line], "h2corn writes into the log"


def test_a_stream_of_a_launcher_does_not_hold_a_server_that_ends(directory: Path) -> None:
    with rampd_server(directory, "--insecure-admin", *FAST) as server, stubs(server.fast_target) as call:
        server.event("serving")
        stream = call.channel.unary_stream("/rampd.v1.ResolverService/Watch")(b"", timeout=120)
        next(stream)
        server.process.send_signal(signal.SIGTERM)
        for _ in stream:
            pass
        assert stream.code() is grpc.StatusCode.OK
        assert server.process.wait(60) == 0


def test_a_port_that_is_taken_is_named_with_its_flag(directory: Path) -> None:
    port = free_port()
    with (
        rampd_server(directory, "--insecure-admin", "--fast-listen", f"127.0.0.1:{port}") as first,
        short_directory() as other,
    ):
        first.event("serving")
        with rampd_server(other, "--insecure-admin", "--fast-listen", f"127.0.0.1:{port}") as second:
            assert second.process.wait(60) == 2
            second.join()
            said = "\n".join(second.said)
    assert "--fast-listen (RAMPD_FAST_LISTEN)" in said
    assert "Address already in use" in said


def test_without_h2corn_a_server_says_what_to_install(directory: Path, store: StoreServer) -> None:
    """Given a Python that has no h2corn, expect a sentence and the exit code of a wrong setting."""
    (directory / "h2corn.py").write_text("raise ModuleNotFoundError('none', name='h2corn')")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAMPD_")}
    paths = filter(None, (str(directory), environment.get("PYTHONPATH")))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "rampd_server", "--data-dir", str(directory), "--redis-url", store.url),
            *("--listen", "127.0.0.1:0", *FAST),
        ],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert "needs h2corn, which is not installed: pip install 'rampd[server,fast]'" in ended.stderr


def test_each_worker_answers_at_the_one_address(directory: Path) -> None:
    with rampd_server(directory, "--insecure-admin", "--workers", "2", *FAST) as server:
        eventually(lambda: {line["worker"] for line in server.log if line["event"] == "serving"} == {0, 1})
        listening = [line for line in server.log if line["event"] == "listening_fast"]
        assert len({line["address"] for line in listening}) == 1
        assert {line["worker"] for line in listening} == {0, 1}
        with contextlib.ExitStack() as stack:
            calls = [stack.enter_context(stubs(server.fast_target)) for _ in range(24)]
            revision = calls[0]("Release", component="restyler", tag="t1").revision
            for call in calls:
                answer = call("Resolve", component="restyler", repo="acme/app", min_revision=revision)
                assert answer.tag == "t1"


def test_a_token_is_asked_for_over_tls(directory: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ada", "admin")
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key), "--access-file", str(tokens.path))
    with rampd_server(directory, *flags, *FAST) as server:
        assert server.event("listening_fast")["tls"]
        trusted = grpc.ssl_channel_credentials(authority.certificate)
        with grpc.secure_channel(server.fast_target, trusted) as channel:
            request = v1.WhoAmIRequest()
            server.event("serving")
            assert status(channel, "WhoAmI", request) == "UNAUTHENTICATED"
            assert status(channel, "WhoAmI", request, tokens.metadata("ada")) == "OK"
