"""A store that has an older copy of its data is told from one that a failover has put back, and refused until somebody adopts it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rampd_server.domain.errors import StoreResetError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import SELF, Anchor, Author, Override
from rampd_server.replica.last_state_keeper import LastStateKeeper
from rampd_server.replica.older_copy import MAX_LOSS_S
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.last_state import LastStateFile
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, contents, do
from tests.contract.going_back import GoBack, copied
from tests.stores import StoreServer

OTHER = "formatter"


class Clock:
    """A monotonic clock that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Follower:
    """A server that looks at the store when a test says so."""

    def __init__(self, store: RedisStore) -> None:
        self.clock = Clock()
        self.store = store
        self.replica = Replica(store, monotonic=self.clock)
        self.service = Service(store, self.replica)

    async def look(self, after_s: float = 0) -> None:
        """Looks at the store some time after the last look."""
        self.clock.now_s += after_s
        await self.replica._check_head()

    async def run(self, *verbs: commands.Command) -> None:
        for verb in verbs:
            await self.service.execute(COMPONENT, verb, ADA)

    @property
    def rollout(self) -> Rollout:
        known = self.replica.get(COMPONENT)
        assert known is not None
        return known.rollout


@pytest.fixture
async def store(real_server: StoreServer, namespace: str) -> AsyncIterator[RedisStore]:
    store = real_server.store(namespace)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(2000))
    await do(store, commands.Release("a"), component=OTHER)
    yield store
    await store.close()


@pytest.fixture
async def go_back(real_server: StoreServer, store: RedisStore) -> AsyncIterator[GoBack]:
    """Puts back the data of before the follower's first look."""
    async with copied(real_server, store) as put_back:
        yield put_back


@pytest.fixture
async def follower(go_back: GoBack, store: RedisStore) -> Follower:
    follower = Follower(store)
    await follower.look()
    return follower


@pytest.fixture
async def refused(follower: Follower, go_back: GoBack) -> Follower:
    """A follower that has just found an older copy: it lacks a Ramp of over a minute ago."""
    await follower.run(commands.Ramp(3000))
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S)
    await go_back()
    with pytest.raises(StoreResetError):
        await follower.look(after_s=1)
    return follower


async def recorded_losses(store: RedisStore) -> list[str]:
    return [event.action for event in await store.events(COMPONENT, limit=10) if event.actor == SELF]


async def test_a_loss_of_a_change_that_the_store_had_for_long_is_an_older_copy(
    follower: Follower, go_back: GoBack, store: RedisStore
):
    await follower.run(commands.Ramp(3000))
    change = follower.rollout
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S)
    await go_back()
    before = await contents(store)
    with pytest.raises(StoreResetError) as caught:
        await follower.look(after_s=1)

    assert f"the change {change.entry} of {COMPONENT} is missing" in caught.value.message
    assert "rampd-server adopt" in caught.value.message
    assert caught.value.metadata == dict.fromkeys(("believed", "found"), follower.replica.epoch)
    assert follower.rollout == change
    assert await contents(store) == before


@pytest.mark.parametrize("away_s", [0, 10 * MAX_LOSS_S])
async def test_a_loss_of_younger_changes_is_a_failover_however_long_the_store_was_away(
    follower: Follower, go_back: GoBack, store: RedisStore, away_s: float
):
    await follower.look(after_s=10 * MAX_LOSS_S)
    await follower.run(commands.Ramp(3000))
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S - 1)
    await go_back()
    await follower.look(after_s=away_s)

    assert await recorded_losses(store) == ["RecordLoss"]
    assert follower.rollout.basis_points == 2000


async def test_nothing_is_written_to_an_older_copy(refused: Follower, store: RedisStore):
    """Given a store with an older copy, expect that neither a verb nor a task writes to it, and that no read shows it."""
    before = await contents(store)
    for attempt in (
        refused.service.execute(COMPONENT, commands.Ramp(5000), ADA),
        refused.service.execute(OTHER, commands.Release("b"), ADA),
        refused.service.set_overrides(COMPONENT, {"acme/app": Override(tag="x")}, ADA),
        refused.service.freeze_all(None, ADA),
        refused.replica.has_lost(refused.rollout.entry),
        store.sweep_overrides(COMPONENT),
        store.read(COMPONENT),
    ):
        with pytest.raises(StoreResetError):
            await attempt
    assert not await refused.replica.catch_up(is_exact=True)
    assert await contents(store) == before
    assert refused.rollout.basis_points == 3000


async def test_an_adopt_ends_the_refusal(refused: Follower, store: RedisStore):
    with pytest.raises(StoreResetError):
        await refused.look(after_s=1)
    await store.begin_epoch(adopted=True)
    await refused.look(after_s=1)

    assert refused.rollout.basis_points == 2000
    assert refused.rollout.revision > 4  # no number is used twice
    await refused.run(commands.Ramp(5000))
    assert refused.rollout.basis_points == 5000


async def test_the_right_data_end_the_refusal(
    follower: Follower, go_back: GoBack, real_server: StoreServer, store: RedisStore
):
    """Given an older copy in place of the data, expect that the server goes on once the data are back."""
    await follower.run(commands.Ramp(3000))
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S)
    async with copied(real_server, store) as put_right:
        await go_back()
        with pytest.raises(StoreResetError):
            await follower.look(after_s=1)
        await put_right()
        await follower.look(after_s=1)

    assert not await recorded_losses(store)
    await follower.run(commands.Ramp(5000))
    assert follower.rollout.basis_points == 5000


async def test_a_server_that_was_started_again_refuses_an_older_copy(
    follower: Follower, go_back: GoBack, store: RedisStore, tmp_path: Path
):
    await follower.run(commands.Ramp(3000))
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S)
    kept = LastStateFile(tmp_path, "here", "default")
    await LastStateKeeper(follower.replica, kept).end()
    await go_back()

    started = Follower(store)
    LastStateKeeper(started.replica, kept).recall()
    head = await store.head()
    assert head is not None
    with pytest.raises(StoreResetError):
        await started.replica.require_same_copy(head)
    with pytest.raises(StoreResetError):
        await started.look()
    with pytest.raises(StoreResetError):
        await store.read(COMPONENT)
    assert started.rollout == follower.rollout

    await store.begin_epoch(adopted=True)
    await started.look()
    assert started.rollout.basis_points == 2000


async def test_the_anchor_moves_on_with_the_changes_of_components_only(
    follower: Follower, store: RedisStore, tmp_path: Path
):
    """Given a freeze of everything and a sweep, which are in no history of a component, expect the change before them."""
    kept = LastStateFile(tmp_path, "here", "default")

    async def anchor() -> Anchor | None:
        await follower.look()
        await follower.look(after_s=MAX_LOSS_S)
        await LastStateKeeper(follower.replica, kept).end()
        state = kept.read()
        assert state is not None
        return state.about.anchor

    last = (await store.read(OTHER)).rollout.entry
    assert await anchor() == Anchor(OTHER, last)
    await follower.run(commands.Ramp(3000))
    entry = follower.rollout.entry
    assert await anchor() == Anchor(COMPONENT, entry)
    now_ms = (await store.read(COMPONENT)).time_ms
    await store.commit_overrides(COMPONENT, {"acme/app": Override(tag="x", expire_ms=now_ms - 10**9)}, ADA)
    pinned = (await store.read(COMPONENT)).rollout.entry
    await follower.service.freeze_all(None, Author("ada", "Freeze"))
    assert await store.sweep_overrides(COMPONENT)
    assert await anchor() == Anchor(COMPONENT, pinned)


@pytest.mark.parametrize("gone", ["feed", "history"])
async def test_a_deleted_feed_or_a_deleted_history_is_no_older_copy(follower: Follower, store: RedisStore, gone: str):
    await follower.run(commands.Ramp(3000))
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S)
    await store.client.delete(store.keys.feed if gone == "feed" else store.keys.component(COMPONENT).history)
    await follower.replica.read_again()
    assert follower.rollout.basis_points == 3000


async def test_an_anchor_of_another_epoch_does_not_count(follower: Follower, go_back: GoBack, store: RedisStore):
    await follower.run(commands.Ramp(3000))
    await follower.look()
    await follower.look(after_s=MAX_LOSS_S)
    await go_back()
    await store.begin_epoch(adopted=True)
    await follower.look(after_s=1)
    await follower.replica.read_again()
    assert follower.rollout.basis_points == 2000


async def test_a_new_server_takes_the_store_as_it_is_for_the_first_minute(
    follower: Follower, go_back: GoBack, store: RedisStore
):
    """Given a server that has not known the store for long, expect that it follows and says what it knows to be lost."""
    await follower.run(commands.Ramp(3000))
    started = Follower(store)
    await started.look()
    await go_back()
    await started.look(after_s=1)
    assert await recorded_losses(store) == ["RecordLoss"]
