"""The history of everything: the merged pages are the histories of all components and of the namespace, newest first."""

import random
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest

from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze
from rampd_server.ports import AskedEvents, Author, Event, EventsPiece, Namespace, Override, entry_order
from rampd_server.service.whole_history import MAX_DAMAGE, WholeHistory
from rampd_server.storage import limits, scripts
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, PatientReplica, commit, decide, do
from tests.rollouts import NOW

NAMES = tuple(f"c{number}" for number in range(6))


class Whole:
    """The history of everything, as one server lists it."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.replica = PatientReplica(store)
        self.history = WholeHistory(store, self.replica)
        self.damage: list[StoreCorruptError] = []

    async def page(
        self, size: int, *, before: str = "", after: str = "", sees: Callable[[str], bool] = lambda _name: True
    ) -> list[Event]:
        """Returns the first events, as many as a page shows."""
        found: list[Event] = []
        self.damage = []
        events = self.history.events(sees, self.damage, before=before, after=after, page=size + 1)
        async with aclosing(events):
            async for event in events:
                found.append(event)
                if len(found) == size:
                    break
        return found

    async def all(self, size: int, *, after: str = "", sees: Callable[[str], bool] = lambda _name: True) -> list[Event]:
        """Returns all events, read in pages."""
        found: list[Event] = []
        while page := await self.page(size, before=found[-1].id if found else "", after=after, sees=sees):
            found += page
        return found


@pytest.fixture
async def whole(store: RedisStore) -> Whole:
    made = Whole(store)
    await made.replica.read_again()
    return made


@pytest.fixture
def asked(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[AskedEvents]:
    """What is asked of the histories."""
    found: list[AskedEvents] = []
    real = store.events_of_many

    async def record(asked: Sequence[AskedEvents], *, after: str = "") -> list[EventsPiece]:
        found.extend(asked)
        return await real(asked, after=after)

    monkeypatch.setattr(store, "events_of_many", record)
    return found


async def expected(store: RedisStore, *names: str) -> list[Event]:
    """Returns the events of the components and of the namespace, from their own lists."""
    events = [event for name in (*names, "") for event in await store.events(name, limit=10_000)]
    return sorted(events, key=lambda event: entry_order(event.id), reverse=True)


async def freeze_all(store: RedisStore) -> None:
    head = await store.head()
    assert head is not None
    after = Namespace(None if head.namespace.freeze else Freeze("ada", "", NOW))
    await store.commit_namespace(head.namespace, after, ADA)


async def set_override(store: RedisStore, name: str, tag: str = "x") -> None:
    await store.commit_overrides(name, {"acme/app": Override(tag=tag)}, ADA)


async def delete(store: RedisStore, name: str) -> None:
    stored = (await store.read(name)).rollout
    await commit(store, stored, decide(stored, commands.DeleteComponent()))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_the_pages_have_every_event_once_in_order(store: RedisStore, whole: Whole, size: int):
    chance = random.Random(size)
    for name in NAMES:
        await do(store, commands.Release("a"), component=name)
    # Some components change much more often than others.
    for step in range(60):
        await set_override(store, NAMES[int(6 * chance.random() ** 3)], tag=f"t{step}")
        if step % 20 == 0:
            await freeze_all(store)

    found = await whole.all(size)

    assert found == await expected(store, *NAMES)
    assert {event.component for event in found} == {*NAMES, ""}
    assert len(found) == 69
    middle = found[30].id
    assert await whole.all(size, after=middle) == found[:30]
    assert await whole.page(5, before=found[9].id, after=found[12].id) == found[10:12]
    assert await whole.all(size, sees=lambda name: name in {"c0", "c5"}) == await expected(store, "c0", "c5")
    assert whole.damage == []


async def test_an_empty_namespace_has_an_empty_history(whole: Whole):
    assert await whole.all(10) == []


async def test_a_change_of_another_server_is_there_at_once(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    assert [event.component for event in await whole.all(10)] == ["c0"]

    await do(store, commands.Release("a"), component="new")
    await set_override(store, "c0")

    assert [event.component for event in await whole.all(10)] == ["c0", "new", "c0"]


async def test_events_that_are_added_between_two_pages_shift_nothing(store: RedisStore, whole: Whole):
    for name in NAMES:
        await do(store, commands.Release("a"), component=name)
        await set_override(store, name)
    before = await expected(store, *NAMES)
    found = await whole.page(3)
    step = 0
    while page := await whole.page(3, before=found[-1].id):
        found += page
        step += 1
        # A new component, one that changes again, one that is deleted, and one that is made again.
        await do(store, commands.Release("a"), component=f"new{step}")
        await set_override(store, NAMES[step % 2], tag=f"t{step}")
        if step == 1:
            await delete(store, "c4")
            await delete(store, "c5")
        if step == 2:
            await do(store, commands.Release("b"), component="c5")

    assert found == before


async def test_a_deleted_component_keeps_its_place_whichever_server_is_asked(store: RedisStore, whole: Whole):
    for name in ("c0", "c1", "c2"):
        await do(store, commands.Release("a"), component=name)
    await delete(store, "c1")
    await set_override(store, "c2")
    await delete(store, "c0")
    await do(store, commands.Release("b"), component="c0")
    everything = await expected(store, "c0", "c1", "c2")

    started_later = Whole(store)
    await started_later.replica.read_again()
    for each in (whole, started_later):
        assert await each.all(2) == everything
        assert await each.all(3, after=everything[-2].id) == everything[:-2]
    assert [event.action for event in everything if event.component == "c1"] == ["Ramp", "Ramp"]
    assert [name for name, _ in await store.deleted_components()] == ["c1"]


async def test_a_damaged_component_that_is_deleted_stays_in_the_history(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    await store.delete_damaged("c0", Author("ada", "DeleteComponent"), problem="a test", lowest=Absent("c0"))

    assert [event.action for event in await whole.all(2)] == ["DeleteComponent", "Ramp"]


async def test_the_names_of_the_components_that_were_deleted_last_are_kept(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "MAX_DELETED", 3)
    scripts.script.cache_clear()
    times = []
    for name in NAMES:
        await do(store, commands.Release("a"), component=name)
        await delete(store, name)
        times.append(int((await store.events(name, limit=1))[0].id.partition("-")[0]))
    scripts.script.cache_clear()

    assert await store.deleted_components() == list(zip(NAMES, times, strict=True))[3:]
    assert [name for name, _ in await store.deleted_components(since_ms=times[-1])] == ["c5"]
    assert await store.deleted_components(since_ms=times[-1] + 1) == []


async def test_a_first_page_reads_only_histories_that_have_an_event_on_it(
    store: RedisStore, whole: Whole, asked: list[AskedEvents]
):
    names = [f"c{number:02}" for number in range(40)]
    for name in names:
        await do(store, commands.Release("a"), component=name)

    page = await whole.page(5)

    assert [event.component for event in page] == names[:-6:-1]
    assert {each.component for each in asked} <= {"", *names[-6:]}
    assert sum(each.limit for each in asked) <= 30


async def test_a_look_for_later_events_reads_nothing_if_there_are_none(
    store: RedisStore, whole: Whole, asked: list[AskedEvents]
):
    for name in NAMES:
        await do(store, commands.Release("a"), component=name)
    newest = (await whole.page(1))[0].id
    asked.clear()

    assert await whole.page(100, after=newest) == []
    assert asked == []

    # A sweep moves the feed, and has no event.
    head = await store.head()
    assert head is not None
    ended = Override(tag="x", expire_ms=head.time_ms - limits.SWEEP_AFTER_MS - 1)
    await store.commit_overrides("c3", {"a/b": ended}, ADA)
    newest = (await whole.page(1))[0].id
    assert await store.sweep_overrides("c3") == 1
    asked.clear()
    assert await whole.page(100, after=newest) == []
    assert [each.component for each in asked] == [""]

    await set_override(store, "c2")
    asked.clear()
    assert [event.component for event in await whole.page(100, after=newest)] == ["c2"]
    assert {each.component for each in asked} == {"", "c2"}


async def test_a_copy_that_is_behind_costs_reads_but_no_event(
    store: RedisStore, whole: Whole, monkeypatch: pytest.MonkeyPatch
):
    """Given a copy that does not follow the feed, expect the later events of the components that it knows."""
    for name in ("c0", "c1"):
        await do(store, commands.Release("a"), component=name)
    await whole.page(1)

    async def never(**_: object) -> bool:
        return False

    monkeypatch.setattr(whole.replica, "catch_up", never)
    await set_override(store, "c0")
    await set_override(store, "c1")

    everything = await expected(store, "c0", "c1")
    assert await whole.all(1) == everything
    assert await whole.all(3, after=everything[1].id) == everything[:1]


async def test_a_component_whose_last_entry_is_not_known_is_read(store: RedisStore, whole: Whole):
    """Given data of an earlier rampd, expect the same history."""
    for name in ("c0", "c1"):
        await do(store, commands.Release("a"), commands.Release("b"), component=name)
        await store.client.hdel(store.keys.component(name).rollout, "entry", "state_entry")
    await whole.replica.read_again()

    everything = await expected(store, "c0", "c1")
    assert await whole.all(3) == everything
    assert await whole.all(3, after=everything[2].id) == everything[:2]


async def test_after_a_reading_of_everything_the_history_is_in_order_again(store: RedisStore, whole: Whole):
    """Given changes that the copy gets by a reading and not by the feed, expect them in their place."""
    for name in ("c0", "c1", "c2"):
        await do(store, commands.Release("a"), component=name)
    assert await whole.all(2) == await expected(store, "c0", "c1", "c2")
    await set_override(store, "c0")
    await delete(store, "c1")
    await do(store, commands.Release("a"), component="c3")
    await whole.replica.read_again()
    assert await whole.all(2) == await expected(store, "c0", "c1", "c2", "c3")


@pytest.mark.parametrize("name", ["c1", ""])
async def test_a_history_of_another_type_hides_no_other(store: RedisStore, whole: Whole, name: str):
    await freeze_all(store)
    for each in ("c0", "c1", "c2"):
        await do(store, commands.Release("a"), component=each)
    key = store.keys.component(name).history if name else store.keys.history
    await store.client.delete(key)
    await store.client.set(key, "x")

    assert [event.component for event in await whole.page(9)] == [
        each for each in ("c2", "c1", "c0", "") if each != name
    ]

    (error,) = whole.damage
    assert error.metadata == {"key": key}
    assert ("DeleteComponent" in error.message) == bool(name)


@pytest.mark.parametrize(
    "fields", [{"actor": "ada"}, {"time": "9" * 18}, {"time": "-1"}, {"note": b"\xff"}, {"changes": "{"}]
)
async def test_a_bad_entry_is_left_out_and_named_and_older_events_stay(
    store: RedisStore, whole: Whole, fields: dict[str, str | bytes]
):
    valid = {"revision": "1", "time": "1", "actor": "ada", "claimed": "0", "action": "x", "note": "", "request_id": ""}
    for name in ("c0", "c1"):
        await do(store, commands.Release("a"), component=name)
    key = store.keys.component("c1").history
    bad = [
        await store.client.xadd(key, fields if len(fields) and "actor" in fields else valid | fields) for _ in range(3)
    ]
    await set_override(store, "c1")

    for size in (1, 9):
        found = await whole.all(size)
        assert [(event.component, event.action) for event in found] == [("c1", "Ramp"), ("c1", "Ramp"), ("c0", "Ramp")]
    await whole.page(9)
    assert {error.metadata["key"] for error in whole.damage} == {key}
    assert [entry_id for entry_id in bad if any(entry_id in error.message for error in whole.damage)] == bad


async def test_a_page_names_a_limited_number_of_damaged_entries(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    key = store.keys.component("c0").history
    for _ in range(MAX_DAMAGE + 50):
        await store.client.xadd(key, {"odd": "x"})
    await set_override(store, "c0")

    assert len(await whole.page(9)) == 2
    assert len(whole.damage) == MAX_DAMAGE


async def test_a_component_whose_rollout_is_damaged_keeps_its_events(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), commands.Release("b"), component="c0")
    await do(store, commands.Release("a"), component="c1")
    await store.client.hset(store.keys.component("c0").rollout, "state", "{")
    started_later = Whole(store)
    await started_later.replica.read_again()
    assert started_later.replica.get("c0") is None

    assert await started_later.all(2) == await expected(store, "c0", "c1")


async def test_names_that_no_component_can_have_are_passed_over(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    await store.client.zadd(store.keys.deleted, {b"\xff": 5, "late": 1e300, "never": float("inf")})

    assert [event.component for event in await whole.all(2)] == ["c0"]


async def test_an_error_names_the_names_of_deleted_components_if_their_type_is_wrong(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    await store.client.set(store.keys.deleted, "x")

    with pytest.raises(StoreCorruptError) as caught:
        await whole.page(1)
    assert caught.value.metadata == {"key": store.keys.deleted}
    for change in (commands.Release("b"), commands.DeleteComponent()):
        stored = (await store.read("c0")).rollout
        with pytest.raises(StoreCorruptError, match="deleted"):
            await commit(store, stored, decide(stored, change))


async def test_an_emptied_store_is_an_error_and_not_an_empty_history(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    await whole.page(1)
    async for key in store.client.scan_iter(match=store.keys.pattern):
        await store.client.delete(key)

    with pytest.raises(StoreResetError):
        await whole.page(1)
    with pytest.raises(StoreResetError):
        await store.events_of_many([AskedEvents("c0", "", 5)])


async def test_a_history_of_a_newer_form_is_told_by_the_schema(store: RedisStore, whole: Whole):
    await do(store, commands.Release("a"), component="c0")
    await store.client.xadd(store.keys.component("c0").history, {"odd": "x"})
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)

    with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}"):
        await store.events_of_many([AskedEvents("c0", "", 5)])


@pytest.mark.parametrize("place", ["(5-1", "5", "-", "+", "5-", "5-1\n", "9" * 20 + "-1", "٣-1"])
async def test_a_place_that_is_no_id_is_a_mistake(store: RedisStore, place: str):
    for bounds in ({"before": place}, {"after": place}):
        with pytest.raises(ValueError, match="not the id"):
            await store.events("c0", **bounds, limit=1)
    with pytest.raises(ValueError, match="not the id"):
        await store.events_of_many([AskedEvents("c0", place, 1)])
