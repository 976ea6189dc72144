"""The epoch: servers notice an emptied store, and never write to it as if nothing had happened."""

from collections.abc import Awaitable, Callable

import pytest

from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.ports import Author, Namespace, Override, Result
from rampd_server.replica.replica import Replica
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, contents, decide, do
from tests.rollouts import NOW
from tests.stores import StoreServer

WRITES: dict[str, Callable[[RedisStore], Awaitable[object]]] = {
    "commit": lambda store: commit(store, Absent(COMPONENT), decide(Absent(COMPONENT), commands.Release("evil"))),
    "commit_overrides": lambda store: store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA),
    "commit_namespace": lambda store: store.commit_namespace(Namespace(), Namespace(Freeze("ada", "", NOW)), ADA),
    "sweep_overrides": lambda store: store.sweep_overrides(COMPONENT),
    "remember": lambda store: store.remember(Author("ada", "Ramp", request_id="a", digest="b"), Result(1)),
}
HOUR_MS = 3_600_000
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


async def test_a_new_namespace_has_no_key_and_no_head(server: StoreServer, namespace: str):
    store = server.store(namespace)

    assert await store.is_empty()
    assert await store.head() is None
    with pytest.raises(StoreResetError):
        await store.read(COMPONENT)
    await store.close()


async def test_any_key_makes_a_namespace_not_empty(server: StoreServer, namespace: str):
    store, other = server.store(namespace), server.store(f"{namespace}-2")
    await store.client.set(store.keys.request("some-id"), "x")

    assert not await store.is_empty()
    assert await other.is_empty()
    await store.close()
    await other.close()


async def test_the_first_epoch_is_created_once(server: StoreServer, namespace: str):
    store, second = server.store(namespace), server.store(namespace)

    epoch = await store.begin_epoch(adopted=False)

    assert await second.begin_epoch(adopted=False) == epoch
    head = await store.head()
    assert head is not None
    assert (head.epoch, head.entry_id, head.adopted_ms, head.namespace) == (epoch, "0-0", None, Namespace())
    assert head.time_ms > NOW
    assert await store.client.hget(store.keys.meta, "schema") == str(SCHEMA)
    await store.close()
    await second.close()


async def test_adopting_makes_a_new_epoch_and_keeps_everything_else(store: RedisStore):
    rollout = await do(store, commands.Release("a"), commands.Release("b"))
    frozen = Namespace(Freeze("ada", "", NOW))
    entry = await store.commit_namespace(Namespace(), frozen, ADA)
    before = await store.head()

    epoch = await store.begin_epoch(adopted=True)

    head = await store.head()
    assert head is not None
    assert before is not None
    assert head.epoch == epoch != before.epoch
    assert (head.entry_id, head.namespace) == (entry.id, frozen)
    assert head.adopted_ms is not None
    assert before.time_ms <= head.adopted_ms <= head.time_ms
    store.set_epoch(epoch)
    assert (await store.read(COMPONENT)).rollout == rollout


@every_write
async def test_nothing_is_written_to_an_emptied_store(
    store: RedisStore, write: Callable[[RedisStore], Awaitable[object]]
):
    await do(store, commands.Release("a"))
    await store.client.flushall()

    with pytest.raises(StoreResetError) as caught:
        await write(store)

    assert caught.value.message == (
        f"The store was emptied or replaced: it has no epoch in {store.keys.meta}. Jobs keep their versions, and nothing is "
        "written. To get the data back from an export, type rampd-server import (docs/backup.md). From a copy of the store's files: "
        "stop the server, put the copy back, start it. To go on with the data that are there now, type rampd-server adopt with the --redis-url or --data-dir, and the --namespace, of the servers: servers that run "
        "follow within seconds."
    )
    assert await contents(store) == {}


@every_write
async def test_nothing_is_written_to_a_store_with_another_epoch(
    store: RedisStore, write: Callable[[RedisStore], Awaitable[object]]
):
    await store.begin_epoch(adopted=True)
    before = await contents(store)

    with pytest.raises(StoreResetError) as caught:
        await write(store)

    assert await contents(store) == before
    assert caught.value.metadata["found"] == await store.client.hget(store.keys.meta, "epoch")


@every_write
async def test_nothing_is_written_into_data_of_a_newer_schema(
    store: RedisStore, write: Callable[[RedisStore], Awaitable[object]]
):
    await do(store, commands.Release("a"))
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    before = await contents(store)

    with pytest.raises(StoreUnavailableError, match=rf"schema {SCHEMA + 1}.* up to {SCHEMA}.*Update this server"):
        await write(store)

    assert await contents(store) == before


async def test_data_of_a_newer_schema_are_neither_read_nor_confirmed_nor_adopted(store: RedisStore):
    await do(store, commands.Release("a"))
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)

    for call in (store.head(), store.read(COMPONENT), store.begin_epoch(adopted=True)):
        with pytest.raises(StoreUnavailableError) as caught:
            await call
        assert caught.value.metadata == {"found": str(SCHEMA + 1), "known": str(SCHEMA)}

    await store.client.hset(store.keys.meta, "schema", SCHEMA)
    assert await store.head() is not None
    assert isinstance((await store.read(COMPONENT)).rollout, Rollout)


async def test_a_read_from_an_emptied_store_is_an_error_and_not_an_absent_component(store: RedisStore):
    await do(store, commands.Release("a"))
    await store.client.flushall()

    with pytest.raises(StoreResetError):
        await store.read(COMPONENT)
    assert await store.head() is None

    await store.begin_epoch(adopted=False)
    with pytest.raises(StoreResetError):
        await store.read(COMPONENT)


async def following(store: RedisStore) -> Replica:
    """Yields a server's copy that the store has confirmed."""
    replica = Replica(store)
    await replica._check_head()
    return replica


def swap(store: RedisStore, other: RedisStore) -> None:
    """Makes the address lead to another store from now on."""
    store.keys = store.link.keys = other.keys


async def test_another_store_that_was_adopted_long_ago_must_be_adopted_again(
    server: StoreServer, store: RedisStore, namespace: str
):
    await do(store, commands.Release("a"))
    other = server.store(f"{namespace}-2")
    other.set_epoch(await other.begin_epoch(adopted=True))
    await do(other, commands.Release("b"))
    await other.client.hincrby(other.keys.meta, "adopted_ms", -HOUR_MS)
    replica = await following(store)

    swap(store, other)
    for _ in range(2):
        with pytest.raises(StoreResetError, match="rampd-server adopt"):
            await replica._check_head()
    assert _current_tag(replica) == "a"

    await other.begin_epoch(adopted=True)
    await replica._check_head()
    assert _current_tag(replica) == "b"
    await other.close()


async def test_another_store_that_an_earlier_rampd_adopted_is_not_used(
    server: StoreServer, store: RedisStore, namespace: str
):
    other = server.store(f"{namespace}-2")
    await other.begin_epoch(adopted=True)
    await other.client.hdel(other.keys.meta, "adopted_ms")
    replica = await following(store)

    swap(store, other)

    with pytest.raises(StoreResetError):
        await replica._check_head()
    await other.close()


async def test_a_server_that_missed_several_adopts_of_an_emptied_store_follows_the_last(store: RedisStore):
    await do(store, commands.Release("a"))
    replica = await following(store)
    await store.client.flushall()

    await store.begin_epoch(adopted=False)
    with pytest.raises(StoreResetError):
        await replica._check_head()
    for _ in range(3):
        epoch = await store.begin_epoch(adopted=True)
    await replica._check_head()

    assert replica.epoch == epoch
    assert replica.get(COMPONENT) is None


async def test_a_second_adopt_is_followed_if_the_first_was_not_because_a_clock_was_set(
    store: RedisStore,
):
    replica = await following(store)
    for set_by_ms in (HOUR_MS, -HOUR_MS):
        epoch = await store.begin_epoch(adopted=True)
        await store.client.hincrby(store.keys.meta, "adopted_ms", set_by_ms)
        with pytest.raises(StoreResetError):
            await replica._check_head()

        epoch = await store.begin_epoch(adopted=True)
        await replica._check_head()
        assert replica.epoch == epoch


async def test_an_error_names_a_time_of_adoption_that_was_edited_by_hand(store: RedisStore):
    await store.client.hset(store.keys.meta, "adopted_ms", "yesterday")

    with pytest.raises(StoreCorruptError, match="'adopted_ms'"):
        await store.head()


def _current_tag(replica: Replica) -> str:
    known = replica.get(COMPONENT)
    assert known is not None
    return known.rollout.current_release.tag


async def test_a_new_epoch_continues_the_feed(store: RedisStore):
    await do(store, commands.Release("a"))
    await store.client.delete(store.keys.meta)
    (last,) = await store.feed("0-0", block_ms=0)

    store.set_epoch(await store.begin_epoch(adopted=True))
    rollout = (await store.read(COMPONENT)).rollout
    assert isinstance(rollout, Rollout)
    entry, _ = await commit(store, rollout, decide(rollout, commands.Release("b")))

    assert entry.previous_id == last.id


async def test_an_error_names_a_freeze_that_was_edited_by_hand(store: RedisStore):
    await store.client.hset(store.keys.meta, "freeze", '{"actor": "ada", "note": "", "create_ms": 1}')

    for read in (store.head(), store.read(COMPONENT)):
        with pytest.raises(StoreCorruptError, match="'freeze'") as caught:
            await read
        assert caught.value.metadata == {"key": store.keys.meta}


async def test_an_error_names_a_meta_key_of_the_wrong_type(store: RedisStore):
    await store.client.delete(store.keys.meta)
    await store.client.set(store.keys.meta, "x")

    for call in (
        store.head(),
        store.read(COMPONENT),
        store.begin_epoch(adopted=True),
        WRITES["sweep_overrides"](store),
    ):
        with pytest.raises(StoreCorruptError) as caught:
            await call
        assert caught.value.metadata == {"key": store.keys.meta}


async def test_a_list_from_an_emptied_store_is_an_error_and_not_an_empty_list(store: RedisStore):
    await do(store, commands.Release("a"))
    await store.client.delete(*[key async for key in store.client.scan_iter(match=f"{store.keys.prefix}*")])

    for read in (store.components(limit=10), store.events("", limit=10), store.events(COMPONENT, limit=10)):
        with pytest.raises(StoreResetError):
            await read
