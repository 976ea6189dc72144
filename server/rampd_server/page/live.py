"""What changes while a person looks: one stream of server-sent events for a tab.

The stream follows Watch in the name of the person, from the cursor of the page. Watch says which components have changed, and
each of these is asked for again and drawn again. What did not change in the page is not sent.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Final, NamedTuple

from starlette.responses import StreamingResponse

from rampd import v1
from rampd_server.http.context import CallError
from rampd_server.page.person import Person
from rampd_server.page.rendering import HEADERS

GATHER_S: Final = 0.5
"""How long changes are gathered before they are sent together."""
LOOK_S: Final = 5.0
"""How often what changes without a change of a component is drawn again: jobs, evidence, a freeze of everything."""
AGAIN_MS: Final = 1_000
"""How long a browser waits before it comes back after a stream has broken."""


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
        self._request = v1.WatchRequest(components=components, cursor=cursor)
        self._cursor = cursor
        self._draw = draw
        self._key = key
        self._sent: dict[str, str] = {}
        self._changed: set[str] = set()
        self._whole: set[str] | None = None
        """All components, if the changes since the page was made are not known one by one."""
        self._arriving: set[str] = set()
        self._is_new = asyncio.Event()

    def response(self) -> StreamingResponse:
        """Returns the answer."""
        headers = {**HEADERS, "x-accel-buffering": "no"}
        return StreamingResponse(self._events(), headers=headers, media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        following = asyncio.create_task(self._person.follow(self._request, self._take))
        try:
            yield f"retry: {AGAIN_MS}\n\n"
            clock, due_s = asyncio.get_running_loop().time, 0.0
            while True:
                # Also at first: what changes by itself may have changed since the page was made.
                if is_due := clock() >= due_s:
                    due_s = clock() + LOOK_S
                cursor, changed, whole = self._cursor, self._changed, self._whole
                self._changed, self._whole = set(), None
                self._is_new.clear()
                if whole is not None:
                    yield f"event: only\ndata: {json.dumps(sorted(map(self._key, whole)))}\n\n"
                patches = await self._draw(changed) if changed else []
                patches += await self._draw(None) if is_due else []
                for event in self._news(patches):
                    yield event
                yield f"event: seen\nid: {cursor}\ndata:\n\n"
                await self._wait(following, due_s - clock())
        except CallError as error:
            # The browser comes back, and the page itself says what is wrong.
            yield f"event: refused\ndata: {json.dumps(error.status.message)}\n\n"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _wait(self, following: "asyncio.Task[None]", timeout_s: float) -> None:
        """Waits for a change, but no longer than that. Raises CallError: the stream has ended."""
        new = asyncio.create_task(self._is_new.wait())
        try:
            await asyncio.wait((new, following), timeout=max(timeout_s, 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            new.cancel()
        if following.done():
            following.result()
            raise CallError.plain(14, "The server has ended the stream.")
        if self._is_new.is_set():
            await asyncio.sleep(GATHER_S)

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

    def _news(self, patches: list[Patch]) -> list[str]:
        """The events for what is not in the page yet."""
        events = []
        for patch in patches:
            if self._sent.get(patch.key) != patch.html:
                self._sent[patch.key] = patch.html
                events.append(f"event: patch\ndata: {json.dumps(patch._asdict())}\n\n")
        return events
