"""Puts all data of a namespace back as they were, as a failover to a replica that was behind does, or an older copy of the data."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from redis.asyncio import Redis

from rampd_server.storage.store import RedisStore
from tests.stores import StoreServer

GoBack = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def copied(server: StoreServer, store: RedisStore) -> AsyncIterator[GoBack]:
    """Copies the data of the store's namespace. What it yields puts them back, in one step, as often as it is called."""
    client = Redis.from_url(server.url, protocol=2)

    async def keys() -> list[bytes]:
        return [key async for key in client.scan_iter(match=f"{store.keys.prefix}*")]

    kept = {key: await client.dump(key) for key in await keys()}

    async def put_back() -> None:
        present = await keys()
        pipe = client.pipeline(transaction=True)
        pipe.delete(*present)
        for key, value in kept.items():
            pipe.restore(key, 0, value)
        await pipe.execute()

    yield put_back
    await client.aclose()
