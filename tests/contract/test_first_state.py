"""A write that comes before the first state of a server. The server does not know yet which store it may write to."""

import asyncio

import pytest

from rampd_server.domain.errors import InvalidRequestError, NoSnapshotError
from rampd_server.domain.rollout import commands
from rampd_server.ports import Author, Override
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.store import RedisStore
from tests.contract.driving import contents, do
from tests.in_background import in_background
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S

ADA = Author("ada", "Release", "")


class LatecomersReplica(Replica):
    """A copy for whose first state a write waits longer than in production, because the machine may be busy."""

    async def require_state(self, *, timeout_s: float = PATIENCE_S) -> None:
        await super().require_state(timeout_s=timeout_s)


async def test_a_write_waits_for_the_first_state(store: RedisStore, server: StoreServer, namespace: str) -> None:
    other = server.store(namespace)
    replica = LatecomersReplica(other)
    writing = asyncio.create_task(Service(other, replica).execute("restyler", commands.Release("t1"), ADA))
    await asyncio.sleep(0.05)
    assert not writing.done()
    async with in_background(replica.run()):
        assert (await writing).result.revision == 1
    await other.close()


@pytest.mark.parametrize("ask", ["override", "overrides", "freeze of all"])
async def test_a_time_in_the_past_is_refused_before_the_first_state_too(
    store: RedisStore, server: StoreServer, namespace: str, ask: str
) -> None:
    """Given a write before the server has read the store's clock, with a time that has passed by that clock, expect that
    nothing is written, and the same error as later.
    """
    await do(store, commands.Release("a"))
    head = await store.head()
    assert head is not None
    before = await contents(store)
    over = Override(tag="x", expire_ms=head.time_ms - 1_000)
    other = server.store(namespace)
    replica = LatecomersReplica(other)
    service = Service(other, replica)
    asks = {
        "override": lambda: service.set_overrides("restyler", {"acme/app": over}, ADA),
        "overrides": lambda: service.set_overrides("restyler", {"acme/lib": Override(tag="x"), "acme/app": over}, ADA),
        "freeze of all": lambda: service.freeze_all(over.expire_ms, ADA),
    }
    writing = asyncio.create_task(asks[ask]())
    await asyncio.sleep(0.05)
    assert not writing.done()
    async with in_background(replica.run()):
        with pytest.raises(InvalidRequestError, match="expire_time: is not in the future"):
            await writing
        assert await contents(store) == before
    await other.close()


async def test_a_freeze_of_all_before_the_first_state_has_the_time_of_the_store(
    store: RedisStore, server: StoreServer, namespace: str
) -> None:
    other = server.store(namespace)
    replica = LatecomersReplica(other)
    writing = asyncio.create_task(Service(other, replica).freeze_all(None, ADA))
    await asyncio.sleep(0)
    async with in_background(replica.run()):
        await writing
        head = await store.head()
        assert head is not None
        assert head.namespace.freeze is not None
        assert head.time_ms - 60_000 < head.namespace.freeze.create_ms <= head.time_ms
    await other.close()


async def test_the_time_is_unknown_before_the_clock_of_the_store_was_read(store: RedisStore) -> None:
    with pytest.raises(NoSnapshotError, match="The server has no state yet"):
        Replica(store).now_ms()


async def test_a_write_without_a_first_state_is_refused_and_the_error_says_what_is_missing(store: RedisStore) -> None:
    with pytest.raises(NoSnapshotError, match="The server has no state yet"):
        await Service(store, Replica(store)).execute("restyler", commands.Release("t1"), ADA)
