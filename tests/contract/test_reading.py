"""Many components in one exchange, and readings of everything that keep what the store has not changed."""

import asyncio
import contextlib
import gc
import random
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rampd_server.domain.errors import RampdError, StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import ConflictError, FeedEntry, Override, StateMark, Stored
from rampd_server.replica.last_state_keeper import LastStateKeeper
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage import rollouts as module
from rampd_server.storage.last_state import LastStateFile
from rampd_server.storage.limits import SWEEP_AFTER_MS
from rampd_server.storage.rollouts import read_rollouts
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, commit, do, random_command, random_override
from tests.contract.test_freezes import following
from tests.damaging import damage
from tests.rollouts import NOW
from tests.waiting import PATIENCE_S

NAMES = ("a", "b", "c")
REPO = "acme/app"
Read = tuple[str, Stored | Exception]
"""As `Store.read_many` gives it."""


@pytest.fixture
async def three(store: RedisStore) -> RedisStore:
    """A store with three components. b has an override."""
    for name in NAMES:
        await do(store, commands.Release("t1"), commands.Release("t2"), component=name)
    await store.commit_overrides("b", {REPO: Override(tag="pin")}, ADA)
    return store


@pytest.fixture
def asked(three: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The components that were read, one after the other."""
    names: list[str] = []
    read_many = three.read_many

    def noting(components: Sequence[str]) -> AsyncIterator[Read]:
        names.extend(components)
        return read_many(components)

    monkeypatch.setattr(three, "read_many", noting)
    return names


@pytest.fixture
async def replica(three: RedisStore, asked: list[str]) -> Replica:
    """A copy that looks at the store only when a test calls it."""
    replica = Replica(three)
    await replica.read_again()
    assert asked == list(NAMES)
    asked.clear()
    return replica


async def read_many(store: RedisStore, *names: str) -> dict[str, Stored | Exception]:
    return {name: found async for name, found in store.read_many(names)}


def copy_of(replica: Replica) -> dict[str, Any]:
    """Returns everything that a copy has of each component."""
    return {
        known.rollout.component: (known.rollout, known.snapshot, dict(known.overrides.items()))
        for known in replica.components()
    }


async def test_many_components_are_read_as_single_ones_are(three: RedisStore):
    names = ("c", "none", "a", "b")
    found = await read_many(three, *names)

    assert tuple(found) == names
    for name, each in found.items():
        assert isinstance(each, Stored)
        assert replace(each, time_ms=0) == replace(await three.read(name), time_ms=0)
    assert [each.has_overrides for each in found.values() if isinstance(each, Stored)] == [False, False, False, True]


async def test_one_damaged_component_does_not_stop_the_reading_of_the_others(three: RedisStore):
    await damage(three, "b", "releases", "type")
    found = await read_many(three, *NAMES)

    assert [type(each) for each in found.values()] == [Stored, StoreCorruptError, Stored]
    with pytest.raises(StoreCorruptError) as caught:
        await three.read("b")
    assert str(found["b"]) == str(caught.value)


@pytest.mark.parametrize("how", ["overrides", "all_overrides", "overrides_index"])
async def test_lost_overrides_do_not_look_like_none(three: RedisStore, how: str):
    await damage(three, "b", how, "gone")
    found = await read_many(three, "b")
    assert isinstance(found["b"], Stored)
    assert found["b"].has_overrides


async def test_a_reading_of_many_needs_the_known_epoch(three: RedisStore):
    three.set_epoch("another")
    with pytest.raises(StoreResetError):
        await read_many(three, *NAMES)


async def test_components_that_are_too_large_to_come_together_are_read_one_by_one(
    three: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    run_many, sizes = three.link.run_many, []

    async def too_slow(name: str, calls: Sequence[Any], *, is_write: bool) -> list[Any]:
        sizes.append(len(calls))
        if len(calls) > 1:
            raise StoreUnavailableError("Redis did not answer in time.")
        return await run_many(name, calls, is_write=is_write)

    monkeypatch.setattr(three.link, "run_many", too_slow)
    assert list(await read_many(three, *NAMES)) == list(NAMES)
    assert sizes == [3, 1, 1, 1]

    async def away(_name: str, _calls: Sequence[Any], *, is_write: bool) -> list[Any]:
        raise StoreUnavailableError(f"Redis is away: {is_write}.")

    monkeypatch.setattr(three.link, "run_many", away)
    with pytest.raises(StoreUnavailableError, match="away: False"):
        await read_many(three, *NAMES)


async def test_more_components_than_fit_into_an_exchange_are_all_read(
    three: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_ROLLOUTS_AT_ONCE", 2)
    monkeypatch.setattr(module, "_MARKS_AT_ONCE", 2)
    assert list(await read_many(three, *NAMES)) == list(NAMES)
    assert all(mark.entry for mark in await three.marks(NAMES))


async def test_while_some_components_are_taken_in_the_next_ones_are_asked_for(
    three: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a reader that stops early, expect that nothing goes on without it."""
    monkeypatch.setattr(module, "_ROLLOUTS_AT_ONCE", 1)
    run_many, asked, tasks = three.link.run_many, [], asyncio.all_tasks()

    async def noting(name: str, calls: Sequence[Any], *, is_write: bool) -> list[Any]:
        asked.extend(named["component"] for _, named in calls)
        return await run_many(name, calls, is_write=is_write)

    monkeypatch.setattr(three.link, "run_many", noting)
    found = read_rollouts(three.link, NAMES)
    assert (await anext(found))[0] == "a"
    await asyncio.sleep(0)
    assert asked == ["a", "b"]
    await found.aclose()
    assert asyncio.all_tasks() == tasks


class Taken(list[str]):
    """What a reader has taken in."""


async def test_what_was_read_before_an_error_is_freed_without_garbage_collection(
    three: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """The next reading of everything would spare it from garbage collection for ever."""
    lives: list[weakref.ref[Taken]] = []

    async def away(*_: object, **__: object) -> list[Any]:
        raise StoreUnavailableError("Redis is away.")

    async def take() -> None:
        taken = Taken()
        lives.append(weakref.ref(taken))
        async for name, _ in read_rollouts(three.link, ("a",)):
            taken.append(name)

    monkeypatch.setattr(three.link, "run_many", away)
    gc.disable()
    try:
        with contextlib.suppress(StoreUnavailableError):
            await take()
        await asyncio.sleep(0)
        assert lives[0]() is None
    finally:
        gc.enable()


async def test_a_reading_that_fails_asks_for_nothing_more(
    three: RedisStore, replica: Replica, monkeypatch: pytest.MonkeyPatch
):
    """Given an error while the next components are asked for, expect that nothing goes on without the reading."""
    monkeypatch.setattr(module, "_ROLLOUTS_AT_ONCE", 1)
    tasks = asyncio.all_tasks()

    async def away(*_: object) -> None:
        raise StoreUnavailableError("Redis is away.")

    monkeypatch.setattr("rampd_server.replica.reading.with_overrides", away)
    replica.doubt("a")
    # As long as somebody has the error, its traceback has the reading.
    with pytest.raises(StoreUnavailableError) as caught:
        await replica.read_again()
    assert asyncio.all_tasks() == tasks
    assert "away" in str(caught.value)


async def test_a_mark_has_the_last_entry_and_the_number_of_overrides(three: RedisStore):
    await damage(three, "c", "rollout", "type")
    entries = [(await three.read(name)).rollout.entry for name in ("a", "b")]
    assert await three.marks((*NAMES, "none")) == [
        StateMark(entries[0], "0"),
        StateMark(entries[1], "1"),
        StateMark(),
        StateMark(),
    ]


async def test_a_reading_keeps_components_that_have_not_changed(replica: Replica, asked: list[str]):
    before = copy_of(replica)
    kept = {name: replica.get(name) for name in NAMES}
    await replica.read_again()

    assert not asked
    assert copy_of(replica) == before
    # The copy that was served before does not change with the new one.
    for name in NAMES:
        assert replica.get(name) is not kept[name]
    known, old = replica.get("b"), kept["b"]
    assert known is not None
    assert old is not None
    known.overrides.delete(REPO)
    assert len(old.overrides) == 1


async def test_a_reading_reads_what_has_changed_and_drops_what_is_gone(
    replica: Replica, three: RedisStore, asked: list[str]
):
    changed = await do(three, commands.Ramp(500), component="a")
    stored = (await three.read("c")).rollout
    gone = Absent("c", stored.revision + 1, stored.last_number)
    await commit(three, stored, gone)
    await do(three, commands.Release("t1"), component="new")
    await replica.read_again()

    assert sorted(asked) == ["a", "new"]
    assert sorted(copy_of(replica)) == ["a", "b", "new"]
    known = replica.get("a")
    assert known is not None
    assert known.rollout == changed


async def test_an_override_that_was_swept_is_not_kept(
    replica: Replica, three: RedisStore, asked: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Given a sweep, which is no change and has no entry of its component, expect that the component is read again."""
    now_ms = (await three.read("a")).time_ms
    await three.commit_overrides("a", {REPO: Override(tag="old", expire_ms=now_ms - SWEEP_AFTER_MS - 1)}, ADA)
    await replica.read_again()
    asked.clear()
    assert await three.sweep_overrides("a")
    await replica.read_again()

    assert asked == ["a"]
    known = replica.get("a")
    assert known is not None
    assert not len(known.overrides)


async def test_writes_during_a_reading_that_keeps_are_in_it(
    replica: Replica, three: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given changes by this server and by another one right after the marks were read, expect both in the new copy."""
    marks, service = three.marks, Service(three, replica)

    async def disturbed(names: Sequence[str]) -> list[StateMark]:
        found = await marks(names)
        await service.set_overrides("b", {REPO: None, "acme/other": Override(channel="NEXT")}, ADA)
        await do(three, commands.Ramp(700), component="c")
        return found

    monkeypatch.setattr(three, "marks", disturbed)
    await replica.read_again()
    fresh = Replica(three)
    await fresh.read_again()
    assert copy_of(replica) == copy_of(fresh)
    assert copy_of(replica)["c"][0].basis_points == 700


async def test_a_component_in_doubt_makes_the_next_reading_read_everything(
    replica: Replica, three: RedisStore, asked: list[str]
):
    await damage(three, "a", "releases", "type")
    await replica.read_again()
    assert not replica.damaged  # only a request, an entry or a start meets it

    replica.doubt("a")
    await replica._check_head()
    assert asked == list(NAMES)
    assert list(replica.damaged) == ["a"]

    # It is read again until it is repaired.
    asked.clear()
    await replica.read_again()
    assert asked == ["a"]


async def test_a_copy_that_could_not_apply_an_entry_is_read_as_a_whole(
    replica: Replica, three: RedisStore, asked: list[str]
):
    class Fails:
        def applied(self, *_: object) -> None:
            raise RuntimeError("a defect")

        def reloaded(self) -> None: ...

    replica.subscribe(Fails())
    await do(three, commands.Ramp(500), component="a")
    await replica._check_head()
    assert asked == list(NAMES)


async def test_a_reading_of_another_epoch_keeps_nothing(replica: Replica, three: RedisStore, asked: list[str]):
    await three.begin_epoch(adopted=True)
    await replica.read_again()
    assert asked == list(NAMES)


class Working:
    """A listener that has work left after a reading of everything."""

    def __init__(self, pieces: int = 5) -> None:
        self.left = pieces
        self.done = 0
        self.begun = asyncio.Event()
        self.applied_meanwhile: list[str] = []
        self.fails = False

    def applied(self, entry: FeedEntry, *_: object) -> None:
        self.applied_meanwhile.append(entry.component)

    def reloaded(self) -> Iterator[None]:
        while self.done < self.left:
            self.done += 1
            self.begun.set()
            yield
            if self.fails:
                raise RuntimeError("a defect")


@pytest.fixture
def working(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> Working:
    """Other tasks have their turn after each piece of its work."""
    monkeypatch.setattr("rampd_server.process.long_work._PIECE_S", 0.0)
    listener = Working()
    replica.subscribe(listener)
    return listener


async def begun(replica: Replica, working: Working) -> "asyncio.Task[None]":
    """Returns a reading whose listeners are at work."""
    reading = asyncio.create_task(replica.read_again())
    await working.begun.wait()
    return reading


async def test_changes_are_made_and_applied_while_listeners_are_at_work_after_a_reading(
    replica: Replica, three: RedisStore, asked: list[str], working: Working
):
    """Given work that does not end before the change is visible, expect that nothing is read again for it."""
    working.left = 10**9
    reading = await begun(replica, working)
    try:
        await Service(three, replica).execute("a", commands.Ramp(700), ADA)
        assert copy_of(replica)["a"][0].basis_points == 700
        assert (working.applied_meanwhile, asked, replica.is_confirmed) == (["a"], [], True)
        assert not reading.done()
    finally:
        working.left = 0
        await reading


async def test_a_listener_that_fails_at_its_work_harms_no_other_and_everything_is_read_again(
    replica: Replica, asked: list[str], working: Working
):
    other = Working()
    replica.subscribe(other)
    working.fails = True
    with pytest.raises(RuntimeError, match="a defect"):
        await replica.read_again()
    assert (other.done, replica.is_confirmed) == (5, False)

    working.fails = False
    await replica._check_head()
    assert (asked, replica.is_confirmed) == (list(NAMES), True)


async def test_the_work_of_listeners_is_done_also_if_the_caller_of_the_reading_has_gone(
    replica: Replica, working: Working
):
    working.left = 1_000
    reading = await begun(replica, working)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert (working.done, replica.is_confirmed) == (1_000, True)


async def test_a_state_that_was_replaced_is_freed_piece_by_piece(replica: Replica):
    before = replica._state
    await replica.read_again()
    assert not before.components


@pytest.mark.parametrize("seed", range(6))
async def test_a_reading_that_keeps_equals_a_reading_of_everything(store: RedisStore, seed: int):
    """Given random changes between readings and during them, expect the same copy as that of a new server."""
    chance = random.Random(seed)
    replica = Replica(store)
    for name in NAMES:
        await do(store, commands.Release("t0"), component=name)

    async def change() -> None:
        name = chance.choice(NAMES)
        stored = await store.read(name)
        with contextlib.suppress(RampdError, ConflictError):
            if chance.random() < 0.4:
                repos = chance.sample(["acme/a", "acme/b", "acme/*"], 2)
                await store.commit_overrides(name, {repo: random_override(chance) for repo in repos}, ADA)
            elif chance.random() < 0.2:
                await store.sweep_overrides(name)
            else:
                context = Context(NOW, "ada", freeze_all=stored.namespace.freeze)
                outcome = transition(stored.rollout, random_command(chance), context)
                if outcome.changed:
                    await commit(store, stored.rollout, outcome.after, namespace=stored.namespace)

    async def changes(number: int) -> None:
        for _ in range(number):
            await change()

    for _ in range(8):
        await changes(chance.randrange(6))
        await asyncio.gather(replica.read_again(), changes(chance.randrange(3)))
        assert await replica.catch_up(timeout_s=PATIENCE_S)
        fresh = Replica(store)
        await fresh.read_again()
        assert copy_of(replica) == copy_of(fresh)


@pytest.fixture
async def last_state(replica: Replica, tmp_path: Path) -> LastStateFile:
    kept = LastStateFile(tmp_path, "here", "default")
    await LastStateKeeper(replica, kept).end()
    return kept


async def test_a_start_keeps_components_of_the_last_state(
    replica: Replica, three: RedisStore, last_state: LastStateFile, asked: list[str]
):
    changed = await do(three, commands.Ramp(500), component="a")
    started = Replica(three)
    LastStateKeeper(started, last_state).recall()
    await started.read_again()

    assert asked == ["a"]
    assert sorted(copy_of(started)) == list(NAMES)
    assert copy_of(started)["a"][0] == changed
    assert copy_of(started)["b"] == copy_of(replica)["b"]


@pytest.mark.parametrize("how", ["damaged", "by hand", "an override"])
async def test_a_server_that_starts_finds_what_was_changed_without_an_entry(
    three: RedisStore, last_state: LastStateFile, how: str
):
    """Given a component whose entry is that of the last state, but whose data are not, expect that the server that starts with
    the last state notices.
    """
    keys = three.keys.component("b")
    if how == "damaged":
        await damage(three, "b", "releases", "type")
    elif how == "by hand":
        await three.client.hset(keys.rollout, "update_ms", "5")
    else:
        await three.client.hdel(keys.overrides, REPO)

    async with following_from(three, last_state) as started:

        def is_found() -> bool:
            known = started.get("b")
            assert known is not None
            return "b" in started.damaged if how != "by hand" else known.rollout.update_ms == 5

        async with asyncio.timeout(PATIENCE_S):
            while not is_found():  # noqa: ASYNC110 - the replica has no event for damage
                await asyncio.sleep(0.02)
        assert set(started.damaged) <= {"b"}


def following_from(store: RedisStore, last_state: LastStateFile) -> Any:
    """Yields the copy of a server that starts with a last state and follows the store while the block lasts."""
    return following(store, lambda replica: LastStateKeeper(replica, last_state).recall())
