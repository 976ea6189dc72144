"""Paths that a browser sends: where it may go after signing in."""

import pytest
from starlette.requests import Request

from rampd_server.page.addresses import here, inside


@pytest.mark.parametrize(
    "path", ["/", "/?filter=a", "/components/restyler", "/components/restyler/rollback?tag=a%2Fb&revision=3", "/a//b"]
)
def test_a_path_of_this_server_is_gone_to(path: str) -> None:
    assert inside(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "components",
        "//evil.example",
        "//evil.example/a",
        "/\\evil.example",
        "/a\\b",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "//[",
        "/\t/evil.example",
        "/\n/evil.example",
        " /a",
        "/a b",
        "/a\r\nset-cookie: x=y",
        "/ä",
        "/a\n",
    ],
)
def test_no_link_leads_elsewhere_after_signing_in(path: str) -> None:
    assert inside(path) == "/"


@pytest.mark.parametrize(
    ("path", "query", "written"),
    [
        ("/", "", "/"),
        ("/", "filter=a%20b", "/?filter=a%20b"),
        ("/components/a?b#c", "", "/components/a%3Fb%23c"),
        ("/components/ä", "x=1", "/components/%C3%A4?x=1"),
    ],
)
def test_the_address_of_a_request_is_written_as_a_browser_writes_it(path: str, query: str, written: str) -> None:
    request = Request({"type": "http", "path": path, "query_string": query.encode(), "headers": []})
    assert here(request) == written
    assert inside(written) == written


def test_a_name_of_a_host_in_the_address_leads_nowhere() -> None:
    """Given a path that begins with two slashes, expect that a person who signs in there goes to the front page."""
    request = Request({"type": "http", "path": "//evil.example", "query_string": b"", "headers": []})
    assert inside(here(request)) == "/"
