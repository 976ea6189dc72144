"""Which Redis is the primary, by the answers of several Sentinels."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable

import pytest
import structlog

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.process.sentinel_url import SentinelUrl
from rampd_server.storage.connection import connect
from rampd_server.storage.finding import Node
from rampd_server.storage.sentinel import Decision, RedisSentinel, SentinelFinder, chosen
from tests.in_background import in_background
from tests.waiting import eventually_async

A, B, C = (Node("10.0.0.1", port) for port in (1, 2, 3))
AWAY = StoreUnavailableError("it is away")


class FakeSentinel:
    """Answers what a test gives it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answer: Decision | StoreUnavailableError = Decision(0, A)
        self.asked = 0

    async def ask(self) -> Decision:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, StoreUnavailableError):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        pass


class Three:
    """A finder with three Sentinels, and a clock that a test moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sentinels = [FakeSentinel(name) for name in ("s1", "s2", "s3")]
        self.finder = SentinelFinder(self.sentinels, monotonic=self._tick)
        self.left = 0
        self.finder.subscribe(self._leave)

    def _tick(self) -> float:
        self.now_s += 0.001
        return self.now_s

    async def _leave(self) -> None:
        self.left += 1

    def answer(self, answers: Iterable[Decision | StoreUnavailableError]) -> None:
        for sentinel, answer in zip(self.sentinels, answers, strict=True):
            sentinel.answer = answer

    async def address(self) -> Node:
        """The address after a doubt."""
        self.now_s += 1
        self.finder.doubt("a test")
        return await self.finder.address()


@pytest.mark.parametrize(
    ("answers", "known", "expected"),
    [
        # One Sentinel knows the latest decision before the others.
        ([(4, A), (5, B), (4, A)], None, B),
        ([(4, A), (5, B), (4, A)], (4, A), B),
        ([(5, B)], (4, A), B),
        # A tie: what is known stays, or otherwise what most name.
        ([(4, A), (4, B), (4, B)], (4, A), A),
        ([(4, A), (4, B), (4, B)], None, B),
        ([(4, B), (4, B)], (4, A), B),
        # Who is cut off with the old primary still names it.
        ([(4, A)], (5, B), B),
        ([(4, A), (3, A)], (5, B), B),
        # All Sentinels were made again, and count from 0 again.
        ([(0, A), (0, A)], (5, B), A),
        ([(0, A), (0, A), (0, A)], (5, B), A),
    ],
)
def test_the_latest_decision_counts(
    answers: list[tuple[int, Node]], known: tuple[int, Node] | None, expected: Node
) -> None:
    found = chosen([Decision(*each) for each in answers], known and Decision(*known), 3)
    assert found.node == expected


async def test_a_change_is_counted_logged_and_told_and_the_first_look_is_none() -> None:
    three = Three()
    with structlog.testing.capture_logs() as lines:
        assert await three.address() == A
        assert (three.finder.primary.changes.value, three.left, lines) == (0, 0, [])

        three.answer([Decision(0, A), Decision(1, B), Decision(0, A)])
        assert await three.address() == B
    assert (three.finder.primary.changes.value, three.left) == (1, 1)
    [line] = lines
    assert (line["event"], line["before"], line["after"], line["why"]) == (
        "store_primary_changed",
        "10.0.0.1:1",
        "10.0.0.1:2",
        "a test",
    )


async def test_a_failover_is_named_for_a_minute() -> None:
    """A change that is missing later was lost in another way."""
    three = Three()
    assert three.finder.primary.node is None
    await three.address()
    assert (three.finder.primary.node, three.finder.primary.failover) == (A, "")
    three.answer([Decision(1, B)] * 3)
    await three.address()
    three.now_s += 58
    assert (three.finder.primary.node, three.finder.primary.failover) == (
        B,
        "the failover from 10.0.0.1:1 to 10.0.0.1:2",
    )
    three.now_s += 2
    assert three.finder.primary.failover == ""


async def test_a_later_decision_for_the_same_primary_is_no_change() -> None:
    three = Three()
    await three.address()
    three.answer([Decision(1, A)] * 3)
    assert await three.address() == A
    assert (three.finder.primary.changes.value, three.left) == (0, 0)


async def test_if_no_sentinel_answers_the_known_primary_stays_and_the_log_names_each_sentinel() -> None:
    three = Three()
    await three.address()
    three.answer([AWAY] * 3)
    with structlog.testing.capture_logs() as lines:
        assert await three.address() == A
        three.answer([Decision(0, A)] * 3)
        await three.address()
    told = [(line["event"], line["sentinel"]) for line in lines]
    assert told == [(event, f"s{number}") for event in ("sentinel_lost", "sentinel_found") for number in (1, 2, 3)]


async def test_without_any_answer_the_error_says_why_of_each_sentinel() -> None:
    three = Three()
    three.answer([StoreUnavailableError(f"Sentinel s{number} is away.") for number in (1, 2, 3)])
    with pytest.raises(StoreUnavailableError) as caught:
        await three.finder.address()
    assert caught.value.message == (
        "Nobody tells rampd which Redis is the primary. Sentinel s1 is away. Sentinel s2 is away. Sentinel s3 is away."
    )
    assert not isinstance(caught.value, StoreMisconfiguredError)


async def test_if_all_sentinels_refuse_waiting_does_not_help() -> None:
    three = Three()
    three.answer([StoreMisconfiguredError("wrong password")] * 3)
    with pytest.raises(StoreMisconfiguredError):
        await three.address()
    three.answer([StoreMisconfiguredError("wrong password"), AWAY, AWAY])
    with pytest.raises(StoreUnavailableError) as caught:
        await three.address()
    assert not isinstance(caught.value, StoreMisconfiguredError)


async def test_sentinels_are_asked_only_after_a_doubt_and_once_for_many_callers() -> None:
    three = Three()
    await three.finder.address()
    assert await three.finder.address() == A
    assert [each.asked for each in three.sentinels] == [1, 1, 1]

    three.now_s += 1
    three.finder.doubt("a test")
    await asyncio.gather(*(three.finder.address() for _ in range(50)))
    assert [each.asked for each in three.sentinels] == [2, 2, 2]

    # Calls that fail one after another ask at most ten times a second, and wait for it.
    began_s = time.monotonic()
    for _ in range(4):
        three.finder.doubt("a test")
        await three.finder.address()
    assert three.sentinels[0].asked == 6
    assert time.monotonic() - began_s > 0.3


async def test_the_primary_is_followed_also_while_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rampd_server.storage.doubts._EVERY_S", 0.001)
    three = Three()
    async with in_background(three.finder.follow()):
        await eventually_async(lambda: three.finder.primary.node == A)
        three.answer([Decision(1, B)] * 3)
        await eventually_async(lambda: three.left == 1)
    assert await three.finder.address() == B


@contextlib.asynccontextmanager
async def answering(master: bytes, address: bytes) -> AsyncIterator[RedisSentinel]:
    """A Sentinel that gives these two answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            for command in data.split(b"*")[1:]:
                is_about = b"SENTINEL" in command
                writer.write((address if b"GET-" in command else master) if is_about else b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sentinel = RedisSentinel("s1", f"redis://127.0.0.1:{port}/0", "main", timeout_s=60.0)
        yield sentinel
        await sentinel.close()


def reply(*words: str) -> bytes:
    return "".join([f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]).encode()


async def test_right_after_a_decision_a_sentinel_that_still_shows_the_old_primary_is_asked_for_its_address() -> None:
    """Given a Sentinel whose SENTINEL MASTER has the number of the decision and the address of before, as Redis' own has until
    all replicas follow, expect the new address.
    """
    master = reply("ip", "old", "port", "1", "config-epoch", "7")
    async with answering(master, reply("new", "2")) as sentinel:
        assert await sentinel.ask() == Decision(7, Node("new", 2))


@pytest.mark.parametrize("address", [b"*-1\r\n", b"+OK\r\n", reply("new", "port")])
async def test_what_no_sentinel_answers_is_an_error_that_says_so(address: bytes) -> None:
    async with answering(reply("config-epoch", "7"), address) as sentinel:
        with pytest.raises(StoreMisconfiguredError, match="s1 answers, but not as a Sentinel does"):
            await sentinel.ask()


async def test_a_url_gives_each_sentinel_its_password_and_the_primary_its_own() -> None:
    url = SentinelUrl.parse("redis+sentinel://ada:p%2Fw@a,[::1]:7/main/2?sentinel_username=w&sentinel_password=x%2Fy")
    assert url.hosts == ("a:26379", "[::1]:7")
    assert url.service == "main"
    for each, host in zip(url.sentinels, ("a", "::1"), strict=True):
        kwargs = connect(each, timeout_s=1, max_connections=1).connection_pool.connection_kwargs
        assert (kwargs["host"], kwargs["username"], kwargs["password"], kwargs["db"]) == (host, "w", "x/y", 0)
    kwargs = connect(url.primary, timeout_s=1, max_connections=1).connection_pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["db"]) == ("ada", "p/w", 2)
    over_tls = SentinelUrl.parse("rediss+sentinel://a/main?ssl_cert_reqs=none&sentinel_password=x")
    for each in (*over_tls.sentinels, over_tls.primary):
        assert each.startswith("rediss://")
        pool = connect(each, timeout_s=1, max_connections=1).connection_pool
        assert pool.connection_kwargs["ssl_cert_reqs"] == "none"
