"""The feed has every change in order. Each entry names the one before it, and enough entries are kept to follow."""

import asyncio

import pytest

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.ports import FeedEntry, Namespace, Override
from rampd_server.storage.feed import MAX_BLOCK_MS
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, decide, do
from tests.rollouts import NOW
from tests.stores import StoreServer


@pytest.fixture
async def written(store: RedisStore) -> list[FeedEntry]:
    """Returns the entries that the writes returned, one of each kind."""
    entries = []
    rollout: Rollout | Absent = Absent(COMPONENT)
    for command in (commands.Release("a"), commands.Release("b", {"k": "v"}), commands.Ramp(1000)):
        entry, rollout = await commit(store, rollout, decide(rollout, command))
        entries.append(entry)
    changes = {"acme/app": Override(tag="pb/x", expire_ms=NOW), "acme/*": Override(channel="NEXT"), "gone": None}
    entry, _ = await store.commit_overrides(COMPONENT, changes, ADA)
    assert entry is not None
    entries.append(entry)
    entries.append(await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "", NOW)), ADA))
    entries.append(await store.commit_namespace(Namespace(Freeze("ada", "", NOW)), Namespace(), ADA))
    last = (await store.read(COMPONENT)).rollout
    entries.append((await commit(store, last, Absent(COMPONENT, last.revision + 1, last.last_number)))[0])
    return entries


async def test_the_feed_has_the_entries_that_the_writes_returned(store: RedisStore, written: list[FeedEntry]):
    assert await store.feed("0-0", block_ms=0) == written
    assert await store.feed(written[2].id, block_ms=0) == written[3:]
    assert await store.feed(written[-1].id, block_ms=0) == []


async def test_each_entry_names_the_one_before(store: RedisStore, written: list[FeedEntry]):
    assert [entry.previous_id for entry in written] == ["0-0", *(entry.id for entry in written[:-1])]
    head = await store.head()
    assert head is not None
    assert head.entry_id == written[-1].id == (await store.read(COMPONENT)).entry_id


async def test_an_entry_says_what_changed(written: list[FeedEntry]):
    release, _, ramp, overrides, frozen, unfrozen, deleted = written

    assert (release.component, release.revision, release.is_deletion) == (COMPONENT, 1, False)
    assert ramp.patch == (
        '{"assignment":"2 1000 REPO 1","rollout":{"set":["next_percent","10","driver","PERSON","update_ms","1700000000000"]}}'
    )
    assert overrides.overrides_set == {
        "acme/app": Override(tag="pb/x", expire_ms=NOW),
        "acme/*": Override(channel="NEXT"),
    }
    assert overrides.overrides_deleted == ("gone",)
    assert overrides.is_of_overrides_only
    assert frozen.namespace == Namespace(Freeze("ada", "", NOW))
    assert unfrozen.namespace == Namespace()
    assert (frozen.component, frozen.revision) == ("", 0)
    assert deleted.is_deletion


async def test_attributes_are_sent_once(written: list[FeedEntry]):
    assert [bool("attributes" in entry.patch) for entry in written] == [False, True, *[False] * 5]


async def test_all_entries_applied_in_order_give_the_state_that_a_read_returns(store: RedisStore):
    copy: Rollout | Absent = Absent(COMPONENT)
    seen = "0-0"
    steps = [commands.Release(f"t{n}", {"n": str(n)}) for n in range(4)]
    for step in (*steps, commands.Ramp(25), commands.Finalize(), commands.Quarantine("t3"), commands.Revert()):
        await do(store, step)
        await store.commit_overrides(COMPONENT, {f"acme/{step!r}".replace(" ", ""): Override(tag="x")}, ADA)
        entries = await store.feed(seen, block_ms=0)
        for entry in entries:
            copy = store.apply(copy, entry)
        seen = entries[-1].id

        assert copy == (await store.read(COMPONENT)).rollout


async def test_applying_an_entry_again_changes_nothing(store: RedisStore, written: list[FeedEntry]):
    copy: Rollout | Absent = Absent(COMPONENT)
    for entry in written:
        copy = store.apply(copy, entry)
        for earlier in written:
            if earlier.revision <= copy.revision:
                assert store.apply(copy, earlier) == copy

    assert copy == Absent(COMPONENT, 5, 2, written[-1].id, written[-1].id)


async def test_an_entry_that_does_not_follow_is_an_error(store: RedisStore, written: list[FeedEntry]):
    copy = store.apply(Absent(COMPONENT), written[0])

    with pytest.raises(StoreCorruptError, match="has to be read again"):
        store.apply(copy, written[2])


@pytest.mark.parametrize(
    "patch",
    [
        *("{", "[]", '{"rollout":7}', '{"rollout":{"set":["next_percent","10.001"]}}', '{"queue":["9"]}'),
        *('{"queue":7}', '{"queue":[7]}', '{"rollout":{"set":["trial",7]}}', '{"rollout":{"set":["trial"]}}'),
        *('{"delete":true}', '{"rollout":{"set":["next","1"]}}', '{"releases":{"del":["1"]}}'),
    ],
)
async def test_a_malformed_patch_is_an_error(store: RedisStore, written: list[FeedEntry], patch: str):
    copy = store.apply(Absent(COMPONENT), written[0])

    with pytest.raises(StoreCorruptError) as caught:
        store.apply(copy, FeedEntry("1-1", "1-0", COMPONENT, 2, patch))

    assert caught.value.metadata == {"key": store.keys.feed}


@pytest.mark.parametrize(
    "fields",
    [
        {"component": "c", "revision": "1"},
        {"component": "c", "revision": "-1", "prev": "0-0"},
        {"component": "c", "revision": "1", "prev": "0-0", "overrides": '{"acme/app":"something"}'},
        {"component": "c", "revision": "1", "prev": "0-0", "overrides": '["acme/app"]'},
        {"component": "c", "revision": "1", "prev": "0-0", "overrides": r'{"acme/\ud800":"tag=a"}'},
        {"namespace": '{"freeze":"x"}', "prev": "0-0"},
    ],
)
async def test_an_entry_that_rampd_did_not_write_has_its_problem_and_does_not_stop_the_others(
    store: RedisStore, fields: dict[str, str]
):
    entry_id = await store.client.xadd(store.keys.feed, fields)
    entry, _ = await commit(store, Absent(COMPONENT), decide(Absent(COMPONENT), commands.Release("a")))

    stray, *others = await store.feed("0-0", block_ms=0)

    assert (stray.id, stray.previous_id, stray.component) == (entry_id, "", "")
    assert entry_id in stray.problem
    assert others == [entry]


async def test_a_reader_waits_for_the_next_entry(store: RedisStore):
    async def first() -> list[FeedEntry]:
        while not (entries := await store.feed("0-0", block_ms=MAX_BLOCK_MS)):
            pass
        return entries

    reading = asyncio.create_task(first())
    await asyncio.sleep(0)
    rollout = decide(Absent(COMPONENT), commands.Release("a"))
    entry, _ = await commit(store, Absent(COMPONENT), rollout)

    assert await reading == [entry]


async def test_an_entry_id_has_a_random_number(store: RedisStore, written: list[FeedEntry]):
    """So that two histories of the same moments, one of them lost in a failover, have no id in common."""
    numbers = {int(entry.id.partition("-")[2]) for entry in written}

    assert len(numbers) == len(written)
    assert max(numbers) > 2**20


async def test_an_entry_is_lost_if_it_is_missing_between_entries_that_the_feed_keeps(
    store: RedisStore, written: list[FeedEntry]
):
    assert not any([await store.has_lost(entry.id) for entry in written])
    time, _, sequence = written[2].id.partition("-")
    assert await store.has_lost(f"{time}-{int(sequence) - 1}")
    assert await store.has_lost(f"{int(time) + 1000}-0")
    assert not await store.has_lost("1-0")  # older than the oldest kept entry: it counts as trimmed
    await store.client.delete(store.keys.feed)
    assert await store.has_lost(written[0].id)


async def test_a_read_without_new_entries_returns_nothing(store: RedisStore):
    assert await store.feed("0-0", block_ms=20) == []


async def test_a_wait_longer_than_the_timeout_of_its_connection_is_a_mistake(store: RedisStore):
    with pytest.raises(ValueError, match="block_ms"):
        await store.feed("0-0", block_ms=60_000)


async def test_a_long_feed_comes_in_pieces(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    for percent in range(1, 150):
        await do(store, commands.Ramp(percent))

    entries: list[FeedEntry] = []
    while more := await store.feed(entries[-1].id if entries else "0-0", block_ms=0):
        entries += more

    assert [entry.revision for entry in entries] == list(range(1, 152))


async def test_the_feed_keeps_its_newest_entries_within_a_count(server: StoreServer, namespace: str):
    store = server.store(namespace, max_feed_entries=5)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"), commands.Release("b"), *(commands.Ramp(n) for n in range(1, 20)))

    entries = await store.feed("0-0", block_ms=0)

    assert [entry.revision for entry in entries] == [17, 18, 19, 20, 21]
    assert entries[1].previous_id == entries[0].id
    assert await _bytes(store) == await _count_bytes(store)
    await store.close()


async def test_the_feed_keeps_its_newest_entries_within_a_budget_of_bytes(server: StoreServer, namespace: str):
    store = server.store(namespace, max_feed_bytes=20_000)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"), commands.Release("b"))
    for number in range(40):
        changes = {f"acme/{number}-{n}": Override(tag="pb/x") for n in range(1, 1 + number * 7 % 60)}
        await store.commit_overrides(COMPONENT, changes or {"acme/app": None, "x": Override(tag=str(number))}, ADA)

        assert await _bytes(store) == await _count_bytes(store) <= 20_000

    entries = await store.feed("0-0", block_ms=0)
    assert entries[-1].revision == 42
    assert [entry.revision for entry in entries] == list(range(entries[0].revision, 43))
    await store.close()


async def test_an_entry_larger_than_the_budget_stays_until_the_next(server: StoreServer, namespace: str):
    store = server.store(namespace, max_feed_bytes=1000)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"))
    big = {f"acme/{n}": Override(tag="pb/x") for n in range(100)}
    entry, _ = await store.commit_overrides(COMPONENT, big, ADA)

    assert await store.feed("0-0", block_ms=0) == [entry]

    after, _ = await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA)
    assert await store.feed("0-0", block_ms=0) == [after]
    assert after is not None
    assert entry is not None
    assert after.previous_id == entry.id
    await store.close()


async def test_a_counter_that_was_lost_or_edited_does_not_stop_writes(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    await store.client.set(store.keys.feed_bytes, "many")
    await do(store, commands.Ramp(1))
    await store.client.delete(store.keys.feed_bytes)
    await do(store, commands.Ramp(2))

    assert await _bytes(store) > 0


async def _bytes(store: RedisStore) -> int:
    return int(await store.client.get(store.keys.feed_bytes))


async def _count_bytes(store: RedisStore) -> int:
    entries = await store.client.xrange(store.keys.feed)
    return sum(len(name.encode()) + len(text.encode()) for _, fields in entries for name, text in fields.items())
