"""One suite for several stores. Each test has its own namespace; a server lives as long as the session."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from rampd_server.domain.rollout import commands
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.clusters import Cluster, cluster
from tests.contract.driving import do
from tests.servers import short_directory
from tests.stores import ALL, CLUSTER, FAKEREDIS, REDIS, VALKEY, StoreServer, store_server


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


@pytest.fixture(scope="session")
def nodes() -> Iterator[Cluster]:
    """A cluster. A test that gives its nodes other settings or slots takes that back."""
    with short_directory() as folder, cluster(REDIS, folder) as found:
        yield found


@pytest.fixture(scope="session")
def cluster_server(nodes: Cluster) -> StoreServer:
    """The same, as one store."""
    return StoreServer(CLUSTER, nodes.url)


def server_of(*kinds: str) -> Any:
    """Returns a fixture: each server of some kinds."""

    @pytest.fixture(params=kinds)
    def found(request: pytest.FixtureRequest) -> StoreServer:
        server: StoreServer = request.getfixturevalue(f"{request.param}_server")
        return server

    return found


server = server_of(*ALL)
real_server = server_of(VALKEY, REDIS)
"""Those that are processes."""


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
