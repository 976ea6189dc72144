"""A store whose primary changes: a finder knows where it is, and a node that is a replica now says so."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Connection, Redis

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.ports import FeedEntry
from rampd_server.storage.clients import Clients
from rampd_server.storage.connection import connect
from rampd_server.storage.finding import Leave, Node, Primary
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.contract.driving import COMPONENT, do
from tests.ports import free_port
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import PATIENCE_S, eventually_async

DEADLINE_S = PATIENCE_S


class FakeFinder:
    """Knows what a test says. A doubt ends as soon as somebody asks, and then the node is `next`."""

    def __init__(self, node: Node) -> None:
        self.primary = Primary("a test", "there was a failover", time.monotonic)
        self.primary.node = self.next = node
        self.doubts: list[str] = []

    async def address(self) -> Node:
        if self.doubts:
            await self.change()
        assert self.primary.node is not None
        return self.primary.node

    async def change(self) -> None:
        await self.primary.found(self.next, "")

    def doubt(self, why: str) -> None:
        self.doubts.append(why)

    def subscribe(self, leave: Leave) -> None:
        self.primary.subscribe(leave)

    async def follow(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Pair:
    """Two Redis, of which the second is a replica, and a store that follows a finder."""

    def __init__(self, nodes: list[tuple[StoreServer, Node]]) -> None:
        (self.first, self.first_node), (self.second, self.second_node) = nodes
        self.finder = FakeFinder(self.first_node)
        shared = {"finder": self.finder, "max_connections": 32}
        clients = Clients(
            connect("redis://primary", timeout_s=DEADLINE_S, **shared),
            connect("redis://primary", timeout_s=DEADLINE_S + 2, **shared),
            finder=self.finder,
        )
        self.link = Link(clients, deadline_s=DEADLINE_S)
        self.store = RedisStore(self.link)

    async def swap(self) -> None:
        """Makes the second one the primary, and the first one its replica. No connection ends."""
        async with self.first.client() as first, self.second.client() as second:
            await second.replicaof("NO", "ONE")
            await first.replicaof(*map(str, self.second_node))
            self.finder.next = self.second_node


async def is_in_step(first: "Redis", second: "Redis") -> bool:
    """Whether a replica has everything."""
    here, there = await first.info("replication"), await second.info("replication")
    return bool(there["master_link_status"] == "up" and there["slave_repl_offset"] == here["master_repl_offset"])


@contextlib.contextmanager
def on_a_port(kind: str) -> Iterator[tuple[StoreServer, Node]]:
    port = free_port()
    with store_server(kind, port=str(port), bind="127.0.0.1", repl_diskless_sync_delay="0") as server:
        yield server, Node("127.0.0.1", port)


@pytest.fixture(params=[VALKEY, REDIS])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    with on_a_port(request.param) as first, on_a_port(request.param) as second:
        made = Pair([first, second])
        made.store.set_epoch(await made.store.begin_epoch(adopted=False))
        await do(made.store, commands.Release("t1", {}))
        async with made.first.client() as here, made.second.client() as there:
            await there.replicaof(*map(str, made.first_node))
            await eventually_async(lambda: is_in_step(here, there))
        yield made
        await made.store.close()


async def test_a_write_that_a_replica_refuses_is_made_once_more_on_the_primary(pair: Pair):
    await pair.swap()
    await do(pair.store, commands.Release("t2", {}))

    rollout = (await pair.store.read(COMPONENT)).rollout
    assert rollout.revision == 2
    assert any("READONLY" in why for why in pair.finder.doubts)
    async with pair.second.client() as second:
        assert await second.hget(pair.store.keys.component(COMPONENT).rollout, "revision") == "2"


async def test_a_command_that_a_replica_refuses_is_made_once_more_on_the_primary(pair: Pair):
    """The same without a script. Other commands do not go over the connection of the scripts."""
    await pair.link.call(pair.link.client.set, "before", "1", is_write=True)
    await pair.swap()
    await pair.link.call(pair.link.client.set, "after", "1", is_write=True)

    assert any("READONLY" in why for why in pair.finder.doubts)
    async with pair.second.client() as second:
        assert await second.get("after") == "1"


async def test_a_look_at_a_replica_confirms_nothing_and_the_next_one_asks_the_primary(pair: Pair):
    await pair.store.head()
    await pair.swap()

    with pytest.raises(StoreUnavailableError) as caught:
        await pair.store.head()
    assert caught.value.metadata == {"code": "READONLY"}
    assert await pair.store.head() is not None
    assert pair.finder.primary.node == pair.second_node


async def test_a_new_connection_to_a_replica_is_not_used(pair: Pair):
    """Given a finder that names a replica, expect an error that says so, and not a read from that replica."""
    pair.finder.next = pair.second_node
    await pair.finder.change()

    with pytest.raises(StoreUnavailableError, match="not, or not yet, its primary") as caught:
        await pair.store.read(COMPONENT)
    assert caught.value.metadata == {"code": "READONLY"}


async def test_a_wait_for_the_feed_ends_when_the_primary_changes(pair: Pair):
    head = await pair.store.head()
    assert head is not None
    waiting = await blocked_read(pair, head.entry_id)
    await pair.swap()

    with contextlib.suppress(StoreUnavailableError):
        assert await waiting == []
    assert (await pair.store.head()) is not None
    await do(pair.store, commands.Release("t2", {}))
    assert [each.revision for each in await pair.store.feed(head.entry_id, block_ms=1000)] == [2]


async def blocked_read(pair: Pair, after: str) -> "asyncio.Task[list[FeedEntry]]":
    """Returns a read of the feed that waits in Redis. A read is over after a second, so on a busy machine it may take several."""
    async with pair.first.client() as first:
        while True:
            waiting = asyncio.create_task(pair.store.feed(after, block_ms=1000))

            async def is_seen(waiting: "asyncio.Task[list[FeedEntry]]" = waiting) -> bool:
                return waiting.done() or (await first.info("clients"))["blocked_clients"] == 1

            await eventually_async(is_seen)
            if not waiting.done():
                return waiting
            assert await waiting == []


async def test_calls_under_way_on_a_stopped_primary_are_made_on_the_new_one_within_their_time(pair: Pair):
    """Given 40 calls that wait for a stopped primary, expect that all are answered by the new one, once each."""
    await asyncio.gather(*(pair.store.head() for _ in range(40)))
    pair.first.signal(signal.SIGSTOP)
    try:
        writing = asyncio.create_task(do(pair.store, commands.Release("t2", {})))
        reading = [asyncio.create_task(pair.store.head()) for _ in range(40)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in (writing, *reading))
        async with pair.second.client() as second:
            await second.replicaof("NO", "ONE")
        pair.finder.next = pair.second_node
        await pair.finder.change()

        await writing
        assert all(await asyncio.gather(*reading))
    finally:
        pair.first.signal(signal.SIGCONT)
    assert (await pair.store.read(COMPONENT)).rollout.revision == 2


async def test_a_connection_that_was_begun_before_the_change_is_not_used_after_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    """Given a primary that was replaced, and still takes writes, expect that a connection that was begun before is not used."""
    connect_at_all, is_begun, may_end = Connection._connect, asyncio.Event(), asyncio.Event()

    async def late(connection: Connection) -> None:
        is_begun.set()
        await may_end.wait()
        await connect_at_all(connection)

    async with pair.second.client() as second:
        await second.replicaof("NO", "ONE")
    monkeypatch.setattr(Connection, "_connect", late)
    await pair.link.client.connection_pool.leave()
    writing = asyncio.create_task(do(pair.store, commands.Release("t2", {})))
    await is_begun.wait()
    pair.finder.next = pair.second_node
    await pair.finder.change()
    may_end.set()

    await writing
    key = pair.store.keys.component(COMPONENT).rollout
    async with pair.first.client() as first, pair.second.client() as second:
        assert (await first.hget(key, "revision"), await second.hget(key, "revision")) == ("1", "2")
