"""Who set an override, and since when: each override has the id of the history's entry that set it."""

import pytest

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Author, Origin, Override
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, decide, do

PINNED, NEXT = Override(tag="pb/x"), Override(channel="NEXT")
PAST_MS = 1_000_000_000_000
BOB = Author("bob", "BatchSetOverrides", "a pilot: ü", is_claimed=True)


@pytest.fixture(autouse=True)
async def component(store: RedisStore) -> Rollout:
    return await do(store, commands.Release("a"))


async def listed(store: RedisStore) -> dict[str, Origin | None]:
    page = await store.list_overrides(COMPONENT, prefix="", after="", limit=10_000)
    return {each.repo: each.origin for each in page}


async def newest_id(store: RedisStore) -> str:
    return (await store.events(COMPONENT, limit=1))[0].id


def time_of(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


async def test_each_override_has_the_actor_the_note_and_the_time_of_the_change_that_set_it(store: RedisStore):
    head = await store.head()
    assert head is not None
    await store.commit_overrides(COMPONENT, {"a/1": PINNED}, ADA)
    first = await newest_id(store)
    await store.commit_overrides(COMPONENT, {"a/2": NEXT, "a/3": PINNED}, BOB)
    second = await newest_id(store)

    of_ada = Origin(time_of(first), "ada", is_claimed=False, note="a note")
    of_bob = Origin(time_of(second), "bob", is_claimed=True, note="a pilot: ü")
    assert await listed(store) == {"a/1": of_ada, "a/2": of_bob, "a/3": of_bob}
    after = await store.head()
    assert after is not None
    assert head.time_ms <= of_ada.time_ms <= of_bob.time_ms <= after.time_ms


async def test_the_time_in_an_id_is_that_of_the_stores_clock(store: RedisStore):
    """Expect that the id of each change has the time at which the script ran, as the history has it."""
    for number in range(20):
        await store.commit_overrides(COMPONENT, {f"a/{number}": PINNED}, ADA)

    events = await store.events(COMPONENT, limit=100)

    assert [time_of(event.id) for event in events[:-1]] == [event.time_ms for event in events[:-1]]


async def test_the_same_value_again_keeps_the_origin_and_another_value_replaces_it(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"a/1": PINNED, "a/2": PINNED}, ADA)
    before = await listed(store)

    _, result = await store.commit_overrides(COMPONENT, {"a/1": PINNED}, BOB)
    assert (result.changed, await listed(store)) == (False, before)

    await store.commit_overrides(COMPONENT, {"a/1": PINNED, "a/2": NEXT}, BOB)
    after = await listed(store)
    assert (after["a/1"], after["a/2"] and after["a/2"].actor) == (before["a/1"], "bob")


async def test_an_origin_goes_with_its_override(store: RedisStore):
    """Given overrides that are deleted, swept, and deleted with the component, expect no origin of any of them."""
    origins = store.keys.component(COMPONENT).overrides_origin
    expired = Override(tag="x", expire_ms=PAST_MS)
    await store.commit_overrides(COMPONENT, {"a/1": PINNED, "a/2": expired, "a/3": PINNED}, ADA)

    await store.commit_overrides(COMPONENT, {"a/1": None}, ADA)
    assert sorted(await store.client.hkeys(origins)) == ["a/2", "a/3"]
    await store.sweep_overrides(COMPONENT)
    assert await store.client.hkeys(origins) == ["a/3"]
    stored = (await store.read(COMPONENT)).rollout
    await commit(store, stored, decide(stored, commands.DeleteComponent()))
    assert not await store.client.exists(origins)

    await do(store, commands.Release("b"))
    await store.commit_overrides(COMPONENT, {"a/3": NEXT}, BOB)
    assert [origin and origin.actor for origin in (await listed(store)).values()] == ["bob"]
    await store.delete_damaged(COMPONENT, ADA, problem="a test", lowest=Absent(COMPONENT))
    assert not await store.client.exists(origins)


async def test_an_override_of_an_earlier_rampd_has_no_origin(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"a/1": PINNED, "a/2": PINNED}, ADA)
    await store.client.hdel(store.keys.component(COMPONENT).overrides_origin, "a/1")

    before = await listed(store)
    assert (before["a/1"], before["a/2"] and before["a/2"].actor) == (None, "ada")

    await store.commit_overrides(COMPONENT, {"a/1": NEXT}, BOB)
    origin = (await listed(store))["a/1"]
    assert origin is not None
    assert origin.actor == "bob"


@pytest.mark.parametrize("how", ["trimmed", "gone", "other type", "no actor", "bad text", "bad time"])
async def test_an_origin_whose_entry_cannot_be_read_has_only_its_time(store: RedisStore, how: str):
    await store.commit_overrides(COMPONENT, {"a/1": PINNED}, BOB)
    await store.commit_overrides(COMPONENT, {"a/2": PINNED}, ADA)
    history = store.keys.component(COMPONENT).history
    second, first = [event.id for event in await store.events(COMPONENT, limit=2)]
    fields = dict((await store.client.xrange(history, first, first))[0][1])
    kept = [(second, dict((await store.client.xrange(history, second, second))[0][1]))]
    await store.client.delete(history)
    match how:
        case "trimmed":
            pass
        case "gone":
            kept = []
        case "other type":
            kept = []
            await store.client.set(history, "x")
        case "no actor":
            del fields["actor"]
            kept.insert(0, (first, fields))
        case "bad text":
            kept.insert(0, (first, fields | {"note": b"\xff"}))
        case "bad time":
            kept.insert(0, (first, fields | {"time": "9" * 18}))
    for entry_id, values in kept:
        await store.client.xadd(history, values, entry_id)

    origins = await listed(store)

    assert origins["a/1"] == Origin(time_of(first))
    is_second_there = how not in {"gone", "other type"}
    assert origins["a/2"] == (
        Origin(time_of(second), "ada", note="a note") if is_second_there else Origin(time_of(second))
    )


@pytest.mark.parametrize("text", ["", "x", "1", "0-0", "-", "+", "9" * 19 + "-1", "1-1 ", b"\xff"])
async def test_an_error_names_an_origin_that_was_edited_by_hand(store: RedisStore, text: str | bytes):
    await store.commit_overrides(COMPONENT, {"a/1": PINNED}, ADA)
    key = store.keys.component(COMPONENT).overrides_origin
    await store.client.hset(key, "a/1", text)

    with pytest.raises(StoreCorruptError, match="a/1") as caught:
        await listed(store)
    assert caught.value.metadata == {"key": key}


async def test_an_origin_of_the_last_possible_time_is_shown_as_the_year_9999(store: RedisStore):
    await store.commit_overrides(COMPONENT, {"a/1": PINNED}, ADA)
    await store.client.hset(store.keys.component(COMPONENT).overrides_origin, "a/1", "9" * 18 + "-1")

    assert await listed(store) == {"a/1": Origin(253_402_300_799_999)}


async def test_an_origin_names_its_entry_if_somebody_has_added_a_later_one(store: RedisStore):
    """Given a history with an entry of the future, expect that the origin is the id that Redis chose for the change."""
    history = store.keys.component(COMPONENT).history
    await store.client.xadd(history, {"an": "other"}, "4000000000000-5")

    await store.commit_overrides(COMPONENT, {"a/1": PINNED}, BOB)

    origin = (await listed(store))["a/1"]
    assert origin is not None
    assert origin.actor == "bob"


async def test_the_number_of_exchanges_does_not_depend_on_the_number_of_changes(store: RedisStore):
    for number in range(60):
        await store.commit_overrides(COMPONENT, {f"a/{number:02}": PINNED}, ADA)
    before = dict(store.link.counts.commands.items())

    page = await store.list_overrides(COMPONENT, prefix="", after="", limit=100)

    sent = {name: count - before.get(name, 0) for name, count in store.link.counts.commands.items()}
    assert {name: count for name, count in sent.items() if count} == {
        ("count_overrides",): 1,
        ("list_overrides",): 1,
    }
    assert [each.repo for each in page] == [f"a/{number:02}" for number in range(60)]
    assert len({each.origin for each in page}) > 1
