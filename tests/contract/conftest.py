"""One suite for three stores. Each test has its own namespace; a server lives as long as the session."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from rampd_server.domain.rollout import commands
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.contract.driving import do
from tests.stores import ALL, FAKEREDIS, REDIS, VALKEY, StoreServer, store_server


@pytest.fixture(scope="session")
def fakeredis_server() -> Iterator[StoreServer]:
    with store_server(FAKEREDIS) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[StoreServer]:
    with store_server(VALKEY) as server:
        yield server
        server.require_alive()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[StoreServer]:
    with store_server(REDIS) as server:
        yield server
        server.require_alive()


@pytest.fixture(params=ALL)
def server(request: pytest.FixtureRequest) -> StoreServer:
    """Each of the three servers."""
    found: StoreServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture(params=[VALKEY, REDIS])
def real_server(request: pytest.FixtureRequest) -> StoreServer:
    """Each of the two servers that are processes."""
    found: StoreServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def namespace() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def store(server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """A store with its first epoch."""
    store = server.store(namespace, timeout_s=10.0)
    store.set_epoch(await store.begin_epoch(adopted=False))
    yield store
    await store.close()


@pytest.fixture
def counted(store: RedisStore) -> RedisOutcomes:
    """The outcomes of the same store."""
    return RedisOutcomes(store.link)


@pytest.fixture
async def client(server: StoreServer) -> AsyncIterator[Redis]:
    """A client that writes to Redis directly, like a person with redis-cli."""
    client = server.client()
    yield client
    await client.aclose()


@pytest.fixture
def own_deadline_s() -> float:
    """How long `own_store` waits for a call. A test about a store that does not answer overrides it."""
    return 10.0


@pytest.fixture
async def own_store(own_server: StoreServer, own_deadline_s: float) -> AsyncIterator[RedisStore]:
    """A store with a rollout, on the test's own server (`own_server` of its file)."""
    store = own_server.store(timeout_s=own_deadline_s)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"), commands.Release("b"))
    yield store
    await store.close()
