"""What changes while a person looks: one stream of server-sent events for a tab.

The stream follows Watch in the name of the person, from the cursor of the page. Watch says which components have changed, and
each of these is asked for again and drawn again. What did not change in the page is not sent.
"""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, NamedTuple

from google.rpc import code_pb2
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rampd import v1
from rampd_server.page.person import Person
from rampd_server.page.turns import in_turns
from rampd_server.rpc.call_error import CallError

GATHER_S: Final = 0.5
"""How long changes are gathered before they are sent together."""
LOOK_S: Final = 5.0
"""How often what changes without a change of a component is drawn again: jobs, evidence, a freeze of everything."""
_AGAIN_MS: Final = 1_000
"""How long a browser waits before it comes back after a stream has broken."""
_REFUSED_AGAIN_MS: Final = 10_000
"""How long it waits after a refusal."""
_PIECE: Final = 25
"""How many parts are written before other tasks get a turn. They take about a millisecond."""
_CURSOR: Final = re.compile(r"[!-~]{0,200}", re.ASCII)
_KIND: Final = "text/event-stream"
_HEADERS: Final = {
    # A proxy that compresses would collect the events first.
    "cache-control": "no-store, no-transform",
    # nginx passes each event on at once.
    "x-accel-buffering": "no",
}


class Tabs:
    """The open streams of this process. A tab costs far more than a watcher, because what it shows is read for it."""

    MOST: Final = 200
    MOST_OF_ONE: Final = 40
    """Of one identity, so that it leaves places to others. People may share an identity."""
    _EACH_LOOKS_S: Final = 0.2
    _EACH_GATHERS_S: Final = 0.02

    def __init__(self) -> None:
        self.open = 0
        self._of: Counter[str] = Counter()

    @contextmanager
    def one_more(self, identity: str) -> Iterator[None]:
        """Counts a stream of an identity for as long as the block lasts. Raises CallError at a limit."""
        if self._of[identity] >= self.MOST_OF_ONE:
            raise CallError.plain(
                code_pb2.RESOURCE_EXHAUSTED,
                f"{self.MOST_OF_ONE} tabs of {identity} follow this server, which is the limit of one identity. Close some of them, or "
                "load the page again to see what is new.",
            )
        if self.open >= self.MOST:
            raise CallError.plain(
                code_pb2.UNAVAILABLE,
                f"{self.MOST} tabs follow this server, which is its limit. Load the page again to see what is new.",
            )
        self.open += 1
        self._of[identity] += 1
        try:
            yield
        finally:
            self.open -= 1
            self._of[identity] -= 1
            if not self._of[identity]:
                del self._of[identity]

    @property
    def look_s(self) -> float:
        """How often each tab looks. With many tabs less often, so that all of them together cost no more than a few."""
        return max(LOOK_S, self.open * self._EACH_LOOKS_S)

    @property
    def gather_s(self) -> float:
        """How long each tab gathers changes, likewise."""
        return max(GATHER_S, self.open * self._EACH_GATHERS_S)


TABS: Final = Tabs()


class Patch(NamedTuple):
    """A part of the page."""

    key: str
    """The id of its element."""
    html: str
    """Empty: the element is gone."""


Draw = Callable[[Collection[str] | None], Awaitable[list[Patch]]]
"""Draws what shows these components; None: everything that changes by itself. Raises CallError."""


class Live:
    """The stream of one tab."""

    def __init__(
        self,
        person: Person,
        cursor: str,
        draw: Draw,
        key: Callable[[str], str],
        components: Collection[str] = (),
    ) -> None:
        """`key`: the id of the element that shows a component. `components`: those that the page shows. Empty: all."""
        self._person = person
        # A browser sends it, and gets it back. Watch begins with everything if it does not know the cursor.
        self._cursor = cursor if _CURSOR.fullmatch(cursor) else ""
        self._request = v1.WatchRequest(components=components, cursor=self._cursor)
        self._draw = draw
        self._key = key
        self._sent: dict[str, int] = {}
        """The hash of what was sent last for an element. The texts of all tabs would fill the memory."""
        self._changed: set[str] = set()
        self._whole: set[str] | None = None
        """All components, if the changes since the page was made are not known one by one."""
        self._arriving: set[str] = set()
        self._is_new = asyncio.Event()

    def response(self) -> Response:
        """Returns the answer."""
        return _Stream(self.events())

    async def events(self) -> AsyncGenerator[str]:
        """Yields the events, as texts, until the stream ends. Close it to end it earlier."""
        try:
            with TABS.one_more(self._person.identity):
                async with aclosing(self._followed()) as events:
                    async for event in events:
                        yield event
        except CallError as error:
            yield _end(error)

    async def _followed(self) -> AsyncGenerator[str]:
        following = asyncio.create_task(self._person.follow(self._request, self._take))
        clock, looked_s = asyncio.get_running_loop().time, -math.inf
        try:
            yield f"retry: {_AGAIN_MS}\n\n"
            while True:
                cursor, changed, whole = self._cursor, self._changed, self._whole
                self._changed, self._whole = set(), None
                self._is_new.clear()
                if whole is not None:
                    yield f"event: only\ndata: {json.dumps(sorted(map(self._key, whole)))}\n\n"
                patches = await self._draw(changed) if changed else []
                # At the begin, too: what changes by itself may have changed since the page was made.
                if clock() >= looked_s + TABS.look_s:
                    patches += await self._draw(None)
                    looked_s = clock()
                async for patch in in_turns(patches, _PIECE):
                    if self._sent.get(patch.key) != (found := hash(patch.html)):
                        self._sent[patch.key] = found
                        yield f"event: patch\ndata: {json.dumps(patch._asdict())}\n\n"
                yield f"event: seen\nid: {cursor}\ndata:\n\n"
                await self._wait(following, looked_s + TABS.look_s - clock())
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _wait(self, following: "asyncio.Task[None]", most_s: float) -> None:
        """Waits for a change, but not for long. Raises CallError: the stream has ended."""
        new = asyncio.create_task(self._is_new.wait())
        try:
            await asyncio.wait((new, following), timeout=max(0.0, most_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            new.cancel()
        if following.done():
            following.result()
            raise CallError.plain(code_pb2.UNAVAILABLE, "The server has ended the stream.")
        if self._is_new.is_set():
            await asyncio.sleep(TABS.gather_s)

    async def _take(self, data: bytes) -> None:
        message = v1.WatchResponse.FromString(data)
        if message.HasField("state"):
            if message.state.first:
                self._arriving = set()
            self._arriving.update(each.component for each in message.state.components)
            self._arriving.update(each.component for each in message.state.damaged)
            if message.state.last:
                self._whole = self._arriving
                self._changed |= self._arriving
        self._changed.update(change.component.component for change in message.changes)
        self._cursor = message.cursor or self._cursor
        if self._changed:
            self._is_new.set()


class _Stream(Response):
    """Sends the events as they come. They end with their caller, because what they follow does. Starlette's own stream would watch the
    caller as well, and its first use loads modules while others wait.
    """

    def __init__(self, events: AsyncGenerator[str]) -> None:
        super().__init__(None, headers=_HEADERS, media_type=_KIND)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Sends the answer. A browser that asks for the head alone gets no events."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            # Closed here, not later when it is garbage-collected.
            async with aclosing(self._events):
                async for event in self._events:
                    await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        await send({"type": "http.response.body"})


def refusal(error: CallError) -> Response:
    """Returns the answer to somebody who may not follow. It is a stream, because a browser can't read any other answer here."""
    return Response(_end(error), headers=_HEADERS, media_type=_KIND)


def wants_events(accept: str) -> bool:
    """Whether a request, by its header `accept`, is that of a stream."""
    return _KIND in accept


def _end(error: CallError) -> str:
    """The last event of a stream."""
    # A browser whose person is not known any more does not come back. Others do, and the page itself says what is wrong.
    name = "ended" if error.status.code == code_pb2.UNAUTHENTICATED else "refused"
    return f"retry: {_REFUSED_AGAIN_MS}\nevent: {name}\ndata: {json.dumps(error.status.message)}\n\n"
