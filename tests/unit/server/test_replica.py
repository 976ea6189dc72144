"""How a replica applies its own server's writes, and follows the feed."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rampd._decision.staleness import STALE_AFTER_S
from rampd_server.domain.automation import clock as clocks
from rampd_server.domain.errors import NoSnapshotError, StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import FeedEntry, Head, LastServed, LastState, Namespace, OverridesPiece, StateMark, Stored
from rampd_server.replica import replica as module
from rampd_server.replica.replica import Replica
from tests.in_background import in_background
from tests.rollouts import rolling_out
from tests.waiting import PATIENCE_S

BEFORE = rolling_out()


class ScriptedStore:
    """One component, and the feed that a test gives it."""

    def __init__(self) -> None:
        self.entries: asyncio.Queue[FeedEntry] = asyncio.Queue()
        self.newest = "1-0"
        self.stored = BEFORE
        self.applied: list[str] = []

    async def head(self) -> Head:
        return Head("epoch", self.newest, 0, Namespace())

    def set_epoch(self, epoch: str) -> None:
        pass

    async def components(self, *, after: str, limit: int) -> list[str]:
        return [] if after else [BEFORE.component]

    async def read(self, component: str) -> Stored:
        return Stored(self.stored, Namespace(), 0)

    async def read_many(self, components: Sequence[str]) -> AsyncGenerator[tuple[str, Stored]]:
        for component in components:
            yield component, await self.read(component)

    async def marks(self, components: Sequence[str]) -> list[StateMark]:
        return [StateMark() for _ in components]

    async def walk_overrides(self, component: str) -> AsyncIterator[OverridesPiece]:
        yield OverridesPiece({}, "")

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        if not block_ms:
            return []
        entry = await self.entries.get()
        self.entries.task_done()
        return [entry]

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        self.applied.append(entry.id)
        assert isinstance(rollout, Rollout)
        return replace(rollout, revision=entry.revision)

    async def has_lost(self, _entry_id: str) -> bool:
        return True

    def tell(self, entry: FeedEntry) -> None:
        self.newest = entry.id
        self.entries.put_nowait(entry)


def entry(number: int) -> FeedEntry:
    """Returns the entry that moves the component to its revision plus `number`."""
    return FeedEntry(f"{number + 1}-0", f"{number}-0", BEFORE.component, BEFORE.revision + number, patch="{}")


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
async def replica(store: ScriptedStore) -> AsyncIterator[Replica]:
    made = Replica(as_store(store), monotonic=lambda: 0.0)
    async with in_background(made.run()):
        await made.loaded.wait()
        yield made


def as_store(store: ScriptedStore) -> Any:
    return store


def revision(replica: Replica) -> int:
    known = replica.get(BEFORE.component)
    assert known is not None
    return known.rollout.revision


async def test_an_offered_result_is_not_computed_again(replica: Replica, store: ScriptedStore):
    after = replace(BEFORE, revision=BEFORE.revision + 1)
    replica.offer(entry(1), after)
    known = replica.get(BEFORE.component)
    assert known is not None
    assert known.rollout is after

    store.tell(entry(1))
    store.tell(entry(2))
    assert await replica.wait_for_entry(entry(2).id, timeout_s=PATIENCE_S)
    assert store.applied == [entry(2).id]


async def test_an_offer_that_does_not_follow_the_last_entry_waits_for_the_feed(replica: Replica, store: ScriptedStore):
    replica.offer(entry(2), replace(BEFORE, revision=BEFORE.revision + 2))
    assert revision(replica) == BEFORE.revision

    store.tell(entry(1))
    store.tell(entry(2))
    assert await replica.wait_for_entry(entry(2).id, timeout_s=PATIENCE_S)
    assert store.applied == [entry(1).id, entry(2).id]


async def test_an_offer_that_comes_after_its_entry_and_the_next_one_is_there_already(
    replica: Replica, store: ScriptedStore, reloads: list[str]
):
    """Given that the feed was faster than the answer of the store, expect that nothing is read again, and that no caller waits."""
    store.tell(entry(1))
    store.tell(entry(2))
    assert await replica.wait_for_entry(entry(2).id, timeout_s=PATIENCE_S)

    replica.offer(entry(1), replace(BEFORE, revision=BEFORE.revision + 1))

    assert await replica.wait_for_change(entry(1).id, BEFORE.component, BEFORE.revision + 1, timeout_s=0)
    assert store.applied == [entry(1).id, entry(2).id]
    assert reloads == []


async def test_the_replica_does_not_read_the_feed_while_its_own_change_is_being_written(
    replica: Replica, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_OWN_WRITE_S", 3600)
    replica.expect()
    store.tell(entry(1))
    await store.entries.join()
    for _ in range(20):
        await asyncio.sleep(0)
    assert revision(replica) == BEFORE.revision

    # A caller that waits for an entry gets it at once.
    assert await replica.wait_for_entry(entry(1).id, timeout_s=PATIENCE_S)
    store.tell(entry(2))
    assert await replica.wait_for(BEFORE.component, BEFORE.revision + 2, timeout_s=PATIENCE_S)


async def test_an_entry_that_the_feed_does_not_deliver_is_fetched_in_order(replica: Replica, store: ScriptedStore):
    """Given reads of the feed that do not return, and another writer's entry before the awaited one, expect both."""

    async def feed(after: str, *, block_ms: int) -> list[FeedEntry]:
        assert not block_ms
        return [entry(number) for number in (1, 2) if entry(number).previous_id == after]

    store.feed = feed  # type: ignore[method-assign]
    assert await replica.wait_for_entry(entry(2).id, timeout_s=PATIENCE_S)
    assert store.applied == [entry(1).id, entry(2).id]
    assert revision(replica) == BEFORE.revision + 2


async def test_a_failure_of_the_store_does_not_fail_a_wait_for_an_entry(replica: Replica, store: ScriptedStore):
    async def feed(after: str, *, block_ms: int) -> list[FeedEntry]:
        raise StoreUnavailableError("Redis can't be reached.")

    store.feed = feed  # type: ignore[method-assign]
    assert not await replica.wait_for_entry(entry(1).id, timeout_s=0.2)


@pytest.fixture
def reloads(replica: Replica) -> list[str]:
    """Records the end of the feed each time that everything is read again."""

    class Recorder:
        def applied(self, *_: object) -> None:
            pass

        def reloaded(self) -> None:
            found.append(replica.entry_id)

    found: list[str] = []
    replica.subscribe(Recorder())
    return found


async def test_an_own_change_while_the_head_is_read_does_not_count_as_another_history(
    replica: Replica, store: ScriptedStore, reloads: list[str]
):
    async def head() -> Head:
        replica.offer(entry(1))
        return Head("epoch", "1-0", 0, Namespace())

    store.head = head  # type: ignore[method-assign]
    await replica._check_head()
    assert not reloads
    assert replica.entry_id == "2-0"


async def test_a_store_that_ends_before_this_copy_has_lost_changes(
    replica: Replica, store: ScriptedStore, reloads: list[str]
):
    replica.offer(entry(1))
    known = replica.get(BEFORE.component)
    assert known is not None
    # The record of the loss has a revision above all revisions that somebody has seen.
    store.stored = replace(BEFORE, revision=known.rollout.revision + 1)
    await replica._check_head()
    assert reloads == ["1-0"]
    assert replica.went_back


async def test_an_own_change_that_cannot_be_applied_is_not_confirmed(
    replica: Replica, store: ScriptedStore, reloads: list[str]
):
    """Given an entry that was offered and can't be applied, expect that everything is read again before the copy counts as
    complete.
    """

    def fail(rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        raise StoreCorruptError("This is not what rampd wrote.", key="feed")

    store.apply = fail  # type: ignore[method-assign]
    replica.offer(entry(1))
    assert replica.entry_id == "1-0"

    store.newest = entry(1).id
    await replica._check_head()
    assert reloads == [entry(1).id]


async def test_a_server_without_a_state_says_why_it_has_none(store: ScriptedStore, monkeypatch: pytest.MonkeyPatch):
    replica = Replica(as_store(store))
    with pytest.raises(NoSnapshotError, match="no state yet: it waits for the store"):
        _ = replica.age_s
    asked = asyncio.Queue[str]()

    async def read(component: str) -> Stored:
        asked.put_nowait(component)
        raise StoreUnavailableError("Redis can't be reached: the link was cut.")

    store.read = read  # type: ignore[method-assign]
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    async with in_background(replica.run()):
        for _ in range(2):
            await asked.get()

        with pytest.raises(NoSnapshotError, match="no state yet: Redis can't be reached"):
            _ = replica.age_s
        with pytest.raises(NoSnapshotError, match="the link was cut"):
            _ = replica.look


async def test_the_first_state_may_come_while_a_caller_catches_up(store: ScriptedStore):
    """Given a list that is asked for during the start, expect that it takes the state that comes meanwhile."""
    replica, head = Replica(as_store(store)), store.head
    running: asyncio.Task[None] | None = None

    async def read_head() -> Head:
        nonlocal running
        found = await head()
        if running is None:
            running = asyncio.create_task(replica.run())
            await replica.loaded.wait()
        return found

    store.head = read_head  # type: ignore[method-assign]

    assert await replica.catch_up(is_exact=True, timeout_s=PATIENCE_S)

    assert running is not None
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FailingStore(ScriptedStore):
    """A store whose head is read when a test lets it, with the answer that the test gives."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.asked = asyncio.Semaphore(0)
        self.may_answer = asyncio.Semaphore(1)

    async def head(self) -> Head:
        self.asked.release()
        await self.may_answer.acquire()
        if self.error is not None:
            raise self.error
        return await super().head()

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        return []

    async def look(self) -> None:
        """Lets the replica look once more, and waits until it begins the next look."""
        self.may_answer.release()
        await self.asked.acquire()


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("Redis can't be reached."), StoreResetError("The store was emptied.")]
)
async def test_an_unconfirmed_copy_is_reported_soon_but_not_after_one_slow_look(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    clock, store = Clock(), FailingStore()
    replica = Replica(as_store(store), monotonic=clock)
    assert not replica.is_confirmed
    async with in_background(replica.run()):
        await replica.loaded.wait()
        await store.asked.acquire()
        await store.asked.acquire()
        assert replica.is_confirmed

        # One look fails, and the one after it is slow.
        store.error = error
        await store.look()
        clock.now_s += 1.4
        assert replica.is_confirmed
        store.error = None
        await store.look()
        assert replica.is_confirmed

        # All looks fail.
        store.error = error
        await store.look()
        clock.now_s += 0.4
        await store.look()
        assert replica.is_confirmed
        clock.now_s += 1.2
        await store.look()
        assert not replica.is_confirmed

        # The store is back.
        store.error = None
        await store.look()
        assert replica.is_confirmed

        # The store neither answers nor fails.
        clock.now_s += STALE_AFTER_S + 0.1
        assert not replica.is_confirmed
        await store.look()
        assert replica.is_confirmed


async def test_a_look_confirms_the_copy_only_after_all_entries_are_read(replica: Replica, store: ScriptedStore):
    """Given more entries than one read returns, expect all of them before the store confirms the copy."""
    left = [entry(number) for number in range(1, 6)]

    async def feed(after: str, *, block_ms: int) -> list[FeedEntry]:
        return [left.pop(0), left.pop(0)] if len(left) > 1 else [left.pop(0)]

    store.feed = feed  # type: ignore[method-assign]
    store.newest = entry(5).id
    await replica._check_head()
    assert replica.entry_id == entry(5).id


class Working:
    """A listener that is at work after a reading of everything until a test sets `left` to 0."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.left = 10_000

    def applied(self, *_: object) -> None:
        pass

    def reloaded(self) -> Iterator[None]:
        self.begun.set()
        while self.left > 0:
            self.left -= 1
            yield


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> Working:
    """Other tasks have their turn after each piece of its work."""
    monkeypatch.setattr("rampd_server.process.long_work._PIECE_S", 0.0)
    return Working()


async def test_while_listeners_are_at_work_after_a_reading_for_a_caller_no_look_confirms_the_copy(
    store: ScriptedStore, working: Working
):
    """Given a look meanwhile, expect that the copy counts as confirmed only when all listeners have done their work without a failure."""
    clock = Clock()
    replica = Replica(as_store(store), monotonic=clock)
    await replica.read_again()
    replica.subscribe(working)
    clock.now_s += 2
    reading = asyncio.create_task(replica.read_again())
    await working.begun.wait()
    clock.now_s += 1
    await replica._check_head()
    assert (replica.age_s, reading.done()) == (3, False)

    working.left = 0
    await reading
    assert replica.age_s == 1


async def test_the_first_state_is_not_as_old_as_that_from_before_the_start_while_listeners_are_at_work(
    store: ScriptedStore, working: Working
):
    """Given a state of unknown age from before the start, expect that what waits for the store's state finds it as old as it is."""
    replica = Replica(as_store(store), monotonic=Clock())
    about = LastServed("epoch", "1-0", 0.0, 0.0, Namespace(), is_last=False)
    replica.recall(LastState(about, [(BEFORE, {})]))
    replica.subscribe(working)
    reading = asyncio.create_task(replica.read_again())
    await replica.loaded.wait()
    assert (replica.age_s, replica.is_confirmed, reading.done()) == (0, True, False)

    working.left = 0
    await reading


class DefectError(Exception):
    pass


@pytest.mark.parametrize("is_late", [False, True])
async def test_the_error_of_a_listener_and_all_that_was_read_are_freed_without_garbage_collection(
    store: ScriptedStore, is_late: bool
):
    """The next reading of everything would spare them from garbage collection for ever."""
    lives: list[weakref.ref[DefectError]] = []

    def defect() -> DefectError:
        error = DefectError()
        lives.append(weakref.ref(error))
        return error

    class Failing:
        def applied(self, *_: object) -> None:
            pass

        def reloaded(self) -> Iterator[None]:
            if not is_late:
                raise defect()
            return self._work()

        def _work(self) -> Iterator[None]:
            yield
            raise defect()

    replica = Replica(as_store(store), monotonic=Clock())
    for _ in range(2):
        replica.subscribe(Failing())
    gc.disable()
    try:
        with contextlib.suppress(DefectError):
            await replica.read_again()
        await asyncio.sleep(0)
        assert [each() for each in lives] == [None, None]
    finally:
        gc.enable()


class SlowStore(ScriptedStore):
    """A store with the clock of the test. Each read of a component or of the feed takes 40 s."""

    FIRST_MS = 1_700_000_000_000

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.left: list[FeedEntry] = []
        self.answer_s = 0.0
        """How long the answer of a head is under way."""

    @property
    def time_ms(self) -> int:
        return self.FIRST_MS + round(self._clock.now_s * 1000)

    async def head(self) -> Head:
        time_ms = self.time_ms
        self._clock.now_s += self.answer_s
        return Head("epoch", self.newest, time_ms, Namespace())

    async def read(self, component: str) -> Stored:
        self._clock.now_s += 40
        return await super().read(component)

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        if not self.left:
            return await super().feed(after, block_ms=block_ms)
        self._clock.now_s += 40
        return [self.left.pop(0)]


async def test_a_long_reload_does_not_set_the_clock_back_and_does_not_count_as_a_jump():
    clock = Clock()
    store = SlowStore(clock)
    replica = Replica(as_store(store), monotonic=clock)
    async with in_background(replica.run()):
        await replica.loaded.wait()

    assert replica.now_ms() == store.time_ms
    assert replica.age_s == 0
    after_reload = replica.look
    clock.now_s += 1
    await replica._check_head()
    assert replica.now_ms() == store.time_ms
    seen = clocks.read(clocks.read(None, None, after_reload), after_reload, replica.look)
    assert seen.jump_ms is None


async def test_a_late_answer_does_not_make_the_clock_of_the_store_wrong():
    clock = Clock()
    store = SlowStore(clock)
    replica = Replica(as_store(store), monotonic=clock)
    await replica._read_head()
    store.answer_s = 0.8

    clock.now_s += 1
    await replica._read_head()

    assert store.time_ms - replica.now_ms() <= 2


async def test_a_copy_that_catches_up_slowly_has_the_age_of_the_look_that_confirms_it():
    clock = Clock()
    store = SlowStore(clock)
    replica = Replica(as_store(store), monotonic=clock)
    async with in_background(replica.run()):
        await replica.loaded.wait()
    store.left, store.newest = [entry(1), entry(2)], entry(2).id

    await replica._check_head()

    assert replica.entry_id == entry(2).id
    assert replica.age_s == 80
    assert replica.now_ms() == store.time_ms
