"""Scripts share one connection, and do not wait for each other: what happens to one does not change what happens to the others."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import exceptions

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.metrics.counting import Count
from rampd_server.ports import Author, FeedEntry, Override, Result
from rampd_server.service import service as module
from rampd_server.service.service import Service
from rampd_server.storage.connection import connect
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.contract.conftest import silent
from tests.contract.driving import ADA, COMPONENT, do
from tests.contract.test_freezes import following
from tests.proxy import Proxy, proxy_to_unix
from tests.stores import REDIS, VALKEY, StoreServer, store_server
from tests.waiting import PATIENCE_S, eventually_async

WRITERS = 50
NAMES = [f"c{number}" for number in range(WRITERS)]
OWN = Author("ada", "SetOverride")


@pytest.fixture(params=[VALKEY, REDIS])
def own_server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    """A server that a test may stop, and whose connections it may count."""
    with store_server(request.param) as server:
        yield server


async def pinned(store: RedisStore, number: int) -> int:
    """Sets an override, and returns the revision. The first call of a test lets Redis know the script."""
    _, result = await store.commit_overrides(COMPONENT, {f"acme/app-{number}": Override(tag="x")}, OWN)
    return result.revision


async def test_many_scripts_at_once_share_a_connection(own_server: StoreServer, own_store: RedisStore):
    async with own_server.client() as watcher:
        before = int((await watcher.info("stats"))["total_connections_received"])
        revisions = await asyncio.gather(*(pinned(own_store, number) for number in range(WRITERS)))
        after = int((await watcher.info("stats"))["total_connections_received"])

    assert sorted(revisions) == list(range(3, 3 + WRITERS))
    assert after == before


async def test_scripts_whose_connection_ends_are_carried_out_once_each(own_server: StoreServer, own_store: RedisStore):
    async with own_server.client() as killer:
        for first in range(0, 4 * WRITERS, WRITERS):
            # A connection that is lost while it is being opened is an error of the call.
            await pinned(own_store, -first - 1)
            writing = [asyncio.create_task(pinned(own_store, number)) for number in range(first, first + WRITERS)]
            await asyncio.sleep(0)
            await killer.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.gather(*writing)

    assert (await own_store.read(COMPONENT)).rollout.revision == 2 + 4 * (1 + WRITERS)


async def test_a_connection_of_scripts_that_is_opened_again_counts_as_such(own_server: StoreServer):
    reconnects = Count()
    client = connect(own_server.url, timeout_s=PATIENCE_S, max_connections=4, reconnects=reconnects)
    sha = await client.script_load("return 1")
    assert await client.evalsha(sha, 0) == 1
    assert reconnects.value == 0
    async with own_server.client() as killer:
        await killer.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def is_open() -> bool:
        with contextlib.suppress(exceptions.ConnectionError):
            return bool(await client.evalsha(sha, 0) == 1)
        return False

    await eventually_async(is_open)
    assert reconnects.value == 1
    await client.aclose()


async def test_a_client_that_is_closed_ends_the_connection_of_its_scripts(own_server: StoreServer):
    client = connect(own_server.url, timeout_s=PATIENCE_S, max_connections=4)
    async with own_server.client() as watcher:
        sha = await watcher.execute_command("SCRIPT", "LOAD", "return 1")
        assert await client.evalsha(sha, 0) == 1
        assert len(await watcher.client_list()) == 2
        await client.aclose()

        async def is_alone() -> bool:
            return len(await watcher.client_list()) == 1

        await eventually_async(is_alone)


async def test_callers_that_do_not_wait_until_redis_answers_leave_the_answers_to_the_others(
    own_server: StoreServer, own_store: RedisStore
):
    """Given half of the callers of a stopped Redis that give up, expect the right answer for each of the others, and each change once."""
    await pinned(own_store, -1)
    own_server.signal(signal.SIGSTOP)
    writing = [asyncio.create_task(pinned(own_store, number)) for number in range(WRITERS)]
    try:
        await asyncio.sleep(0.05)
        for impatient in writing[::2]:
            impatient.cancel()
    finally:
        own_server.signal(signal.SIGCONT)
    patient = await asyncio.gather(*writing[1::2])

    # Redis carries them out in the order in which they were sent.
    assert patient == list(range(5, 4 + WRITERS, 2))
    assert (await own_store.read(COMPONENT)).rollout.revision == 3 + WRITERS


async def test_a_call_whose_time_is_over_does_not_give_its_answer_to_the_next_one(
    own_server: StoreServer, own_store: RedisStore
):
    await pinned(own_store, 0)
    with silent(own_server, own_store), pytest.raises(StoreUnavailableError, match="in time"):
        await pinned(own_store, 1)

    assert await pinned(own_store, 2) == 5
    assert await pinned(own_store, 1) == 5  # it was made, and nothing changes


async def test_a_script_that_is_refused_does_not_fail_the_others(own_store: RedisStore):
    """Given components of which every other one does not exist, expect a refusal for those alone."""
    await asyncio.gather(*(do(own_store, commands.Release("a"), component=name) for name in NAMES[::2]))
    ends = await asyncio.gather(
        *(own_store.commit_overrides(name, {"acme/app": Override(tag="x")}, OWN) for name in NAMES),
        return_exceptions=True,
    )

    assert [isinstance(end, Exception) for end in ends] == [False, True] * (WRITERS // 2)


async def test_a_redis_that_has_lost_its_scripts_gets_them_again_while_many_are_sent(own_store: RedisStore):
    await own_store.client.script_flush()
    revisions = await asyncio.gather(*(pinned(own_store, number) for number in range(WRITERS)))

    assert sorted(revisions) == list(range(3, 3 + WRITERS))


@pytest.fixture
def proxy(own_server: StoreServer) -> Iterator[Proxy]:
    with proxy_to_unix(own_server.url.removeprefix("unix://")) as running:
        yield running


@pytest.fixture
async def far_store(own_store: RedisStore, proxy: Proxy) -> AsyncIterator[RedisStore]:
    """The same store over a proxy, with the deadline of production."""
    store = RedisStore(Link.connect(f"redis://127.0.0.1:{proxy.port}"))
    store.set_epoch(own_store.link.epoch)
    yield store
    await store.close()


async def test_a_connection_that_is_dead_is_replaced(far_store: RedisStore, proxy: Proxy):
    """Given a connection without an end and without an answer, expect that at most the calls of its first second fail."""

    async def is_written() -> bool:
        with contextlib.suppress(StoreUnavailableError):
            await pinned(far_store, 1)
            return True
        return False

    await eventually_async(is_written)
    proxy.stall()
    failed = 0
    while not await is_written():
        failed += 1
        assert failed < 10
    assert failed


async def test_a_script_and_its_wait_for_replicas_go_over_one_connection(
    own_store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    async def wire() -> None:
        raise AssertionError

    await own_store.read(COMPONENT)
    monkeypatch.setattr(own_store.client.connection_pool, "wire", wire)
    own_store.link.wait.replicas = 1
    own_store.link.wait.ms = 1
    entry, _ = await own_store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, OWN)

    assert entry is not None
    assert entry.replicas == 0


@pytest.fixture
async def followed(own_store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A server on which the feed brings nothing from now on: it knows only its own changes."""
    feed, hangs = own_store.feed, False

    async def brings(after: str, *, block_ms: int) -> list[FeedEntry]:
        return await (asyncio.Event().wait() if hangs else feed(after, block_ms=min(block_ms, 10)))  # type: ignore[return-value]

    monkeypatch.setattr(own_store, "feed", brings)
    async with following(own_store) as replica:
        service = Service(own_store, replica)
        for name in NAMES:
            for tag in "ab":
                await service.execute(name, commands.Release(tag), ADA)
        hangs = True
        await asyncio.sleep(0.05)
        yield service


async def test_changes_of_many_components_at_once_are_taken_in_without_the_feed(followed: Service):
    """A server gets the answers in the order of the feed, so each change follows the one before it."""
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(followed.execute(name, commands.Ramp(1000), ADA) for name in NAMES))

    assert [answer.message for answer in answers] == ["b is at 10 %."] * WRITERS


async def test_changes_of_the_overrides_of_a_component_do_not_wait_for_each_other(
    own_store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    commit, together = own_store.commit_overrides, asyncio.Barrier(module._ABREAST)

    async def meet(*arguments: object, **options: object) -> tuple[FeedEntry | None, Result]:
        async with asyncio.timeout(PATIENCE_S / 4):
            await together.wait()
        return await commit(*arguments, **options)  # type: ignore[arg-type]

    async with following(own_store) as replica:
        service = Service(own_store, replica)
        monkeypatch.setattr(own_store, "commit_overrides", meet)
        answers = await asyncio.gather(
            *(
                service.set_overrides(COMPONENT, {f"acme/app-{number}": Override(tag="x")}, OWN)
                for number in range(2 * module._ABREAST)
            )
        )
        present = replica.get(COMPONENT)

    assert sorted(answer.result.revision for answer in answers) == list(range(3, 3 + 2 * module._ABREAST))
    assert present is not None
    assert present.rollout.revision == 2 + 2 * module._ABREAST
