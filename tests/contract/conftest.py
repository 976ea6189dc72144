"""One suite for several stores. Each test has its own namespace; a server lives as long as the session."""

import contextlib
import signal
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
from tests.waiting import PATIENCE_S


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


@pytest.fixture(autouse=True)
def _patient_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write without a deadline waits for others for longer than in production, because the machine may be busy."""
    monkeypatch.setattr("rampd_server.service.service._TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def namespace() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def store(server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    """A store with its first epoch."""
    store = server.store(namespace)
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
async def own_store(own_server: StoreServer) -> AsyncIterator[RedisStore]:
    """A store with a rollout, on the test's own server (`own_server` of its file)."""
    store = own_server.store()
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"), commands.Release("b"))
    yield store
    await store.close()


@contextlib.contextmanager
def silent(server: StoreServer, store: RedisStore) -> Iterator[None]:
    """While the block runs, a real server does not answer, and a call of the store waits for it only a second."""
    patient_s, store.link.deadline_s = store.link.deadline_s, 1.0
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)
        store.link.deadline_s = patient_s
