"""What a request has to pass before its route, without a port: what a parser may let through in one piece."""

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from rampd_server.http import guard
from rampd_server.http.guard import Guard
from rampd_server.rpc.server import MAX_HEADERS_BYTES
from tests.refused_lines import lines

__all__ = ["lines"]

RESOLVE = "/rampd.v1.ResolverService/Resolve"


class World:
    def __init__(self, *, is_local: bool = False, takes_everybody: bool = False) -> None:
        self.counted: list[tuple[str, str]] = []
        self.guard = Guard(
            self.inner,
            self,  # type: ignore[arg-type]
            is_local=is_local,
            takes_everybody=lambda: takes_everybody,
            count=lambda *each: self.counted.append(each),
        )
        self.is_stopping = False
        self.fails = False
        self.pieces: list[bytes] | None = None
        """The body of the next request, as it comes. After it nothing comes. None: there is no body."""

    async def inner(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        if self.fails:
            raise ValueError("a defect")
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def status(
        self,
        *headers: tuple[str, str],
        query: str = "",
        path: str = RESOLVE,
        scheme: str = "http",
        method: str = "GET",
        host: str = "x",
    ) -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            if self.pieces == []:
                await asyncio.Event().wait()
            body = self.pieces.pop(0) if self.pieces else b""
            return {"type": "http.request", "body": body, "more_body": bool(body)}

        scope = {
            "type": "http",
            "method": method,
            "scheme": scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "client": ("10.0.0.7", 4711),
            "headers": [(name.encode(), value.encode()) for name, value in (("host", host), *headers)],
        }
        await self.guard(scope, receive, send)
        return int(sent[0]["status"])


async def test_a_query_has_at_most_the_bytes_of_the_headers() -> None:
    """Given a query of a quarter of a megabyte, which takes a third of a second to read, expect that nobody reads it."""
    world = World()
    assert await world.status(query="&" * (MAX_HEADERS_BYTES - len(RESOLVE))) == 200
    assert world.counted == []
    assert await world.status(query="a&" * 125_000) == 414
    assert await world.status(path="/" + "a" * MAX_HEADERS_BYTES) == 414
    assert world.counted[0] == (RESOLVE, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (("x", "x" * MAX_HEADERS_BYTES), 431, "RESOURCE_EXHAUSTED"),
        (("origin", "http://evil.example"), 403, "PERMISSION_DENIED"),
    ],
)
async def test_what_is_refused_is_counted(header: tuple[str, str], status: int, code: str) -> None:
    world = World()
    assert await world.status(header) == status
    assert world.counted == [(RESOLVE, code)]


@pytest.mark.parametrize(
    ("is_local", "header", "status", "said"),
    [
        (False, ("origin", "http://evil.example"), HTTPStatus.FORBIDDEN, "It says origin: 'http://evil.example'."),
        (True, ("x", "y"), HTTPStatus.MISDIRECTED_REQUEST, "It says host: 'x'."),
    ],
    ids=["a page of another host", "a name of another machine"],
)
async def test_a_refusal_because_of_who_has_sent_the_request_is_in_the_log(
    lines: list[dict[str, Any]], is_local: bool, header: tuple[str, str], status: HTTPStatus, said: str
) -> None:
    assert await World(is_local=is_local).status(header) == status
    [line] = lines
    assert line.pop("why").endswith(said)
    assert line == {
        "event": "call_refused",
        "method": RESOLVE.removeprefix("/"),
        "identity": None,
        "peer": "ipv4:10.0.0.7:4711",
        "reason": status.name,
        "not_logged": 0,
    }


@pytest.mark.parametrize(
    ("scheme", "origin", "status"),
    [
        ("https", "https://x", 200),
        ("https", "http://x", 403),
        ("http", "http://x", 200),
        # A proxy has ended the TLS.
        ("http", "https://x", 200),
        ("https", "https://x.evil.example", 403),
        ("https", "null", 403),
    ],
)
async def test_a_page_in_the_clear_is_no_page_of_a_server_with_tls(scheme: str, origin: str, status: int) -> None:
    """Given a page that somebody in between has written, expect that it is a page of another host."""
    assert await World().status(("origin", origin), scheme=scheme) == status


LANGUAGE = ("accept-language", "en")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 421),
        ({"method": "HEAD"}, 421),
        ({"method": "POST", "headers": [("origin", "http://evil.example:8080")]}, 421),
        ({"headers": [("accept-language", "")]}, 421),
        ({"host": ""}, 421),
        # A program.
        ({"headers": []}, 200),
        ({"method": "POST", "headers": [("accept-language", "*")]}, 200),
        # What a page can't send, or has no reason to.
        ({"headers": [LANGUAGE, ("sec-fetch-site", "none")]}, 200),
        ({"headers": [LANGUAGE, ("authorization", "Bearer x")]}, 200),
        ({"scheme": "https"}, 200),
        # Nobody can lead these elsewhere.
        ({"host": "10.0.0.7:8080"}, 200),
        ({"host": "[fd00::7]:8080"}, 200),
        ({"host": "localhost:8080"}, 200),
        ({"host": "localhost.evil.example:8080"}, 421),
        ({"host": "0x0a000007"}, 421),
    ],
    ids=lambda each: str(each) if each else "a page",
)
async def test_a_browser_that_another_site_may_have_led_here_is_not_everybody(
    sent: dict[str, Any], status: int
) -> None:
    """Given a grant for everybody, and a page of evil.example whose name leads to this address now, expect that it reads nothing."""
    given = {"host": "evil.example:8080", "headers": [LANGUAGE], **sent}
    headers = given.pop("headers")
    assert await World(takes_everybody=True).status(*headers, **given) == status
    assert await World().status(*headers, **given) == 200


async def test_many_such_refusals_and_long_texts_do_not_fill_the_log(lines: list[dict[str, Any]]) -> None:
    world = World()
    for _ in range(1000):
        assert await world.status(("origin", f"http://{'x' * 5000}"), path="/" + "a" * 5000) == 403
    assert len(lines) < 100
    assert all(len(line["method"]) + len(line["why"]) < 600 for line in lines)


async def test_a_request_with_only_a_wrong_form_is_not_in_the_log(lines: list[dict[str, Any]]) -> None:
    assert await World().status(("x", "x" * MAX_HEADERS_BYTES)) == 431
    assert lines == []


async def test_a_defect_is_counted() -> None:
    world = World()
    world.fails = True
    assert await world.status() == 500
    assert world.counted == [(RESOLVE, "INTERNAL")]


async def test_a_short_body_of_what_is_refused_is_read_because_a_reset_would_hide_the_answer() -> None:
    world = World()
    world.pieces = [b"a" * 9_000, b"b" * 9_000, b""]
    assert await world.status(("origin", "http://evil.example")) == 403
    assert world.pieces == []


async def test_a_long_body_of_what_is_refused_is_not_read_to_its_end_and_a_slow_one_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "_REST_S", 0.01)
    world = World()
    world.pieces = [b"a" * 9_000] * 100
    assert await world.status(("origin", "http://evil.example")) == 403
    assert len(world.pieces) > 80
    world.pieces = [b"a"]
    assert await world.status(("origin", "http://evil.example")) == 403
