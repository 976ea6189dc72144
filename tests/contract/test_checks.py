"""One server asks a check at a time, and every server can read the answer."""

import asyncio
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from rampd_server.domain.automation.check_counts import CheckCounts
from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.ports import CheckTurn
from rampd_server.storage.checks import RedisChecks
from rampd_server.storage.codec.check_texts import read_counts, write_counts
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore

C, SCOPE = "restyler", "2:1:0:abc"
COUNTS = CheckCounts(SCOPE, hold_ms=1_700_000_000_000, failures=2, errors=1, value=0.1, error='who\'s "there"? ü 🙂')
LONG = {"lease_ms": 30_000, "interval_ms": 60_000}


@pytest.fixture
def checks(store: RedisStore) -> RedisChecks:
    return RedisChecks(store.link)


@pytest.fixture
def other(store: RedisStore) -> RedisChecks:
    """The checks of another server on the same store."""
    return RedisChecks(store.link)


@pytest.fixture
def key(store: RedisStore) -> str:
    return store.keys.component(C).checks


async def turn_of(checks: RedisChecks, **changes: object) -> CheckTurn:
    turn = await checks.lease(C, "errors", changes.pop("scope", SCOPE), **{**LONG, **changes})
    assert isinstance(turn, CheckTurn)
    return turn


def ms_since(moment_s: float) -> float:
    """How long ago a moment was, by this machine's monotonic clock."""
    return (time.monotonic() - moment_s) * 1000


async def test_a_check_that_was_never_asked_has_no_result(checks: RedisChecks):
    assert await checks.counts(C) == {}
    assert (await turn_of(checks)).before is None


async def test_every_server_reads_a_result_and_the_next_turn_includes_it(checks: RedisChecks, other: RedisChecks):
    assert await checks.record(await turn_of(checks), COUNTS, checks=["errors"])

    assert await other.counts(C) == {"errors": COUNTS}
    assert (await turn_of(other, interval_ms=0)).before == COUNTS


async def test_one_of_twenty_servers_gets_the_turn(checks: RedisChecks):
    began_s = time.monotonic()
    found = await asyncio.gather(*(checks.lease(C, "errors", SCOPE, **LONG) for _ in range(20)))

    assert len([turn for turn in found if isinstance(turn, CheckTurn)]) == 1
    assert all(29_000 - ms_since(began_s) < wait <= 30_000 for wait in found if isinstance(wait, int))


async def test_each_check_of_each_component_has_its_own_turns(checks: RedisChecks):
    await turn_of(checks)

    assert isinstance(await checks.lease(C, "latency", SCOPE, **LONG), CheckTurn)
    assert isinstance(await checks.lease("hlint", "errors", SCOPE, **LONG), CheckTurn)


async def test_a_check_is_due_when_its_interval_has_passed_since_it_was_asked(
    checks: RedisChecks, other: RedisChecks, client: Redis, key: str
):
    began_s = time.monotonic()
    turn = await turn_of(checks)
    await checks.record(turn, COUNTS, checks=["errors"])

    wait_ms = await other.lease(C, "errors", SCOPE, **LONG)
    assert isinstance(wait_ms, int)
    assert 59_000 - ms_since(began_s) < wait_ms <= 60_000

    await client.hset(key, "result:errors", write_counts(turn.asked_ms - 60_001, COUNTS))
    assert isinstance(await other.lease(C, "errors", SCOPE, **LONG), CheckTurn)


async def test_a_check_is_due_at_once_when_its_counts_begin_again(checks: RedisChecks):
    await checks.record(await turn_of(checks), COUNTS, checks=["errors"])

    assert (await turn_of(checks, scope="3:1:0:abc")).before == COUNTS


async def test_a_turn_that_its_server_does_not_end_goes_to_another_server_after_the_lease(
    checks: RedisChecks, other: RedisChecks
):
    """Given a server that died during its turn, if its lease has ended, expect another server to get the turn."""
    await turn_of(checks, lease_ms=20)
    await asyncio.sleep(0.05)

    assert (await turn_of(other)).before is None


async def test_a_result_is_dropped_once_another_server_has_the_turn(checks: RedisChecks, other: RedisChecks):
    late = await turn_of(checks, lease_ms=0)
    taken = await turn_of(other, interval_ms=0)

    assert not await checks.record(late, COUNTS, checks=["errors"])
    assert await other.counts(C) == {}

    result = replace(COUNTS, failures=0)
    assert await other.record(taken, result, checks=["errors"])
    assert not await checks.record(late, COUNTS, checks=["errors"])
    assert await other.counts(C) == {"errors": result}


async def test_a_late_result_counts_if_no_other_server_took_the_turn(checks: RedisChecks):
    late = await turn_of(checks, lease_ms=0)
    assert await checks.record(late, COUNTS, checks=["errors"])


async def test_a_result_that_is_sent_twice_is_written_once(checks: RedisChecks):
    """Given a reply that was lost, if the script is sent again, expect the same answer."""
    turn = await turn_of(checks)

    assert await checks.record(turn, COUNTS, checks=["errors"])
    assert await checks.record(turn, COUNTS, checks=["errors"])
    assert await checks.counts(C) == {"errors": COUNTS}


async def test_the_next_result_removes_results_of_checks_that_left_the_policy(
    checks: RedisChecks, client: Redis, key: str
):
    for name in ("errors", "latency"):
        turn = await checks.lease(C, name, SCOPE, **LONG)
        assert isinstance(turn, CheckTurn)
        await checks.record(turn, COUNTS, checks=["errors", "latency"])
    await checks.lease(C, "queue", SCOPE, **LONG)

    await checks.record(await turn_of(checks, interval_ms=0), COUNTS, checks=["errors"])

    assert await client.hkeys(key) == ["result:errors"]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("lease:errors", "somebody 99999999999999"),
        ("lease:errors", "nonsense"),
        ("result:errors", write_counts(99_999_999_999_999, COUNTS)),
    ],
)
async def test_a_lease_in_the_future_of_a_clock_that_was_set_back_does_not_block(
    checks: RedisChecks, client: Redis, key: str, field: str, text: str
):
    await client.hset(key, field, text)
    assert isinstance(await checks.lease(C, "errors", SCOPE, **LONG), CheckTurn)


async def test_a_server_with_another_epoch_writes_nothing(
    checks: RedisChecks, store: RedisStore, client: Redis, key: str
):
    turn = await turn_of(checks)
    before = await client.hgetall(key)
    store.set_epoch("another")

    with pytest.raises(StoreResetError):
        await checks.lease(C, "latency", SCOPE, **LONG)
    with pytest.raises(StoreResetError):
        await checks.record(turn, COUNTS, checks=["errors"])
    assert await client.hgetall(key) == before


async def test_no_result_is_written_into_data_of_a_newer_schema(
    checks: RedisChecks, store: RedisStore, client: Redis, key: str
):
    turn = await turn_of(checks)
    before = await client.hgetall(key)
    await client.hset(store.keys.meta, "schema", SCHEMA + 1)

    with pytest.raises(StoreUnavailableError):
        await checks.lease(C, "latency", SCOPE, **LONG)
    with pytest.raises(StoreUnavailableError):
        await checks.record(turn, COUNTS, checks=["errors"])
    assert await client.hgetall(key) == before


async def test_an_error_names_a_key_of_the_wrong_type(checks: RedisChecks, client: Redis, key: str):
    turn = await turn_of(checks)
    await client.delete(key)
    await client.set(key, "text")

    for call in (
        checks.lease(C, "errors", SCOPE, **LONG),
        checks.record(turn, COUNTS, checks=["errors"]),
        checks.counts(C),
    ):
        with pytest.raises(StoreCorruptError) as caught:
            await call
        assert caught.value.metadata["key"] == key


WRONG = [
    "",
    "nonsense",
    "1 scope {}",
    "1 scope [",
    "1 scope []",
    "1 scope " + "[" * 100_000,
    write_counts(1, COUNTS).replace(":2,", ":-2,"),
    write_counts(1, COUNTS).replace(":2,", ":2.0,"),
    write_counts(1, COUNTS).replace(":2,", ":true,"),
    write_counts(1, COUNTS).replace("0.1", "NaN"),
    write_counts(1, COUNTS).replace("0.1", '"0.1"'),
    write_counts(1, COUNTS).replace("false", "0"),
    write_counts(1, COUNTS).replace('"}', r'\ud800"}'),
    write_counts(1, COUNTS).encode().replace(b'"}', b'\xff"}'),
    write_counts(1, COUNTS).replace("1 2:1", "x 2:1"),
    write_counts(1, COUNTS) + " ",
]


@pytest.mark.parametrize("text", WRONG)
async def test_an_error_names_a_field_that_somebody_edited(
    checks: RedisChecks, client: Redis, key: str, text: str | bytes
):
    await client.hset(key, "result:errors", text)

    with pytest.raises(StoreCorruptError, match="result:errors") as caught:
        await checks.counts(C)
    assert caught.value.metadata["key"] == key
    if text:
        with pytest.raises(StoreCorruptError, match="result:errors"):
            await checks.lease(C, "errors", SCOPE, **LONG)


NUMBERS = st.integers(0, 2**53)


@given(
    NUMBERS,
    st.builds(
        CheckCounts,
        scope=st.from_regex(r"[0-9a-f:]+", fullmatch=True),
        hold_ms=st.none() | NUMBERS,
        failures=NUMBERS,
        errors=NUMBERS,
        has_passed=st.booleans(),
        value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        error=st.text(st.characters(codec="utf-8")),
    ),
)
def test_counts_are_read_back_from_their_text(asked_ms: int, counts: CheckCounts):
    assert read_counts(write_counts(asked_ms, counts)) == counts
