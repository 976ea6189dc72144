"""A Redis that is not suitable for rampd is refused with a sentence that says why."""

import re
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest
from redis import exceptions

from rampd_server import storage
from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.storage import server_check
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.scripts import script
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from rampd_server.storage.store import RedisStore
from tests.stores import REDIS, VALKEY, StoreServer, store_server


@pytest.fixture(params=[VALKEY, REDIS])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    with store_server(request.param) as server:
        store = server.store()
        yield store
        await store.close()


async def test_a_new_server_is_suitable(store: RedisStore):
    assert await check_server(store.link) == ""


async def test_a_server_with_data_of_rampd_is_suitable(store: RedisStore):
    await store.begin_epoch(adopted=False)

    await check_server(store.link)


async def test_a_server_that_evicts_is_refused(store: RedisStore):
    await store.client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(
        UnsuitableStoreError, match=r"maxmemory-policy allkeys-lru.*CONFIG SET maxmemory-policy noeviction"
    ):
        await check_server(store.link)


async def test_only_a_primary_confirms_a_copy(store: RedisStore):
    """Given a Redis that becomes a replica and reaches no primary, expect that it confirms the copy of no server."""
    await store.begin_epoch(adopted=False)
    assert await store.head() is not None
    await store.client.replicaof("127.0.0.1", "1")

    with pytest.raises(StoreUnavailableError, match=r"it is a replica: point .* at the primary"):
        await store.head()
    await store.client.replicaof("NO", "ONE")
    assert await store.head() is not None


async def test_a_redis_that_does_not_tell_its_role_confirms_no_copy(store: RedisStore):
    """Given a user that may not ask for the role, expect that the server does not start, and that no head is confirmed."""
    await store.begin_epoch(adopted=False)
    await store.client.execute_command("ACL", "SETUSER", "default", "-role")

    with pytest.raises(UnsuitableStoreError, match=r"ROLE.*ACL SETUSER"):
        await check_server(store.link)
    with pytest.raises(StoreMisconfiguredError, match="lacks a permission"):
        await store.head()


async def test_a_replica_is_refused(store: RedisStore):
    await store.client.replicaof("127.0.0.1", "1")

    with pytest.raises(UnsuitableStoreError, match=r"replica of 127\.0\.0\.1:1.*primary"):
        await check_server(store.link)


@pytest.mark.parametrize(
    ("schema", "sentence"), [(str(SCHEMA + 1), f"schema {SCHEMA + 1}.*newer rampd-server"), ("x", "'x'.*backup")]
)
async def test_data_of_another_schema_is_refused(store: RedisStore, schema: str, sentence: str):
    await store.client.hset(store.keys.meta, "schema", schema)

    with pytest.raises(UnsuitableStoreError, match=sentence):
        await check_server(store.link)


@pytest.mark.parametrize(("version", "is_fit"), [("7.0.0", True), ("10.0.1", True), ("6.2.14", False), ("2.8", False)])
async def test_a_server_that_is_too_old_is_refused(
    store: RedisStore, version: str, is_fit: bool, monkeypatch: pytest.MonkeyPatch
):
    async def info(_section: str) -> dict[str, str]:
        return {"redis_version": version}

    monkeypatch.setattr(store.client, "info", info)
    if is_fit:
        await check_server(store.link)
    else:
        with pytest.raises(UnsuitableStoreError, match=rf"{version}.*7\.0"):
            await check_server(store.link)


async def test_a_service_that_denies_info_is_accepted(store: RedisStore):
    await store.client.execute_command("ACL", "SETUSER", "default", "-info")
    with pytest.raises(exceptions.NoPermissionError):
        await store.client.info()

    assert "denies INFO" in await check_server(store.link)

    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(UnsuitableStoreError):
        await check_server(store.link)


@pytest.mark.parametrize(
    ("rules", "denied"),
    [
        (["~rampd:*", "+@all", "-zadd", "-xadd"], "XADD, ZADD"),
        (["~rampd:*", "+@read", "+@scripting", "+info"], "HSET"),
        (["~rampd:{default}:*", "+@all"], "HGET.*rampd:{default:any}:outcomes"),
    ],
)
async def test_the_error_for_a_user_names_each_missing_permission(store: RedisStore, rules: list[str], denied: str):
    before = await store.client.dbsize()
    await store.client.execute_command("ACL", "SETUSER", "default", "resetkeys", "nocommands", *rules, "+dbsize")

    with pytest.raises(UnsuitableStoreError, match=rf"RAMPD_REDIS_URL.*{denied}.*ACL SETUSER"):
        await check_server(store.link)
    assert await store.client.dbsize() == before


async def test_a_user_with_exactly_the_permissions_that_rampd_needs_is_suitable(store: RedisStore):
    needed = {f"+{command.split()[0].lower()}" for command in server_check._COMMANDS} | {"+evalsha", "+script|load"}
    await store.client.execute_command(
        "ACL", "SETUSER", "default", "resetkeys", "nocommands", "~rampd:{*", *needed, "+info"
    )

    assert await check_server(store.link) == ""


def test_the_permission_for_every_command_of_every_script_is_checked():
    words = {command.split()[0] for command in server_check._COMMANDS}
    names = sorted(path.name.removesuffix(".lua") for path in (files(storage) / "lua").iterdir())
    used = {
        word
        for name in names
        for word in re.findall(r"(?:redis\.p?call|call_in_chunks)\(\s*'([A-Z]+)'", script(name).text)
    }
    assert {"HSET", "RPUSH", "ZADD"} <= used <= words


async def test_an_unreachable_server_does_not_count_as_unsuitable():
    with store_server(REDIS) as server:
        away: StoreServer = server
    store = away.store(timeout_s=1.0)

    with pytest.raises(StoreUnavailableError):
        await check_server(store.link)
    await store.close()
