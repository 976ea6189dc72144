"""What a request has to pass before its route, without a port: what a parser may let through in one piece."""

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from rampd_server.http.guard import Guard
from rampd_server.rpc.server import MAX_HEADERS_BYTES

RESOLVE = "/rampd.v1.ResolverService/Resolve"


class World:
    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []
        self.guard = Guard(self.inner, self, is_local=False, count=lambda *each: self.counted.append(each))  # type: ignore[arg-type]
        self.is_stopping = False
        self.fails = False

    async def inner(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        if self.fails:
            raise ValueError("a defect")
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def status(self, *headers: tuple[str, str], query: str = "", path: str = RESOLVE) -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError

        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in (("host", "x"), *headers)],
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


async def test_a_defect_is_counted() -> None:
    world = World()
    world.fails = True
    assert await world.status() == 500
    assert world.counted == [(RESOLVE, "INTERNAL")]
