"""The streams of Watch over a replica that a test changes, for cases that are rare with a real store."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rampd import v1
from rampd._decision.resolution import ComponentSnapshot, Overrides, RolloutState, SnapshotRelease
from rampd._watching.feed import SILENT_AFTER_S
from rampd_server.domain.errors import NoSnapshotError, StoreCorruptError, StoreUnavailableError
from rampd_server.ports import FeedEntry, Override
from rampd_server.replica.damage import Damage
from rampd_server.replica.replica import Listener, Replica
from rampd_server.rpc.waking import AT_ONCE, Waking
from rampd_server.rpc.watch import heartbeat, watch
from rampd_server.rpc.watch import whole_state as whole_states
from rampd_server.rpc.watch.change_log import ChangeLog
from rampd_server.rpc.watch.selection import Selection
from rampd_server.rpc.watch.watch import Watches

C = "restyler"


class FakeReplica:
    """One component; entries come when a test says so."""

    epoch = "e"

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.successor: Exception | None = None
        self.entry_id = ""
        self.age_s = 0.25
        self.revision = 1
        self.overrides = Overrides()
        self.is_ahead = False
        self.store_error: Exception | None = None
        self.last_snapshot: ComponentSnapshot | None = None
        self.damaged: dict[str, Damage] = {}

    def store_time_ms(self, monotonic_s: float) -> int:
        return round(monotonic_s * 1000)

    def subscribe(self, listener: Listener) -> None:
        self.listener = listener

    def likely_ms(self) -> int:
        return 1_700_000_000_123

    def snapshot(self) -> ComponentSnapshot:
        if self.last_snapshot is None or self.last_snapshot.revision != self.revision:
            self.last_snapshot = self._snapshot()
        return self.last_snapshot

    def _snapshot(self) -> ComponentSnapshot:
        current = SnapshotRelease(1, "t1")
        return ComponentSnapshot(component=C, revision=self.revision, state=RolloutState.STEADY, current=current)

    def components(self) -> list[Any]:
        rollout = SimpleNamespace(component=C)
        return [SimpleNamespace(rollout=rollout, snapshot=self.snapshot(), overrides=self.overrides)]

    async def wait_for_entry(self, _entry_id: str) -> bool:
        return self.is_ahead

    async def require_succession(self, _epoch: str, _age_s: float) -> None:
        if self.successor is not None:
            raise self.successor

    async def has_lost(self, _entry_id: str) -> bool:
        if self.store_error is not None:
            raise self.store_error
        return not self.is_ahead

    def reload(self, entry_id: str, *, epoch: str = "e", went_back: bool = False) -> None:
        self.epoch, self.entry_id, self.went_back = epoch, entry_id, went_back
        self.answers.set()
        self.listener.reloaded()

    def apply(self, entry_id: str, **overrides: str) -> None:
        before = self.snapshot()
        self.revision += 1
        entry = FeedEntry(
            id=entry_id,
            previous_id=self.entry_id,
            component=C,
            revision=self.revision,
            overrides_set={repo: Override(tag=tag) for repo, tag in overrides.items()},
        )
        self.entry_id = entry_id
        self.listener.applied(entry, before, before.at_revision(self.revision))


@pytest.fixture
def replica() -> FakeReplica:
    return FakeReplica()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine stands still, no state is dropped, and no heartbeat comes before what a test waits for."""
    monkeypatch.setattr(whole_states, "_IDLE_S", 600.0)
    monkeypatch.setattr(watch, "pause_s", lambda _watchers: 600.0)


@pytest.fixture
def watches(replica: FakeReplica) -> Watches:
    made = Watches(cast("Replica", replica))
    replica.reload("10-0")
    return made


@asynccontextmanager
async def watching(watches: Watches, **request: Any) -> "AsyncIterator[Stream]":
    asked = v1.WatchRequest(**request)
    async with aclosing(watches.stream(asked, Selection(frozenset(asked.components)))) as stream:
        yield Stream(stream)


class Stream:
    def __init__(self, messages: Any) -> None:
        self.messages = messages

    async def next(self) -> v1.WatchResponse:
        async with asyncio.timeout(60):
            return v1.WatchResponse.FromString(await anext(self.messages))

    async def whole(self) -> str:
        """Reads a state in one part, with its age in the same message. Returns the cursor."""
        message = await self.next()
        assert (message.state.first, message.state.last) == (True, True)
        assert message.HasField("heartbeat")
        return message.cursor


async def test_before_the_first_state_there_is_nothing_to_watch(replica: FakeReplica) -> None:
    watches = Watches(cast("Replica", replica))
    with pytest.raises(NoSnapshotError):
        async with watching(watches) as stream:
            await stream.next()


async def test_changes_at_the_same_moment_share_a_message_with_a_due_heartbeat(
    replica: FakeReplica, watches: Watches
) -> None:
    async with watching(watches, cursor="e/10-0") as stream:
        replica.apply("11-0", a="x")
        replica.apply("11-1", b="x")
        message = await stream.next()
        assert [change.component.revision for change in message.changes] == [2, 3]
        assert message.cursor == "e/11-1"
        assert message.heartbeat.snapshot_age.nanos == 250_000_000
        assert message.heartbeat.store_time.ToMilliseconds() == 1_700_000_000_123


async def test_a_watcher_that_may_have_seen_lost_changes_is_told_that_the_store_has_gone_back(
    replica: FakeReplica, watches: Watches
) -> None:
    async with watching(watches) as stream:
        assert await stream.whole() == "e/10-0"
        replica.apply("12-0")
        assert (await stream.next()).cursor == "e/12-0"
        replica.reload("11-0", went_back=True)
        assert (await stream.next()).rewind.cursor == "e/11-0"
        assert await stream.whole() == "e/11-0"
        # New entries have later ids than the lost ones.
        replica.reload("14-0", went_back=True)
        assert (await stream.next()).rewind.cursor == "e/14-0"
        assert await stream.whole() == "e/14-0"


@pytest.mark.parametrize(("entry_id", "epoch"), [("12-0", "e"), ("13-0", "e"), ("1-0", "f")])
async def test_a_watcher_that_cannot_have_seen_lost_changes_gets_the_whole_state_without_a_rewind(
    replica: FakeReplica, watches: Watches, entry_id: str, epoch: str
) -> None:
    async with watching(watches) as stream:
        await stream.whole()
        replica.apply("12-0")
        await stream.next()
        replica.reload(entry_id, epoch=epoch)
        assert await stream.whole() == f"{epoch}/{entry_id}"


async def test_a_server_that_is_behind_its_caller_waits_and_then_reports_that(
    replica: FakeReplica, watches: Watches
) -> None:
    replica.store_error = StoreUnavailableError("gone")
    with pytest.raises(StoreUnavailableError):
        async with watching(watches, cursor="e/20-0") as stream:
            await stream.next()
    replica.store_error = None
    async with watching(watches, cursor="e/20-0") as stream:
        assert (await stream.next()).rewind.cursor == "e/10-0"
        assert await stream.whole() == "e/10-0"


async def test_a_server_that_is_behind_its_store_lets_the_caller_try_again(
    replica: FakeReplica, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def has_lost(_entry_id: str) -> bool:
        return False

    monkeypatch.setattr(replica, "has_lost", has_lost)
    with pytest.raises(NoSnapshotError, match="behind"):
        async with watching(watches, cursor="e/20-0") as stream:
            await stream.next()


@pytest.mark.parametrize("entry_id", ["9-0", "8-0"])
async def test_a_watcher_that_reconnects_while_the_store_goes_back_is_told(
    replica: FakeReplica, watches: Watches, monkeypatch: pytest.MonkeyPatch, entry_id: str
) -> None:
    """Given a store that has the cursor when it is asked, but has lost it when the state is sent, expect a rewind, also for
    a later watcher with the same cursor.
    """
    replica.reload("10-0")

    async def has_lost(_entry_id: str) -> bool:
        replica.reload("5-0", went_back=True)
        monkeypatch.setattr(replica, "is_ahead", False)
        monkeypatch.delattr(replica, "has_lost")
        return False

    monkeypatch.setattr(replica, "has_lost", has_lost)
    for _ in range(2):
        async with watching(watches, cursor=f"e/{entry_id}") as stream:
            assert (await stream.next()).HasField("rewind")
            assert await stream.whole() == "e/5-0"


async def test_a_new_watcher_is_not_told_that_the_store_has_gone_back(replica: FakeReplica, watches: Watches) -> None:
    replica.reload("10-0")
    replica.reload("5-0", went_back=True)
    async with watching(watches) as stream:
        assert await stream.whole() == "e/5-0"


async def test_a_server_that_catches_up_continues_from_the_cursor(
    replica: FakeReplica, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_for_entry(_entry_id: str) -> bool:
        replica.apply("20-0")
        return True

    monkeypatch.setattr(replica, "wait_for_entry", wait_for_entry)
    async with watching(watches, cursor="e/20-0") as stream:
        message = await stream.next()
        assert (message.cursor, message.HasField("heartbeat"), message.HasField("state")) == ("e/20-0", True, False)


async def test_a_state_that_is_overtaken_while_it_is_sent_begins_again(replica: FakeReplica) -> None:
    for n in range(10_000):
        replica.overrides.set(f"acme/{'r' * 100}{n}", watch.choice_of(Override(tag="x")))
    watches = Watches(cast("Replica", replica), log=ChangeLog(max_entries=10))
    replica.reload("10-0")
    async with watching(watches) as stream:
        first, second = await stream.next(), await stream.next()
        assert (first.state.first, second.state.first, second.state.last) == (True, False, False)
        for n in range(20):
            replica.apply(f"11-{n}")
        again = await stream.next()
        assert again.state.first
        assert again.state.components[0].revision == 21


async def test_no_new_state_is_made_while_the_log_continues_from_an_earlier_one(
    replica: FakeReplica, watches: Watches
) -> None:
    for n in range(50):
        async with watching(watches) as stream:
            await stream.next()
        replica.apply(f"11-{n}")
    assert watches._states.made == 1
    async with watching(watches) as stream:
        state, changes = await stream.next(), await stream.next()
        assert (state.cursor, len(changes.changes), changes.cursor) == ("e/10-0", 50, "e/11-49")


def keep_many_overrides(replica: FakeReplica, number: int = 10_000) -> None:
    for n in range(number):
        replica.overrides.set(f"acme/{'r' * 100}{n}", watch.choice_of(Override(tag="x")))


async def whole_state(watches: Watches, selection: Selection) -> list[v1.ComponentState]:
    parts = (await watches._states.get(selection)).parts
    return [piece for part in parts for piece in v1.WatchResponse.FromString(b"".join(part)).state.components]


async def test_states_of_many_selections_share_their_common_parts(replica: FakeReplica, watches: Watches) -> None:
    keep_many_overrides(replica)
    selections = [Selection(frozenset({C, f"other{n}"})) for n in range(64)]
    states = await asyncio.gather(*map(watches._states.get, selections))
    assert watches._states.made == 64
    assert len({id(piece) for state in states for part in state.parts for piece in part if len(piece) > 1000}) == len(
        [piece for part in states[0].parts for piece in part if len(piece) > 1000]
    )


async def test_a_message_has_its_state_once_although_it_is_made_of_pieces(
    replica: FakeReplica, watches: Watches
) -> None:
    """Protobuf says that a reader merges a field that comes several times. protobufjs takes the last one, and grpc-js is built on it."""
    keep_many_overrides(replica)
    parts = [b"".join(part) for part in (await watches._states.get(Selection(frozenset()))).parts]
    assert len(parts) > 1
    assert [v1.WatchResponse.FromString(part).ByteSize() for part in parts] == list(map(len, parts))


async def test_a_state_has_the_overrides_that_were_swept_without_a_new_revision(
    replica: FakeReplica, watches: Watches
) -> None:
    """Given a change before a state is made, and one while it is made, expect the next state to have both."""
    keep_many_overrides(replica)
    names = sorted(repo for repo, _ in replica.overrides.items())

    def sweep(repo: str, entry_id: str) -> None:
        entry = FeedEntry(entry_id, replica.entry_id, C, replica.revision, overrides_deleted=(repo,))
        replica.overrides.delete(repo)
        replica.entry_id = entry_id
        replica.listener.applied(entry, replica.snapshot(), replica.snapshot())

    await whole_state(watches, Selection(frozenset({C})))
    sweep(names[0], "11-0")
    making = asyncio.create_task(whole_state(watches, Selection(frozenset({C, "a"}))))
    for _ in range(3):
        await asyncio.sleep(0)
    sweep(names[1], "11-1")
    assert not making.done()
    await making
    seen = {
        each.repo for piece in await whole_state(watches, Selection(frozenset({C, "b"}))) for each in piece.overrides
    }
    assert seen == set(names[2:])


async def test_kept_states_stay_within_their_limit_of_bytes(
    replica: FakeReplica, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_many_overrides(replica)
    one = whole_states._size_of([await watches._states.get(Selection(frozenset({C})))])
    assert one > 1_000_000
    monkeypatch.setattr(whole_states, "_MAX_BYTES", 3 * one)
    for n in range(12):
        replica.apply(f"11-{n}", **{f"acme/{n}": "y"})
        await watches._states.get(Selection(frozenset({C, f"other{n}"})))
    states = watches._states
    assert 2 <= len(states._kept) <= 3
    assert whole_states._size_of(states._kept.values()) <= 3 * one
    # A state that is larger than the limit is kept alone, for all watchers that begin at the same time.
    monkeypatch.setattr(whole_states, "_MAX_BYTES", 1)
    await states.get(Selection())
    assert list(states._kept) == [Selection()]


async def test_the_memory_of_states_is_freed_after_a_while_without_new_watchers(
    replica: FakeReplica, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = threading.Event()
    monkeypatch.setattr(whole_states, "_IDLE_S", 0.01)
    monkeypatch.setattr(whole_states, "give_back", given_back.set)
    await watches._states.get(Selection(frozenset()))
    assert await asyncio.to_thread(given_back.wait, 30)
    assert (watches._states._kept, watches._states._encoded) == ({}, {})
    assert (await watches._states.get(Selection(frozenset()))).parts


async def test_a_watcher_that_leaves_while_a_state_is_made_does_not_stop_it_for_others(
    replica: FakeReplica, watches: Watches
) -> None:
    for n in range(10_000):
        replica.overrides.set(f"acme/{'r' * 100}{n}", watch.choice_of(Override(tag="x")))
    async with watching(watches) as leaving, watching(watches) as staying:
        leave = asyncio.ensure_future(anext(leaving.messages))
        stay = asyncio.ensure_future(anext(staying.messages))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leave.cancel()
        assert v1.WatchResponse.FromString(await stay).state.first
        assert watches._states.made == 1


async def test_states_of_watchers_who_have_gone_are_not_made(replica: FakeReplica, watches: Watches) -> None:
    """Given a caller who opens streams of ever other components and goes, expect that others do not wait for their states."""
    keep_many_overrides(replica)
    leaving = [asyncio.create_task(watches._states.get(Selection(frozenset({C, f"other{n}"})))) for n in range(50)]
    await asyncio.sleep(0)
    for each in leaving:
        each.cancel()
    assert (await watches._states.get(Selection())).parts
    assert watches._states.made == 2
    assert not watches._states._making
    # Who comes again gets a state.
    assert (await watches._states.get(Selection(frozenset({C, "other0"})))).parts


async def test_a_server_that_stops_ends_every_stream(replica: FakeReplica, watches: Watches) -> None:
    async with watching(watches) as stream:
        await stream.whole()
        ending = asyncio.ensure_future(anext(stream.messages, None))
        await asyncio.sleep(0)
        watches.close()
        assert await ending is None
    async with watching(watches) as stream:
        assert await anext(stream.messages, None) is None
    assert not watches._watchers


class Waiting:
    def __init__(self, woken: list[object]) -> None:
        self.woken = woken

    def wake(self) -> None:
        self.woken.append(self)


async def test_calls_get_their_turn_between_any_number_of_waiting_watchers() -> None:
    """Given a thousand waiting watchers, and a call at the same time, expect that the call is not behind all of them."""
    woken: list[object] = []
    waiters = [Waiting(woken) for _ in range(1000)]
    waking, loop = Waking(), asyncio.get_running_loop()
    loop.call_soon(woken.append, "a call")
    waking.wake(waiters)
    loop.call_soon(woken.append, "another one")
    assert woken == waiters[:AT_ONCE]
    waking.forget(waiters[-1])
    waking.wake(waiters[:1])  # there is news again for a woken watcher
    for _ in range(20):
        await asyncio.sleep(0)
    assert woken.index("a call") == AT_ONCE
    assert woken.index("another one") <= 2 * AT_ONCE + 1
    assert [each for each in woken if isinstance(each, Waiting)] == [*waiters[:-1], waiters[0]]


async def test_more_watchers_get_heartbeats_less_often_but_still_in_time(
    replica: FakeReplica, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_HEARTBEATS_PER_S", 2)
    monkeypatch.setattr(watch, "pause_s", heartbeat.pause_s)
    replica.reload("1-0")
    async with contextlib.AsyncExitStack() as stack:
        paces = [watches._pause_s()]
        for _ in range(8):
            stream = await stack.enter_async_context(watching(watches))
            await stream.next()
            paces.append(watches._pause_s())
    assert paces == [1, 1, 1, 1.5, 2, 2, 2, 2, 2]
    assert 2 * max(paces) <= SILENT_AFTER_S


async def test_each_whole_state_names_the_unreadable_components_that_its_watcher_wants(
    replica: FakeReplica, watches: Watches
) -> None:
    """Given a component that is damaged, expect that every watcher that resumes is told, and that its deletion removes it."""
    replica.damaged = {"bad": Damage(StoreCorruptError("bad", key="k"), 5.0)}
    for components, expected in (([], {"bad": 5000}), ([C], {}), (["bad"], {"bad": 5000})):
        async with watching(watches, cursor="e/10-0", components=components) as stream:
            state = (await stream.next()).state
            assert (state.first, state.last) == (True, True)
            assert {each.component: each.confirmed_time.ToMilliseconds() for each in state.damaged} == expected
            if expected:
                deletion = FeedEntry(f"{20 + len(components)}-0", "10-0", "bad", 7, is_deletion=True)
                replica.listener.applied(deletion, None, None)
                (change,) = (await stream.next()).changes
                assert (change.component.component, change.deleted) == ("bad", True)


async def test_answers_about_made_up_cursors_do_not_fill_the_memory(
    watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MOST_ANSWERS", 3)
    for number in range(20):
        async with watching(watches, cursor=f"e/1-{number}") as stream:
            assert (await stream.next()).HasField("rewind")
        assert len(watches._lost) <= 3


async def test_the_damage_of_a_component_that_a_watcher_does_not_see_changes_nothing_for_it(
    replica: FakeReplica, watches: Watches
) -> None:
    replica.damaged = {"bad": Damage(StoreCorruptError("bad", key="k"), 5.0)}
    selection = Selection(globs=(C,), sees=C.__eq__)
    asked = v1.WatchRequest(cursor=f"e{selection.mark}/10-0")
    async with aclosing(watches.stream(asked, selection)) as messages:
        message = await Stream(messages).next()
        assert not message.HasField("state")
        assert message.HasField("heartbeat")


class Clock:
    """Both clocks, in seconds. The store's one began earlier."""

    def __init__(self, replica: FakeReplica, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(replica, "likely_ms", lambda: round(self.now_s * 1000))

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(replica: FakeReplica, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(replica, monkeypatch)


@pytest.fixture
def timed(replica: FakeReplica, clock: Clock) -> Watches:
    made = Watches(cast("Replica", replica), monotonic=clock)
    replica.reload("10-0")
    return made


async def test_the_age_of_the_slowest_watcher_counts_a_message_that_is_on_its_way(
    replica: FakeReplica, timed: Watches, clock: Clock
) -> None:
    """Given a caller that does not read on, expect the age to be that of the change which it has not taken."""
    async with watching(timed) as stream, watching(timed) as quick:
        for each in (stream, quick):
            await each.whole()
        replica.apply("100000-0")
        clock.now_s = 103.0
        assert timed.slowest_age_s() == 3.0
        for each in (stream, quick):
            await each.next()
        clock.now_s = 105.0
        # Whether the message was taken shows only when the next one is asked for.
        waiting = [asyncio.create_task(anext(each.messages)) for each in (quick, stream)]
        await asyncio.sleep(0)
        assert timed.slowest_age_s() == 0
        replica.apply("105000-0")
        await asyncio.gather(*waiting)
        clock.now_s = 112.0
        assert timed.slowest_age_s() == 7.0


async def test_the_age_of_the_slowest_watcher_counts_from_when_a_whole_state_is_missing(
    replica: FakeReplica, timed: Watches, clock: Clock
) -> None:
    async with watching(timed) as stream:
        first = asyncio.create_task(stream.whole())
        await first
        clock.now_s = 104.0
        assert timed.slowest_age_s() == 4.0
        waiting = asyncio.create_task(anext(stream.messages))
        await asyncio.sleep(0)
        assert timed.slowest_age_s() == 0
        replica.reload("20-0")
        clock.now_s = 110.0
        assert timed.slowest_age_s() == 6.0
        replica.reload("21-0")
        assert timed.slowest_age_s() == 6.0
        await waiting
        waiting = asyncio.create_task(anext(stream.messages))
        await asyncio.sleep(0)
        assert timed.slowest_age_s() == 0
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    assert timed.slowest_age_s() == 0


async def test_a_watcher_of_another_component_lacks_nothing(replica: FakeReplica, timed: Watches, clock: Clock) -> None:
    async with watching(timed, components=["other"], cursor="e/10-0") as stream:
        await stream.next()
        waiting = asyncio.create_task(anext(stream.messages))
        await asyncio.sleep(0)
        replica.apply("100000-0")
        clock.now_s = 103.0
        await asyncio.sleep(0.01)
        assert timed.slowest_age_s() == 0
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
