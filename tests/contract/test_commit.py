"""commit: a component goes from one revision to the next, completely or not at all."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Arrival, Freeze, Means, QueueMode, Rollout, Unit, numbered
from rampd_server.ports import Author, ConflictError, Namespace, Override, Result, UntimelyError
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, contents, decide, do, is_committed
from tests.rollouts import NOW
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S


async def in_time(store: RedisStore, write: Callable[[int], Awaitable[object]]) -> None:
    """Makes a write that is decided now, by the store's clock: again, if the machine has stood still in between."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            head = await store.head()
            assert head is not None
            with contextlib.suppress(UntimelyError):
                await write(head.time_ms)
                return


async def test_a_component_that_never_existed_is_absent_at_revision_zero(store: RedisStore):
    stored = await store.read(COMPONENT)

    assert stored.rollout == Absent(COMPONENT)
    assert stored.namespace == Namespace()
    assert stored.entry_id == "0-0"
    assert stored.time_ms > NOW


async def test_a_read_returns_what_was_committed(store: RedisStore):
    before: Rollout | Absent = Absent(COMPONENT)
    for command in (
        commands.Release("20200301", {"image": "restyler:20200301", "link": 'https://example.com/?a="b"&ü=€'}),
        commands.Release("20200409", {}),
        commands.Release("20200415", {"memory": "512m"}),
        commands.Ramp(25),
        commands.Pause(),
        commands.SetPolicy({"queue_mode": QueueMode.LATEST, "unit": Unit.JOB}),
        commands.Freeze(NOW + 1000),
        commands.Quarantine("pb/bad"),
        commands.Rollback(),
        commands.Unfreeze(),
        commands.Abandon(quarantine=True),
        commands.Finalize(force=True),
        commands.Revert(),
        commands.Release("20200501"),
        commands.Release("20200502"),
        commands.CancelRelease(5),
    ):
        after = decide(before, command)
        entry, stored = await commit(store, before, after)

        assert (await store.read(COMPONENT)).rollout == stored, command
        assert is_committed(after, stored)
        assert (entry.component, entry.revision, entry.id) == (COMPONENT, after.revision, stored.entry)
        before = stored


async def test_all_kinds_of_text_are_read_back_unchanged(store: RedisStore):
    text = "quotes \" ' back\\slash /slash {brace} [bracket] ${x} null \u2028 ü € 🙂 \x7f"
    release = commands.Release("t", {"note": text, "empty": ""})
    after = decide(Absent(COMPONENT), release)
    assert isinstance(after, Rollout)
    changed = replace(after.current_release, note=text, actor=text)
    after = replace(after, releases={1: changed}, freeze=Freeze(text, text, NOW))

    await commit(store, Absent(COMPONENT), after, Author(text, "Release", text))

    assert is_committed(after, (await store.read(COMPONENT)).rollout)
    (event,) = await store.events(COMPONENT, limit=1)
    assert (event.actor, event.note) == (text, text)


async def test_a_commit_on_an_old_revision_conflicts_and_writes_nothing(store: RedisStore):
    first = await do(store, commands.Release("a"), commands.Release("b"))
    await do(store, commands.Ramp(1000))
    before = await contents(store)

    with pytest.raises(ConflictError):
        await commit(store, first, decide(first, commands.Ramp(2000)))

    assert await contents(store) == before


async def test_a_commit_on_a_component_that_was_created_meanwhile_conflicts(store: RedisStore):
    await do(store, commands.Release("a"))

    with pytest.raises(ConflictError):
        await commit(store, Absent(COMPONENT), decide(Absent(COMPONENT), commands.Release("b")))


async def test_a_commit_decided_under_another_freeze_of_the_namespace_conflicts(store: RedisStore):
    rollout = await do(store, commands.Release("a"), commands.Release("b"))
    frozen = Namespace(Freeze("ada", "", NOW))
    await store.commit_namespace(Namespace(), frozen, ADA)
    before = await contents(store)

    with pytest.raises(ConflictError):
        await commit(store, rollout, decide(rollout, commands.Ramp(1000)), namespace=Namespace())
    with pytest.raises(ConflictError):
        await commit(store, rollout, decide(rollout, commands.Pause()), namespace=Namespace(Freeze("bob", "", NOW)))
    assert await contents(store) == before

    await commit(store, rollout, decide(rollout, commands.Pause()), namespace=frozen)


async def test_a_change_of_a_namespace_conflicts_with_another_change_meanwhile(store: RedisStore):
    frozen = Namespace(Freeze("ada", "", NOW))
    await store.commit_namespace(Namespace(), frozen, ADA)
    before = await contents(store)

    for believed in (Namespace(), Namespace(Freeze("bob", "", NOW))):
        with pytest.raises(ConflictError):
            await store.commit_namespace(believed, Namespace(Freeze("eve", "", NOW)), ADA)

    assert await contents(store) == before


@pytest.mark.parametrize("by_ms", [-1_100, 1_100 + 60_000, 3_600_000])
async def test_a_freeze_of_the_namespace_is_kept_if_the_store_clock_was_set_meanwhile(store: RedisStore, by_ms: int):
    """Given a store whose clock is set between a server's look and its write, expect that nothing is written."""
    frozen = Namespace(Freeze("ada", "", NOW, NOW + 1))
    await store.commit_namespace(Namespace(), frozen, ADA)
    head, before = await store.head(), await contents(store)
    assert head is not None

    with pytest.raises(UntimelyError):
        await store.commit_namespace(frozen, Namespace(), ADA, decided_ms=head.time_ms + by_ms)
    assert await contents(store) == before

    await in_time(store, lambda now_ms: store.commit_namespace(frozen, Namespace(), ADA, decided_ms=now_ms))


async def test_a_commit_that_keeps_the_revision_is_a_mistake_of_the_caller(store: RedisStore):
    rollout = await do(store, commands.Release("a"))

    with pytest.raises(ValueError, match="revision 1 does not follow on 1"):
        await commit(store, rollout, replace(rollout, paused=True))


async def test_changes_of_overrides_do_not_conflict_with_a_verb(store: RedisStore):
    """A verb is decided on the rollout. Changes of overrides only use up revisions before it."""
    before = await do(store, commands.Release("a"), commands.Release("b"))
    for number in range(3):
        await store.commit_overrides(COMPONENT, {f"acme/{number}": Override(channel="NEXT")}, ADA)

    entry, after = await commit(store, before, decide(before, commands.Finalize(force=True)))

    assert (entry.revision, after.revision) == (6, 6)
    assert isinstance(after, Rollout)
    assert (after.current_revision, after.timeline[-1].revision) == (6, 6)
    assert (await store.read(COMPONENT)).rollout == after
    assert await store.feed(entry.previous_id, block_ms=0) == [entry]


async def test_a_verb_with_an_expected_revision_conflicts_with_a_change_of_overrides(store: RedisStore):
    before = await do(store, commands.Release("a"), commands.Release("b"))
    await store.commit_overrides(COMPONENT, {"acme/app": Override(channel="NEXT")}, ADA)
    kept = await contents(store)

    with pytest.raises(ConflictError):
        await store.commit(before, decide(before, commands.Ramp(500)), ADA, Result(3), Namespace(), is_exact=True)

    assert await contents(store) == kept


async def test_a_state_of_the_same_revision_in_another_history_conflicts(store: RedisStore):
    """Given an older copy of the data, and another change since, expect that the same revision number is not enough."""
    base = await do(store, commands.Release("a"), commands.Release("b"))
    known = numbered(decide(base, commands.Ramp(9000)), 3, "1700000000000-7")
    await do(store, commands.Ramp(100))
    kept = await contents(store)

    with pytest.raises(ConflictError):
        await commit(store, known, decide(known, commands.Rollback()))

    assert await contents(store) == kept


async def test_components_are_listed_in_order_and_in_pages(store: RedisStore):
    for name in ("zeta", "alpha", "beta-2", "beta"):
        await do(store, commands.Release("a"), component=name)

    assert await store.components(limit=10) == ["alpha", "beta", "beta-2", "zeta"]
    assert await store.components(limit=2) == ["alpha", "beta"]
    assert await store.components(after="beta", limit=2) == ["beta-2", "zeta"]
    assert await store.components(after="zeta", limit=2) == []


async def test_only_the_numbers_and_the_history_of_a_deleted_component_remain(store: RedisStore):
    rollout = await do(store, commands.Release("a", {"k": "v"}), commands.Release("b"), commands.Quarantine("x"))
    await store.commit_overrides(COMPONENT, {"acme/app": _expiring()}, ADA)
    await do(store, commands.Release("c"))
    last = await do(store, commands.Ramp(100))
    gone = Absent(COMPONENT, last.revision + 1, last.last_number)

    entry, stored = await commit(store, last, gone)

    assert is_committed(gone, stored)
    assert (await store.read(COMPONENT)).rollout == stored
    assert entry.is_deletion
    assert await store.components(limit=10) == []
    keys = store.keys.component(COMPONENT)
    left = {key for key in await contents(store) if key.endswith(f":{COMPONENT}")}
    assert left == {keys.rollout, keys.history}
    assert await store.client.hgetall(keys.rollout) == {
        "revision": str(gone.revision),
        "entry": entry.id,
        "state_entry": entry.id,
        "last_number": str(rollout.last_number + 1),
        "deleted": "1",
    }
    assert await store.list_overrides(COMPONENT, prefix="", after="", limit=10) == []


async def test_a_component_that_is_created_again_continues_its_numbers(store: RedisStore):
    last = await do(store, commands.Release("a"), commands.Release("b"))
    gone = Absent(COMPONENT, last.revision + 1, last.last_number)
    await commit(store, last, gone)

    again = await do(store, commands.Release("c"))

    assert (again.current, again.revision) == (3, gone.revision + 1)
    assert await store.components(limit=10) == [COMPONENT]
    assert "deleted" not in await store.client.hgetall(store.keys.component(COMPONENT).rollout)


async def test_two_namespaces_on_one_server_are_independent(store: RedisStore, server: StoreServer):
    await do(store, commands.Release("a"))
    other = server.store("another-namespace-altogether")
    other.set_epoch(await other.begin_epoch(adopted=False))

    assert (await other.read(COMPONENT)).rollout == Absent(COMPONENT)
    assert await other.components(limit=10) == []
    await other.close()


async def test_32_writers_at_once_each_write_exactly_once(store: RedisStore):
    await do(store, commands.Release("a"), commands.Release("b"))
    first = (await store.read(COMPONENT)).rollout.revision

    async def writer(number: int) -> int:
        while True:
            stored = await store.read(COMPONENT)
            assert isinstance(stored.rollout, Rollout)
            after = decide(stored.rollout, commands.Ramp(stored.rollout.basis_points + 1))
            try:
                await commit(store, stored.rollout, after, Author(f"writer-{number}", "Ramp"))
            except ConflictError:
                continue
            return after.revision

    revisions = await asyncio.gather(*(writer(number) for number in range(32)))

    assert sorted(revisions) == list(range(first + 1, first + 33))
    rollout = (await store.read(COMPONENT)).rollout
    assert isinstance(rollout, Rollout)
    assert rollout.basis_points == 32
    events = await store.events(COMPONENT, limit=32)
    assert [event.revision for event in reversed(events)] == sorted(revisions)
    assert {event.actor for event in events} == {f"writer-{number}" for number in range(32)}


async def test_scripts_are_loaded_again_into_a_redis_that_lost_them(store: RedisStore):
    rollout = await do(store, commands.Release("a"), commands.Release("b"))
    for percent in (1, 2, 3):
        await store.client.script_flush()
        await commit(store, rollout, decide(rollout, commands.Ramp(percent)))
        await store.client.script_flush()
        await store.commit_overrides(COMPONENT, {"acme/app": _expiring(percent)}, ADA)
        rollout = (await store.read(COMPONENT)).rollout
        await store.client.script_flush()
        await store.sweep_overrides(COMPONENT)

    assert rollout.revision == 8


async def test_a_script_that_redis_loses_again_is_sent_with_the_call(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    rollout = await do(store, commands.Release("a"), commands.Release("b"))
    load, loaded = store.client.script_load, []

    async def load_and_flush(text: str) -> None:
        loaded.append(await load(text))
        await store.client.script_flush()

    monkeypatch.setattr(store.client, "script_load", load_and_flush)
    await store.client.script_flush()
    await commit(store, rollout, decide(rollout, commands.Ramp(1)))

    assert loaded
    assert is_committed(decide(rollout, commands.Ramp(1)), (await store.read(COMPONENT)).rollout)


@pytest.mark.parametrize(
    "section", ["rollout", "releases", "attributes", "quarantine", "timeline", "history", "components", "feed", "meta"]
)
async def test_an_error_names_a_key_of_the_wrong_type_and_nothing_is_written(store: RedisStore, section: str):
    rollout = await do(store, commands.Release("a"), commands.Release("b", {"k": "v"}), commands.Quarantine("x"))
    component_keys = store.keys.component(COMPONENT)
    key = getattr(component_keys, section, None) or getattr(store.keys, section)
    await store.client.delete(key)
    await store.client.sadd(key, "something else")
    before = {k: v for k, v in (await contents(store)).items() if k != key}

    with pytest.raises(StoreCorruptError, match=r"is a set, and rampd keeps a (hash|zset|stream) there") as caught:
        await commit(store, rollout, decide(rollout, commands.Ramp(1000)))

    assert caught.value.metadata == {"key": key}
    # Deleting the component deletes the keys of the component, and no others.
    assert ("DeleteComponent works" in caught.value.message) == (section not in {"components", "feed", "meta"})
    assert await contents(store) == before


def _expiring(number: int = 0) -> Override:
    return Override(tag="pb/x", expire_ms=4_000_000_000_000 + number)


# The store's clock goes on until the write, so a decision that is only a little ahead may be in time.
@pytest.mark.parametrize("off_ms", [-60_000, -1_001, 61_000, 3_600_000])
async def test_an_old_decision_is_not_written(store: RedisStore, off_ms: int):
    before = await do(store, commands.Release("a"), commands.Release("b"))
    after = decide(before, commands.Ramp(500))
    held, now_ms = await contents(store), (await store.read(COMPONENT)).time_ms

    with pytest.raises(UntimelyError):
        await store.commit(before, after, ADA, Result(after.revision), Namespace(), decided_ms=now_ms + off_ms)
    assert await contents(store) == held

    await in_time(
        store,
        lambda now_ms: store.commit(before, after, ADA, Result(after.revision), Namespace(), decided_ms=now_ms),
    )
    assert is_committed(after, (await store.read(COMPONENT)).rollout)


async def test_the_way_a_release_became_current_is_stored_and_may_be_missing(store: RedisStore):
    reverted = await do(store, commands.Release("a"), commands.Release("b", expedite=True), commands.Revert())
    key = store.keys.component(COMPONENT).rollout

    shown = json.loads(await store.client.hget(key, "arrival"))
    assert shown == {"means": "REVERT", "actor": "ada", "time_ms": NOW, "from_tag": "b"}
    assert reverted.arrival == Arrival(Means.REVERT, "ada", "", NOW, "b")

    await do(store, commands.Release("c", expedite=True))
    await store.client.hdel(key, "arrival")
    older = await do(store, commands.Freeze())
    assert older.arrival is None
    assert (await do(store, commands.Revert())).current_release.tag == "a"
