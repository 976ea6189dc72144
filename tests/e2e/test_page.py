"""The page of a server as processes: several workers, and the end."""

import subprocess
import sys
from pathlib import Path

import httpx

from tests.browsing import Browser
from tests.rpc.access_table import Tokens
from tests.servers import ServerProcess, rampd_server, stubs
from tests.waiting import eventually

C = "restyler"
_COUNTS_AT_ITS_END = """
import atexit, gc, runpy
atexit.register(lambda: print("spared", gc.get_freeze_count(), flush=True))
runpy.run_module("rampd_server", run_name="__main__", alter_sys=True)
"""
HTTP = ("--http", "127.0.0.1:0")


def browser(site: str, stack: dict[str, str] | None = None) -> Browser:
    return Browser(httpx.Client(base_url=site, timeout=30, trust_env=False, cookies=stack), site)


def test_every_worker_takes_what_one_has_signed_in(directory: Path) -> None:
    """Given two workers, each with connections of its own, expect that none of them asks a person to sign in again."""
    tokens = Tokens(directory / "access.toml")
    tokens.grant("ada", "operator")
    with rampd_server(directory, *HTTP, "--access-file", str(tokens.path), "--workers", "2") as server:
        eventually(lambda: sum(line.get("event") == "serving" for line in server.log) == 2)
        with stubs(f"unix:{server.socket}") as call:
            call("Release", component=C, tag="v1")
        site = f"http://{server.event('listening_http')['address']}"
        first = browser(site).signed_in(tokens.of["ada"])
        kept = dict(first.client.cookies)
        first.client.close()
        for _ in range(20):
            each = browser(site, kept)
            page = each.page("/")
            assert C in page.text
            form = page.form("/sign-out")
            assert form.fields["form_key"] == kept["rampd-form"]
            for path in page.asked_for:
                assert "immutable" in each.client.get(path).headers["cache-control"]
            each.client.close()
        assert server.stop() == 0
        assert tokens.of["ada"][6:] not in "\n".join(server.raw)


def test_a_server_that_stops_ends_the_streams_of_tabs(directory: Path) -> None:
    with rampd_server(directory, *HTTP) as server:
        server.event("serving")
        site = f"http://{server.event('listening_http')['address']}"
        looking = browser(site)
        with looking.stream("/live") as stream:
            stream.until("seen")
            server.process.terminate()
            assert [name for name, _ in stream][-1] == "refused"
        looking.client.close()
        # A second signal would end it at once.
        assert server.process.wait(60) == 0


def test_garbage_collection_spares_what_stays_as_long_as_the_server(directory: Path) -> None:
    """Given a server that has started, expect that a page with many components does not make it look through all of its memory."""
    words = [sys.executable, "-c", _COUNTS_AT_ITS_END, "--listen", "127.0.0.1:0", "--data-dir", str(directory)]
    with subprocess.Popen(
        [*words, "--log-format", "json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            server = ServerProcess(process, directory)
            server.follow()
            server.event("serving")
            eventually(lambda: any("Ctrl-C" in line for line in server.said))
            assert server.stop() == 0
        finally:
            process.terminate()
    [line] = [line for line in server.said if line.startswith("spared ")]
    assert int(line.removeprefix("spared ")) > 50_000
