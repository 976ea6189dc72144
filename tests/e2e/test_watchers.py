"""Hundreds of watchers at a server in a separate process: how much memory they cost, and whether they get every change.

How much memory a server needs for a stream depends on the allocator and on gRPC. So each bound is half of the memory that the
defect would take. That is several times the measured memory.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from rampd import v1
from rampd._watching.feed import Feed
from rampd.v1 import resolver_service_pb2_grpc
from tests.observing import peak_memory_mb
from tests.servers import ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.stores import REDIS, store_server
from tests.waiting import eventually

C = "restyler"
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
WITHIN_S = 240


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with (
        store_server(REDIS) as store,
        short_directory() as directory,
        rampd_server(Path(directory), "--insecure-admin", "--log-level", "debug", "--redis-url", store.url) as running,
    ):
        running.event("serving")
        yield running


@pytest.fixture
def call(server: ServerProcess) -> Iterator[Stubs]:
    with stubs(server.target) as made:
        yield made


def batch(call: Stubs, number: int, owner: str = "acme") -> int:
    """Makes one change of about 260 KB. Returns its revision."""
    repo = f"{owner}/{'r' * 200}"
    changes = [v1.OverrideChange(repo=f"{repo}-{each}", tag=f"x{number}-{'t' * 40}") for each in range(1000)]
    return int(call("BatchSetOverrides", component=C, overrides=changes).revision)


@contextlib.asynccontextmanager
async def streams(target: str, *, channels: int, each: int) -> AsyncIterator[list[grpc.aio.UnaryStreamCall]]:
    """Opens many streams of Watch over fewer connections."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(channels):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(target, options=OPTIONS))
            stub = resolver_service_pb2_grpc.ResolverServiceStub(channel)
            found += [stub.Watch(v1.WatchRequest(), timeout=WITHIN_S) for _ in range(each)]
        yield found
        for stream in found:
            stream.cancel()


async def until_live(stream: grpc.aio.UnaryStreamCall) -> Feed:
    feed = Feed()
    while not feed.is_live:
        feed.take(await stream.read())
    return feed


async def test_watchers_that_do_not_read_cost_bounded_memory_and_block_no_other_watcher(
    server: ServerProcess, call: Stubs
) -> None:
    """Given 40 watchers that read only one message, and 60 changes of 260 KB, expect no copy of the changes for each watcher."""
    call("Release", component=C, tag="t1")
    batch(call, 0)
    async with streams(server.target, channels=40, each=1) as idle, streams(server.target, channels=1, each=1) as one:
        for stream in idle:
            assert (await stream.read()).state.first
        feed = await until_live(one[0])
        before_mb = peak_memory_mb(server.process.pid)
        for number in range(1, 61):
            revision = await asyncio.to_thread(batch, call, number)
            async with asyncio.timeout(WITHIN_S):
                while feed.components[C].snapshot.revision != revision:
                    feed.take(await one[0].read())
        assert {choice.tag[:3] for _, choice in feed.components[C].overrides.items()} == {"x60"}
        # If they were kept for each watcher, the changes would take 40 * 60 * 0.26 MB = 620 MB. They take 22 MB, 8 MB of which
        # are the log.
        assert peak_memory_mb(server.process.pid) - before_mb < 310


async def test_three_thousand_watchers_that_connect_at_once_all_get_in(server: ServerProcess, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    async with streams(server.target, channels=60, each=50) as crowd, asyncio.timeout(WITHIN_S):
        feeds = await asyncio.gather(*map(until_live, crowd))
        assert [feed.components[C].snapshot.current.tag for feed in feeds] == ["t1"] * 3000


async def test_a_thousand_watchers_that_connect_at_once_all_get_the_state(server: ServerProcess, call: Stubs) -> None:
    """Given a state of 520 KB, expect that it is encoded once, and that no copy of it is made for each watcher."""
    call("Release", component=C, tag="t1")
    for owner in ("acme", "other"):
        batch(call, 0, owner)
    before_mb = peak_memory_mb(server.process.pid)
    async with streams(server.target, channels=50, each=20) as crowd, asyncio.timeout(WITHIN_S):
        feeds = await asyncio.gather(*map(until_live, crowd))
        assert [len(feed.components[C].overrides) for feed in feeds] == [2000] * 1000
        revision: int = call("SetOverride", component=C, repo="acme/app", tag="y").revision
        for feed, stream in zip(feeds, crowd, strict=True):
            while feed.components[C].snapshot.revision != revision:
                feed.take(await stream.read())
    # Its line comes after all lines about the watchers.
    eventually(lambda: any(line.get("revision") == revision for line in list(server.log)))
    assert [line["event"] for line in server.log].count("whole_state_encoded") == 1
    # A copy of the state for each watcher would take 520 MB. They take 50 to 90 MB: 25 KB for each stream, and a part of the
    # state for each stream that is being sent one at the moment.
    assert peak_memory_mb(server.process.pid) - before_mb < 260
