"""Data of a newer schema may have another form. They are told by the schema's number, and never as damage."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Trial
from rampd_server.domain.rollout import commands
from rampd_server.ports import Author, Namespace, OutcomeBatch, Override, Result
from rampd_server.storage.checks import RedisChecks
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, do

AGAIN = Author("ada", "Ramp", request_id="some-id", digest="digest")
BATCH = OutcomeBatch(COMPONENT, Trial(2, 1, 2), "client", 1, "digest", "ada", "answer")
Change = Callable[[RedisStore], Awaitable[object]]


def _as_text(section: str) -> Change:
    """Makes a key of the component a string."""

    async def change(store: RedisStore) -> None:
        key = getattr(store.keys.component(COMPONENT), section, None)
        key = key or getattr(store.keys.outcomes(COMPONENT), section)
        await store.client.delete(key)
        await store.client.set(key, "text of a newer form")

    return change


def _field(section: str, field: str) -> Change:
    return lambda store: store.client.hset(getattr(store.keys.component(COMPONENT), section), field, "{")


async def _another_record(store: RedisStore) -> None:
    await store.client.set(store.keys.request("some-id"), "digest b c d e f g h i j")


async def _another_event(store: RedisStore) -> None:
    await store.client.xadd(store.keys.component(COMPONENT).history, {"odd": "x"})


async def _another_entry(store: RedisStore) -> None:
    await store.client.xadd(store.keys.feed, {"odd": "x"})


async def _walk(store: RedisStore) -> None:
    async for _ in store.walk_overrides(COMPONENT):
        pass


async def _only(found: Awaitable[Sequence[object]]) -> object:
    """Returns the only one of those that were found. Raises the error that is in its place."""
    [each] = await found
    if isinstance(each, Exception):
        raise each
    return each


async def _feed(store: RedisStore) -> None:
    if any(entry.problem for entry in await store.feed("0-0", block_ms=0)):
        raise StoreCorruptError("The feed has an entry that no script wrote.", key="feed")


CALLS: dict[str, tuple[Change, Callable[[RedisStore], Any]]] = {
    "a key of a rollout": (_as_text("queue"), lambda store: store.read(COMPONENT)),
    "a field of a rollout": (_field("rollout", "paused"), lambda store: store.read(COMPONENT)),
    "a record": (_another_record, lambda store: store.request_record("some-id")),
    "an event": (_another_event, lambda store: store.events(COMPONENT, limit=9)),
    "an override that is walked": (_field("overrides", "acme/app"), _walk),
    "an override that is listed": (
        _field("overrides", "acme/app"),
        lambda store: store.list_overrides(COMPONENT, prefix="", after="", limit=9),
    ),
    "the number of overrides": (_field("rollout", "overrides"), _walk),
    "an entry of the feed": (_another_entry, _feed),
    "counters": (_as_text("outcomes"), lambda store: RedisOutcomes(store.link).counters(COMPONENT, 2, 1)),
    "counting": (_as_text("outcomes"), lambda store: RedisOutcomes(store.link).count_outcomes(BATCH)),
    "forgetting": (
        _as_text("outcomes"),
        lambda store: RedisOutcomes(store.link).forget_outcomes(COMPONENT, Trial(0, 0, 99)),
    ),
    "counters of a release": (
        _as_text("release_outcomes"),
        lambda store: RedisOutcomes(store.link).release_counters(COMPONENT),
    ),
    "counters of releases": (
        _as_text("release_outcomes"),
        lambda store: _only(RedisOutcomes(store.link).release_counters_of([COMPONENT])),
    ),
    "samples": (_as_text("fine_samples"), lambda store: RedisOutcomes(store.link).samples(COMPONENT)),
    "results of checks": (_as_text("checks"), lambda store: RedisChecks(store.link).counts(COMPONENT)),
    "a change of overrides": (
        _as_text("history"),
        lambda store: store.commit_overrides(COMPONENT, {"acme/app": Override(tag="b")}, ADA),
    ),
    "a sweep": (_as_text("overrides_expiry"), lambda store: store.sweep_overrides(COMPONENT)),
}
every_call = pytest.mark.parametrize(("change", "call"), CALLS.values(), ids=CALLS)


@pytest.fixture(autouse=True)
async def component(store: RedisStore) -> None:
    await do(store, commands.Release("a"), commands.Release("b"))
    await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="a")}, ADA)


@every_call
async def test_another_form_is_damage_only_if_the_schema_is_known(
    store: RedisStore, change: Change, call: Callable[[RedisStore], Any]
):
    await change(store)

    with pytest.raises(StoreCorruptError):
        await call(store)

    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    for _ in range(2):  # before and after the server knows the schema
        with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}.*Update this server"):
            await call(store)


async def test_a_repeat_whose_record_has_another_form_is_told_by_the_schema(store: RedisStore):
    """Given a record of a newer form that a write meets, expect the number of the schema and not damage."""
    await _another_record(store)
    with pytest.raises(StoreCorruptError):
        await store.remember(AGAIN, Result(1))

    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}"):
        await store.remember(AGAIN, Result(1))
    with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}"):
        await store.commit_namespace(Namespace(), Namespace(), AGAIN)


async def test_a_server_that_has_seen_a_newer_schema_reads_nothing(store: RedisStore):
    """Given sound data and a newer schema that the last look has found, expect that no read interprets the data."""
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(StoreUnavailableError):
        await store.head()

    for name, (_, call) in CALLS.items():
        if name == "an entry of the feed":
            continue  # The feed is followed by the head, which names the schema.
        with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}"):
            await call(store)

    await store.client.hset(store.keys.meta, "schema", SCHEMA)
    await store.head()
    assert await store.events(COMPONENT, limit=1)


async def test_a_rollout_of_a_newer_schema_is_not_read(store: RedisStore):
    """Given a schema that was raised since the last look, expect no rollout although this server could read it."""
    await store.client.hset(store.keys.meta, "schema", SCHEMA + 1)
    with pytest.raises(StoreUnavailableError, match=f"has schema {SCHEMA + 1}"):
        await store.read(COMPONENT)
