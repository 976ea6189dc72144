"""What a server does with a write that comes before its first state: it does not know yet which store it may write to."""

import asyncio
import contextlib

import pytest

from rampd_server.domain import commands
from rampd_server.domain.errors import NoSnapshotError
from rampd_server.ports import Author
from rampd_server.replica import Replica
from rampd_server.service import Service
from rampd_server.storage.redis_store import RedisStore
from tests.stores import StoreServer

ADA = Author("ada", "Release", "")


async def test_a_write_waits_for_the_first_state(store: RedisStore, server: StoreServer, namespace: str) -> None:
    other = server.store(namespace)
    replica = Replica(other)
    writing = asyncio.create_task(Service(other, replica).execute("restyler", commands.Release("t1"), ADA))
    await asyncio.sleep(0.05)
    assert not writing.done()
    following = asyncio.create_task(replica.run())
    assert (await writing).result.revision == 1
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    await other.close()


async def test_a_write_without_one_is_refused_and_says_what_is_missing(store: RedisStore) -> None:
    with pytest.raises(NoSnapshotError, match="The server has no state yet"):
        await Service(store, Replica(store)).execute("restyler", commands.Release("t1"), ADA)
