"""The stream of a tab: what it sends, when, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest
from google.rpc import code_pb2
from starlette.types import Message

from rampd import v1
from rampd_server.page import live
from rampd_server.page.live import TABS, Live, Patch, refusal
from rampd_server.rpc.call_error import CallError

CURSOR = "epoch/1-1"


class Event(NamedTuple):
    name: str
    data: Any
    id: str = ""


class FakePerson:
    """Somebody who follows what a test sends."""

    def __init__(self, identity: str = "ada") -> None:
        self.identity = identity
        self.asked: list[v1.WatchRequest] = []
        self.is_followed = False
        self._has_asked = asyncio.Event()
        self._messages: asyncio.Queue[v1.WatchResponse | CallError | None] = asyncio.Queue()

    async def follow(self, message: v1.WatchRequest, write: Callable[[bytes], Awaitable[None]]) -> None:
        self.asked.append(message)
        self._has_asked.set()
        self.is_followed = True
        try:
            while (found := await self._messages.get()) is not None:
                if isinstance(found, CallError):
                    raise found
                await write(found.SerializeToString())
        finally:
            self.is_followed = False

    async def first(self) -> v1.WatchRequest:
        """What was asked first."""
        await self._has_asked.wait()
        return self.asked[0]

    def change(self, *components: str, cursor: str = "", deleted: bool = False) -> None:
        changes = [v1.WatchChange(component=v1.ComponentState(component=each), deleted=deleted) for each in components]
        self._messages.put_nowait(v1.WatchResponse(cursor=cursor, changes=changes))

    def whole(self, *components: str, cursor: str = "", damaged: Collection[str] = (), **part: bool) -> None:
        state = v1.WatchState(
            components=[v1.ComponentState(component=each) for each in components],
            damaged=[v1.DamagedComponent(component=each) for each in damaged],
            **{"first": True, "last": True, **part},
        )
        self._messages.put_nowait(v1.WatchResponse(cursor=cursor, state=state))

    def heartbeat(self, cursor: str) -> None:
        self._messages.put_nowait(v1.WatchResponse(cursor=cursor))

    def end(self, error: CallError | None = None) -> None:
        self._messages.put_nowait(error)


class Drawing:
    """Shows of each component what a test has put there."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        self.drawn: list[set[str] | None] = []
        self.at_each_draw: Callable[[], None] = lambda: None
        self.has_drawn = asyncio.Event()

    async def __call__(self, changed: Collection[str] | None) -> list[Patch]:
        self.drawn.append(None if changed is None else set(changed))
        self.at_each_draw()
        self.has_drawn.set()
        names = self.shown if changed is None else changed
        return [Patch(f"row-{name}", self.shown.get(name, "")) for name in sorted(names)]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by itself, unless a test says so, and nobody waits for more changes."""
    monkeypatch.setattr(live, "GATHER_S", 0.0)
    monkeypatch.setattr(live, "LOOK_S", 3600.0)
    monkeypatch.setattr(TABS, "_EACH_GATHERS_S", 0.0, raising=False)


@pytest.fixture
def person() -> FakePerson:
    return FakePerson()


@pytest.fixture
def drawing() -> Drawing:
    return Drawing()


def opened(person: FakePerson, drawing: Drawing, cursor: str = CURSOR) -> Live:
    return Live(person, cursor, drawing, lambda name: f"row-{name}")  # type: ignore[arg-type]


def read(text: str) -> Event | None:
    fields = dict(line.partition(":")[::2] for line in text.splitlines())
    if "event" not in fields:
        return None
    data = fields.get("data", "").strip()
    return Event(fields["event"].strip(), json.loads(data) if data else None, fields.get("id", "").strip())


async def events_of(stream: Live) -> AsyncIterator[Event]:
    async with aclosing(stream.events()) as texts:
        async for text in texts:
            assert text.endswith("\n\n")
            if (event := read(text)) is not None:
                yield event


async def until_seen(events: AsyncIterator[Event]) -> list[Event]:
    """What comes before the next sign that all of it is there."""
    found = []
    async with asyncio.timeout(20):
        async for event in events:
            if event.name == "seen":
                return [*found, event]
            found.append(event)
    return found


async def test_at_the_begin_what_changes_by_itself_is_drawn_again(person: FakePerson, drawing: Drawing) -> None:
    drawing.shown = {"a": "<li>1</li>"}
    async with aclosing(events_of(opened(person, drawing))) as events:
        assert await until_seen(events) == [
            Event("patch", {"key": "row-a", "html": "<li>1</li>"}),
            Event("seen", None, CURSOR),
        ]
        assert (await person.first()).cursor == CURSOR
    assert drawing.drawn == [None]


async def test_a_change_is_sent_with_the_cursor_up_to_which_everything_is_there(
    person: FakePerson, drawing: Drawing
) -> None:
    async with aclosing(events_of(opened(person, drawing))) as events:
        await until_seen(events)
        drawing.shown["a"] = "<li>2</li>"
        person.change("a", cursor="epoch/2-1")
        found = await until_seen(events)
    assert found == [Event("patch", {"key": "row-a", "html": "<li>2</li>"}), Event("seen", None, "epoch/2-1")]


async def test_what_looks_as_before_is_not_sent_again(person: FakePerson, drawing: Drawing) -> None:
    async with aclosing(events_of(opened(person, drawing))) as events:
        await until_seen(events)
        drawing.shown["a"] = "<li>2</li>"
        person.change("a", cursor="epoch/2-1")
        await until_seen(events)
        person.change("a", cursor="epoch/3-1")
        assert await until_seen(events) == [Event("seen", None, "epoch/3-1")]


async def test_a_component_that_is_gone_is_sent_as_nothing(person: FakePerson, drawing: Drawing) -> None:
    async with aclosing(events_of(opened(person, drawing))) as events:
        await until_seen(events)
        person.change("a", deleted=True)
        assert Event("patch", {"key": "row-a", "html": ""}) in await until_seen(events)


async def test_after_a_whole_state_the_browser_hears_which_components_there_are(
    person: FakePerson, drawing: Drawing
) -> None:
    """Given a state in two parts, with one component that is damaged, expect that no row is taken away which is still there."""
    drawing.shown = dict.fromkeys("abc", "<li></li>")
    async with aclosing(events_of(opened(person, drawing, cursor="other/9-9"))) as events:
        await until_seen(events)
        person.whole("b", last=False)
        person.whole("a", first=False, damaged=["c"], cursor="epoch/5-1")
        found = []
        while not any(event.name == "only" for event in found):
            found += await until_seen(events)
    assert Event("only", ["row-a", "row-b", "row-c"]) in found
    assert found[-1] == Event("seen", None, "epoch/5-1")


async def test_changes_that_never_stop_do_not_stop_the_looks(
    person: FakePerson, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a component that changes all the time, expect that the jobs of the others are drawn again all the same."""
    monkeypatch.setattr(live, "LOOK_S", 0.05)
    drawing.at_each_draw = lambda: person.change("a")
    async with aclosing(events_of(opened(person, drawing))) as events, asyncio.timeout(20):
        async for _ in events:
            if drawing.drawn.count(None) == 3:
                break
    assert drawing.drawn.count({"a"}) > 1


@pytest.mark.parametrize(
    "cursor",
    ["epoch/1-1\n\nevent: patch\ndata: {}", "a\rid: x", "ä", "x" * 201, "a b", "\x00"],
)
async def test_a_cursor_that_no_server_has_made_is_neither_asked_with_nor_sent_back(
    person: FakePerson, drawing: Drawing, cursor: str
) -> None:
    async with aclosing(events_of(opened(person, drawing, cursor=cursor))) as events:
        assert await until_seen(events) == [Event("seen", None, "")]
        assert (await person.first()).cursor == ""


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (CallError.plain(code_pb2.UNAUTHENTICATED, "revoked"), Event("ended", "revoked")),
        (CallError.plain(code_pb2.RESOURCE_EXHAUSTED, "too much"), Event("refused", "too much")),
        (None, Event("refused", "The server has ended the stream.")),
    ],
    ids=["not known any more", "over a limit", "the server stops"],
)
async def test_a_stream_ends_with_the_reason(
    person: FakePerson, drawing: Drawing, error: CallError | None, event: Event
) -> None:
    async with aclosing(events_of(opened(person, drawing))) as events, asyncio.timeout(20):
        await until_seen(events)
        person.end(error)
        assert [each async for each in events] == [event]
    assert (TABS.open, person.is_followed) == (0, False)


async def test_a_refusal_while_something_is_drawn_ends_the_stream_too(person: FakePerson, drawing: Drawing) -> None:
    def refuse() -> None:
        raise CallError.plain(code_pb2.UNAUTHENTICATED, "revoked")

    async with aclosing(events_of(opened(person, drawing))) as events:
        await until_seen(events)
        drawing.at_each_draw = refuse
        person.change("a")
        assert [each async for each in events] == [Event("ended", "revoked")]
    assert (TABS.open, person.is_followed) == (0, False)


async def test_tabs_over_the_limit_are_refused_and_a_tab_that_closes_makes_room(
    person: FakePerson, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TABS, "MOST", 1, raising=False)
    async with aclosing(events_of(opened(person, drawing))) as first:
        await until_seen(first)
        async with aclosing(events_of(opened(FakePerson(), Drawing()))) as second:
            refused = await anext(second)
            assert refused.name == "refused"
            assert [each async for each in second] == []
        assert "Load the page again" in refused.data
    async with aclosing(events_of(opened(FakePerson(), Drawing()))) as second:
        assert [each.name for each in await until_seen(second)] == ["seen"]


async def test_one_identity_has_only_so_many_tabs_and_leaves_places_to_others(
    person: FakePerson, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TABS, "MOST_OF_ONE", 1, raising=False)
    async with aclosing(events_of(opened(person, drawing))) as first:
        await until_seen(first)
        async with aclosing(events_of(opened(FakePerson(), Drawing()))) as second:
            refused = await anext(second)
            assert refused.name == "refused"
            assert [each async for each in second] == []
        assert "1 tabs of ada follow this server" in refused.data
        async with aclosing(events_of(opened(FakePerson("bob"), Drawing()))) as other:
            assert [each.name for each in await until_seen(other)] == ["seen"]
    async with aclosing(events_of(opened(FakePerson(), Drawing()))) as second:
        assert [each.name for each in await until_seen(second)] == ["seen"]
    assert TABS._of == {}


def test_many_tabs_look_less_often_so_that_all_of_them_cost_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    tabs = live.Tabs()
    found = []
    for number in (1, 25, 50, 200):
        tabs.open = number
        found.append((tabs.look_s, round(tabs.open / tabs.look_s, 1)))
    assert found == [(5.0, 0.2), (5.0, 5.0), (10.0, 5.0), (40.0, 5.0)]
    tabs.open = 200
    assert tabs.gather_s == 4.0


async def test_many_parts_leave_turns_to_other_tasks(person: FakePerson, drawing: Drawing) -> None:
    drawing.shown = {f"c{number}": "<li></li>" for number in range(1_000)}
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    async with aclosing(events_of(opened(person, drawing))) as events:
        assert len(await until_seen(events)) == 1_001
    other.cancel()
    assert turns >= 1_000 / 25


# As an answer


class Connection:
    """What a server gives to an answer."""

    def __init__(self, method: str = "GET") -> None:
        self.scope = {"type": "http", "method": method}
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


async def test_a_stream_is_for_no_cache_and_no_buffer(person: FakePerson, drawing: Drawing) -> None:
    connection = Connection()
    answering = asyncio.create_task(
        opened(person, drawing).response()(connection.scope, connection.receive, connection.send)
    )
    await drawing.has_drawn.wait()
    assert connection.headers["content-type"].startswith("text/event-stream")
    assert connection.headers["cache-control"] == "no-store, no-transform"
    assert connection.headers["x-accel-buffering"] == "no"
    assert (TABS.open, person.is_followed) == (1, True)
    person.end(CallError.plain(code_pb2.CANCELLED, "The caller has gone."))
    async with asyncio.timeout(20):
        await answering
    assert connection.sent[-1] == {"type": "http.response.body"}
    assert (TABS.open, person.is_followed) == (0, False)


async def test_who_asks_for_the_head_alone_gets_no_stream(person: FakePerson, drawing: Drawing) -> None:
    connection = Connection("HEAD")
    async with asyncio.timeout(20):
        await opened(person, drawing).response()(connection.scope, connection.receive, connection.send)
    assert connection.headers["content-type"].startswith("text/event-stream")
    assert (person.asked, drawing.drawn, TABS.open) == ([], [], 0)


def test_who_may_not_follow_hears_it_as_an_event() -> None:
    answer = refusal(CallError.plain(code_pb2.UNAUTHENTICATED, "No grant has this token."))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    text = bytes(answer.body).decode()
    assert read(text) == Event("ended", "No grant has this token.")
    # Without this the browser would come back each second.
    assert text.startswith("retry: 10000\n")
