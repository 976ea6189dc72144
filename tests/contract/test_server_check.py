"""A Redis that rampd must not run on is refused with a sentence."""

from collections.abc import AsyncIterator

import pytest
from redis import exceptions

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.storage.redis_store import RedisStore
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from tests.stores import REDIS, VALKEY, StoreServer, store_server


@pytest.fixture(params=[VALKEY, REDIS])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    with store_server(request.param) as server:
        store = server.store()
        yield store
        await store.close()


async def test_a_fresh_server_is_fit(store: RedisStore):
    await check_server(store)


async def test_a_server_with_our_data_is_fit(store: RedisStore):
    await store.begin_epoch(adopted=False)

    await check_server(store)


async def test_a_server_that_evicts_is_refused(store: RedisStore):
    await store.client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(
        UnsuitableStoreError, match=r"maxmemory-policy allkeys-lru.*CONFIG SET maxmemory-policy noeviction"
    ):
        await check_server(store)


async def test_a_replica_is_refused(store: RedisStore):
    await store.client.replicaof("127.0.0.1", "1")

    with pytest.raises(UnsuitableStoreError, match=r"replica of 127\.0\.0\.1:1.*primary"):
        await check_server(store)


@pytest.mark.parametrize(("schema", "sentence"), [("2", "schema 2.*newer rampd-server"), ("x", "'x'.*backup")])
async def test_data_of_another_schema_is_refused(store: RedisStore, schema: str, sentence: str):
    await store.client.hset(store.keys.meta, "schema", schema)

    with pytest.raises(UnsuitableStoreError, match=sentence):
        await check_server(store)


@pytest.mark.parametrize(("version", "is_fit"), [("7.0.0", True), ("10.0.1", True), ("6.2.14", False), ("2.8", False)])
async def test_a_server_that_is_too_old_is_refused(
    store: RedisStore, version: str, is_fit: bool, monkeypatch: pytest.MonkeyPatch
):
    async def info(_section: str) -> dict[str, str]:
        return {"redis_version": version}

    monkeypatch.setattr(store.client, "info", info)
    if is_fit:
        await check_server(store)
    else:
        with pytest.raises(UnsuitableStoreError, match=rf"{version}.*7\.0"):
            await check_server(store)


async def test_a_service_that_denies_info_is_taken_on_trust(store: RedisStore):
    await store.client.execute_command("ACL", "SETUSER", "default", "-info")
    with pytest.raises(exceptions.NoPermissionError):
        await store.client.info()

    await check_server(store)

    await store.client.hset(store.keys.meta, "schema", "2")
    with pytest.raises(UnsuitableStoreError):
        await check_server(store)


async def test_a_server_that_is_away_is_not_unsuitable():
    with store_server(REDIS) as server:
        away: StoreServer = server
    store = away.store(timeout_s=1.0)

    with pytest.raises(StoreUnavailableError):
        await check_server(store)
    await store.close()
