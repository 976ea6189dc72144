"""Data keep their schema until somebody raises it. A change whose form is that of another schema is decided again."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis import exceptions

from rampd_server.backup.upgrading import upgrade
from rampd_server.domain.errors import StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.ports import ConflictError, Namespace, Override
from rampd_server.process.startup import StartupError
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage import meta
from rampd_server.storage.followers import followers, name_of_server
from rampd_server.storage.link import Link
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore
from rampd_server.storage.together import Change, together
from tests.contract.driving import ADA, COMPONENT, commit, contents, decide, do
from tests.rollouts import NOW
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S

EARLIER = str(SCHEMA - 1)


async def _rollout(store: RedisStore) -> None:
    stored = await store.read(COMPONENT)
    # What the read has found is what the server knows from its last look.
    store.link.schema = str(SCHEMA)
    await commit(store, stored.rollout, decide(stored.rollout, commands.Pause()))


async def _overrides(store: RedisStore) -> None:
    store.link.schema = str(SCHEMA)
    await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="a")}, ADA)


async def _namespace(store: RedisStore) -> None:
    store.link.schema = str(SCHEMA)
    await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "", NOW)), ADA)


@pytest.mark.parametrize("change", [_rollout, _overrides, _namespace])
async def test_a_change_in_the_form_of_another_schema_writes_nothing(
    store: RedisStore, change: Callable[[RedisStore], Awaitable[Any]]
) -> None:
    await do(store, commands.Release("a"), commands.Release("b"))
    await store.client.hset(store.keys.meta, "schema", EARLIER)
    before = await contents(store)

    with pytest.raises(ConflictError):
        await change(store)
    assert await contents(store) == before

    await store.client.hset(store.keys.meta, "schema", SCHEMA)
    await change(store)
    assert await contents(store) != before


async def test_a_server_decides_such_a_change_again_and_nobody_notices(store: RedisStore) -> None:
    """Given a server that has not seen yet that the data have another schema, expect that all of its changes are made."""
    await do(store, commands.Release("a"), commands.Release("b"))
    replica = Replica(store)
    await replica.read_again()
    service = Service(store, replica)

    async def begin() -> None:
        await store.client.hset(store.keys.meta, "schema", EARLIER)
        store.link.schema = str(SCHEMA)

    await begin()
    paused = await service.execute(COMPONENT, commands.Pause(), ADA)
    assert isinstance(paused.rollout, Rollout)
    assert (paused.rollout.paused, store.schema) == (True, EARLIER)
    await begin()
    set_one = await service.set_overrides(COMPONENT, {"acme/app": Override(tag="a")}, ADA)
    assert set_one.result.revision == paused.rollout.revision + 1
    await begin()
    await service.freeze_all(None, ADA)
    head = await store.head()
    assert head is not None
    assert head.namespace.freeze is not None


async def test_a_merge_has_the_form_of_the_data(store: RedisStore) -> None:
    await do(store, commands.Release("a"), commands.Release("b"))
    await store.client.hset(store.keys.meta, "schema", EARLIER)
    stored = await store.read(COMPONENT)
    after = decide(stored.rollout, commands.Pause())
    assert isinstance(after, Rollout)

    async with together(store.link) as at_once:
        await at_once.commit([Change(COMPONENT, stored, after)], ADA)

    paused = (await store.read(COMPONENT)).rollout
    assert isinstance(paused, Rollout)
    assert paused.paused


async def test_a_raise_never_lowers_a_schema(store: RedisStore) -> None:
    await store.raise_schema(SCHEMA - 1)
    assert await store.client.hget(store.keys.meta, "schema") == str(SCHEMA)

    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}"):
        await store.raise_schema(SCHEMA)
    assert await store.client.hget(store.keys.meta, "schema") == str(SCHEMA + 1)


async def test_a_raise_gives_no_schema_to_a_namespace_without_an_epoch(server: StoreServer, namespace: str) -> None:
    store = server.store(namespace)
    await store.raise_schema(SCHEMA)
    assert await contents(store) == {}
    await store.close()


@pytest.mark.parametrize(
    ("earliest", "before", "after"),
    [(SCHEMA - 1, EARLIER, EARLIER), (SCHEMA, EARLIER, str(SCHEMA)), (SCHEMA - 1, None, str(SCHEMA))],
    ids=["a schema that is written", "an earlier one", "none"],
)
async def test_an_adopt_keeps_a_schema_that_the_server_writes(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, earliest: int, before: str | None, after: str
) -> None:
    monkeypatch.setattr(meta, "EARLIEST", earliest)
    if before is None:
        await store.client.hdel(store.keys.meta, "schema")
    else:
        await store.client.hset(store.keys.meta, "schema", before)
    await store.begin_epoch(adopted=True)
    assert await store.client.hget(store.keys.meta, "schema") == after


@contextlib.asynccontextmanager
async def _connected(server: StoreServer, namespace: str, *names: str) -> AsyncIterator[None]:
    """Servers that are connected under these names."""
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            each = RedisStore(Link.connect(server.url, namespace=namespace, name=name, deadline_s=PATIENCE_S))
            stack.push_async_callback(each.close)
            await each.head()
        yield


async def test_servers_say_which_schema_they_know(real_server: StoreServer, namespace: str) -> None:
    """Given two servers, one of which is of before servers said so, expect the schema of that time for it."""
    asking = real_server.store(namespace)
    name = name_of_server(namespace)
    assert name.endswith(f":{SCHEMA}")
    async with _connected(real_server, namespace, name.removesuffix(f":{SCHEMA}"), f"{name_of_server(namespace)}0"):
        found = await followers(asking.link)

    assert sorted(each.schema for each in found) == [3, SCHEMA * 10]
    assert all(each.address for each in found)
    await asking.close()


async def test_an_upgrade_is_refused_while_a_server_is_connected_that_knows_less(
    real_server: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given servers that know the new schema and eleven that do not, expect that ten of these are named, and nothing is changed."""
    store = real_server.store(namespace)
    with pytest.raises(StoreResetError, match="has no epoch"):
        await upgrade(store.link, namespace, is_forced=False)
    await store.begin_epoch(adopted=False)
    await store.client.hset(store.keys.meta, "schema", EARLIER)
    own = name_of_server(namespace)
    older = [f"{name_of_server(namespace).removesuffix(str(SCHEMA))}{EARLIER}" for _ in range(11)]
    async with _connected(real_server, namespace, own, *older):
        with pytest.raises(StartupError) as caught:
            await upgrade(store.link, namespace, is_forced=False)
        refusal, advice = caught.value.sentences
        assert f"because 11 servers are connected that can't work with schema {SCHEMA}: " in refusal
        assert (refusal.count(f" knows schema {EARLIER}"), refusal[-9:]) == (10, ", 1 more.")
        assert "--force" in advice
        assert await store.client.hget(store.keys.meta, "schema") == EARLIER
    async with _connected(real_server, namespace, own):
        assert f"from {EARLIER} to {SCHEMA}." in await upgrade(store.link, namespace, is_forced=False)
    assert "so nothing was changed" in await upgrade(store.link, namespace, is_forced=False)

    await store.client.hset(store.keys.meta, "schema", EARLIER)
    monkeypatch.setattr(store.client, "client_list", _denied)
    with pytest.raises(StartupError, match=r"nobody can tell which servers are connected: .*lacks a permission"):
        await upgrade(store.link, namespace, is_forced=False)
    assert await store.client.hget(store.keys.meta, "schema") == EARLIER
    assert f"from {EARLIER} to {SCHEMA}." in await upgrade(store.link, namespace, is_forced=True)
    await store.close()


async def _denied() -> None:
    raise exceptions.NoPermissionError("this user has no permissions to run the 'client|list' command")
