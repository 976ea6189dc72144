"""The page of a server as processes: several workers, and the end."""

from pathlib import Path

import httpx

from tests.browsing import Browser
from tests.rpc.access_table import Tokens
from tests.servers import rampd_server, stubs
from tests.waiting import eventually

C = "restyler"
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


def test_while_the_store_is_away_the_page_says_so(directory: Path) -> None:
    with rampd_server(directory, *HTTP, "--redis-url", f"unix://{directory}/none.sock") as server:
        server.event("waiting_for_store")
        looking = browser(f"http://{server.event('listening_http')['address']}")
        page = looking.page("/", 503)
        assert "STORE_UNAVAILABLE" in page.text or "NO_SNAPSHOT" in page.text
        assert "/" in page.links
        with looking.stream("/live") as stream:
            assert [name for name, _ in stream][-1] == "refused"
        looking.client.close()
