"""The freeze of a namespace as servers see it. The removal of an expired freeze looks at the freeze that is stored now."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Freeze, Rollout, RolloutState
from rampd_server.domain.wording import moment
from rampd_server.ports import Author, Head, Namespace
from rampd_server.process.long_work import in_pieces
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.store import RedisStore
from tests.contract.driving import COMPONENT, PatientReplica
from tests.contract.driving import do as made
from tests.in_background import in_background
from tests.rollouts import NOW
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S

ADA, BOB = Author("ada", "Freeze", "deploys"), Author("bob", "Freeze", "longer")
HOUR_MS = 3_600_000


@contextlib.asynccontextmanager
async def following(
    store: RedisStore, begin: Callable[[Replica], None] = lambda _replica: None
) -> AsyncIterator[Replica]:
    """Yields the copy of a server that follows the store while the block lasts. `begin` comes before it does."""
    replica = PatientReplica(store)
    begin(replica)
    async with in_background(replica.run()):
        async with asyncio.timeout(PATIENCE_S):
            await replica.loaded.wait()
        yield replica


@pytest.fixture
async def other(store: RedisStore, server: StoreServer, namespace: str) -> AsyncIterator[Service]:
    """Another server that follows the namespace."""
    own = server.store(namespace)
    async with following(own) as replica:
        yield Service(own, replica)
    await own.close()


@pytest.fixture
async def behind(store: RedisStore, other: Service) -> Replica:
    """The copy of a server that saw a freeze. The freeze has expired since, and the server has read nothing later."""
    await store.commit_namespace(Namespace(), Namespace(Freeze("ada", "deploys", NOW, NOW + 1)), ADA)
    async with following(store) as replica:
        pass
    return replica


async def freeze_of(store: RedisStore) -> Freeze | None:
    head = await store.head()
    assert head is not None
    return head.namespace.freeze


async def test_an_expired_freeze_is_removed(store: RedisStore, behind: Replica):
    await Service(store, behind).expire_freeze_all()

    assert await freeze_of(store) is None
    newest, _ = await store.events("", limit=10)
    assert (newest.actor, newest.action, newest.note) == ("rampd", "Unfreeze", "the freeze has ended")


@pytest.mark.parametrize("expires_in_ms", [None, 3_600_000])
async def test_a_server_that_is_behind_does_not_remove_a_prolonged_freeze(
    store: RedisStore, other: Service, behind: Replica, expires_in_ms: int | None
):
    expire_ms = expires_in_ms and behind.now_ms() + expires_in_ms
    end = "" if expire_ms is None else f" until {moment(expire_ms)}"
    assert (await other.freeze_all(expire_ms, BOB)).message == f"All components are frozen now{end}."
    again = await other.freeze_all(expire_ms, ADA)
    assert again.message == f"All components are frozen{end}, as before; nothing changed."

    await Service(store, behind).expire_freeze_all()

    freeze = await freeze_of(store)
    assert freeze is not None
    assert (freeze.actor, freeze.expire_ms) == ("bob", expire_ms)


async def test_a_freeze_of_all_says_which_freeze_it_replaces(store: RedisStore, other: Service):
    await other.freeze_all(None, ADA)
    head = await store.head()
    assert head is not None
    expire_ms = head.time_ms + HOUR_MS

    message = (await other.freeze_all(expire_ms, BOB)).message

    assert (
        message
        == f"All components are frozen now until {moment(expire_ms)}. This replaces the freeze by ada without an end."
    )


async def test_a_freeze_of_all_names_what_it_stops_and_its_end_what_it_starts(store: RedisStore):
    """Given rollouts that rise, and others that do not, expect the same sentence of the dry run and of the change."""
    dry = Author("ada", "Freeze", "", is_dry_run=True)
    async with following(store) as replica:
        service = Service(store, replica)

        async def do(component: str, *made: commands.Command) -> None:
            for command in made:
                await service.execute(component, command, ADA)

        first, second, third = (commands.Release(tag) for tag in ("1", "2", "3"))
        await do("moves", first, second, commands.Ramp(1000))
        await do("held", first, second, commands.Rollback())
        await do("paused", first, second, commands.Pause())
        await do("frozen", first, second, commands.Freeze(None))
        await do("steady", first)
        stops = "All components are frozen now. This stops 1 rollout: moves (2 at 10 %)."
        assert [(await service.freeze_all(None, author)).message for author in (dry, ADA)] == [stops, stops]
        await do("steady", second, third)
        await do("frozen", commands.Abandon(), third)

        starts = "There is no freeze of all components now. This starts 1 release at 0 %: steady (2). This lets 1 rollout go on: moves (2 at 10 %)."
        assert [(await service.unfreeze_all(author)).message for author in (dry, ADA)] == [starts, starts]
        stored = (await store.read("steady")).rollout
        assert isinstance(stored, Rollout)
        assert stored.next_release is not None


async def test_a_freeze_of_all_and_its_end_go_through_all_components_in_pieces(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a namespace that may have thousands of components, expect that other calls have their turn in between."""
    walks: list[int] = []

    def noting(components: Sequence[Any]) -> AsyncIterator[Any]:
        walks.append(len(components))
        return in_pieces(components)

    monkeypatch.setattr("rampd_server.service.service.in_pieces", noting)
    async with following(store) as replica:
        service = Service(store, replica)
        for component in ("a", "b"):
            await service.execute(component, commands.Release("1"), ADA)
        await service.freeze_all(None, ADA)
        assert walks == [2]
        await service.unfreeze_all(ADA)
    assert walks == [2, 2, 2]


async def test_a_freeze_of_all_names_ten_and_counts_the_others(store: RedisStore):
    async with following(store) as replica:
        service = Service(store, replica)
        for number in range(12):
            for tag in ("1", "2"):
                await service.execute(f"c{number:02}", commands.Release(tag), ADA)

        message = (await service.freeze_all(None, ADA)).message

    named = ", ".join(f"c{number:02} (2 at 0 %)" for number in range(10))
    assert message == f"All components are frozen now. This stops 12 rollouts: {named} and 2 more."


async def test_a_freeze_that_is_prolonged_during_its_removal_stays(
    store: RedisStore, other: Service, behind: Replica, monkeypatch: pytest.MonkeyPatch
):
    """Given that somebody prolongs it between the server's look at the store and its write, expect their freeze to stay."""
    read_head, told = store.head, []

    async def head() -> Head | None:
        found = await read_head()
        if not told:
            told.append((await other.freeze_all(None, BOB)).message)
        return found

    monkeypatch.setattr(store, "head", head)
    await Service(store, behind).expire_freeze_all()

    assert told == ["All components are frozen now."]
    freeze = await freeze_of(store)
    assert freeze is not None
    assert freeze.actor == "bob"


async def test_the_head_of_the_queue_does_not_start_because_this_server_has_a_wrong_time(store: RedisStore):
    """Given a store whose clock was set back after this server read it, expect that a freeze ends by the store's clock."""
    async with following(store) as replica:
        service = Service(store, replica)
        for command in (commands.Release("a"), commands.Freeze(replica.now_ms() + HOUR_MS), commands.Release("b")):
            await service.execute(COMPONENT, command, ADA)
    assert replica._clock.ahead_ms is not None
    replica._clock.ahead_ms += 2 * HOUR_MS

    left = await service.settle_all()

    assert "changed its clock" in left[COMPONENT]
    stored = (await store.read(COMPONENT)).rollout
    assert isinstance(stored, Rollout)
    assert (stored.state, stored.freeze is None, len(stored.queue)) == (RolloutState.STEADY, False, 1)

    await replica._check_head()
    assert await service.settle_all() == {}


async def test_the_head_of_the_queue_starts_once_the_freeze_has_ended_by_the_clock_of_the_store(store: RedisStore):
    # It was in force when b was released.
    await made(store, commands.Release("a"), commands.Freeze(NOW + 1), commands.Release("b"))
    async with following(store) as replica:
        service = Service(store, replica)

        async with asyncio.timeout(PATIENCE_S):
            # If the machine stands still for a second, the change comes too late, and is tried again.
            while await service.settle_all():
                pass

        stored = (await store.read(COMPONENT)).rollout
        assert isinstance(stored, Rollout)
        assert (stored.state, stored.freeze, stored.queue) == (RolloutState.ROLLING_OUT, None, ())


async def test_a_freeze_in_force_is_checked_without_the_store(store: RedisStore, monkeypatch: pytest.MonkeyPatch):
    async with following(store) as replica:
        service = Service(store, replica)
        await service.freeze_all(replica.now_ms() + 3_600_000, ADA)
    monkeypatch.setattr(store, "head", None)

    await service.expire_freeze_all()
