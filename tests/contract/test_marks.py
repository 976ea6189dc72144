"""Components whose outcomes are counted are marked, and every server reads the marks."""

import pytest

from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.storage.limits import MARK_LIFE_MS
from rampd_server.storage.marks import RedisMarks
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore

HOUR_MS = 3_600_000


@pytest.fixture
def marks(store: RedisStore) -> RedisMarks:
    return RedisMarks(store.link)


async def now_ms(store: RedisStore) -> int:
    head = await store.head()
    assert head is not None
    return head.time_ms


async def put(store: RedisStore, **marked_ms: int) -> None:
    await store.client.zadd(store.keys.outcome_marks, marked_ms)


async def test_every_server_reads_a_mark_with_the_time_of_the_store(store: RedisStore, marks: RedisMarks):
    before_ms = await now_ms(store)

    await marks.mark(["a", "b"])

    found = await RedisMarks(store.link).marked(before_ms)
    assert found.keys() == {"a", "b"}
    assert before_ms <= found["a"] == found["b"] <= await now_ms(store)
    assert await marks.marked(await now_ms(store) + 1) == {}


async def test_the_last_mark_of_a_component_counts(store: RedisStore, marks: RedisMarks):
    present_ms = await now_ms(store)
    await put(store, a=present_ms - 60_000)

    await marks.mark(["a"])

    assert list(await marks.marked(present_ms)) == ["a"]


async def test_a_mark_that_is_old_or_from_before_the_clock_was_set_back_is_dropped(
    store: RedisStore, marks: RedisMarks
):
    present_ms = await now_ms(store)
    recent_ms = present_ms - MARK_LIFE_MS + 60_000
    await put(store, old=present_ms - MARK_LIFE_MS - 1, recent=recent_ms, future=present_ms + HOUR_MS)

    await marks.mark(["new"])

    assert (await marks.marked(0)).keys() == {"recent", "new"}


async def test_many_components_are_marked_in_one_call(marks: RedisMarks):
    await marks.mark([f"c{number}" for number in range(3_000)])

    assert len(await marks.marked(0)) == 3_000


async def test_nothing_is_marked_in_another_epoch_or_schema(store: RedisStore, marks: RedisMarks):
    await store.client.hset(store.keys.meta, "epoch", "another")
    with pytest.raises(StoreResetError):
        await marks.mark(["a"])
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(StoreUnavailableError):
        await marks.mark(["a"])

    assert not await store.client.exists(store.keys.outcome_marks)


async def test_an_error_names_marks_of_a_wrong_type(store: RedisStore, marks: RedisMarks):
    await store.client.set(store.keys.outcome_marks, "x")

    for call in (marks.mark(["a"]), marks.marked(0)):
        with pytest.raises(StoreCorruptError, match="outcome-marks"):
            await call
