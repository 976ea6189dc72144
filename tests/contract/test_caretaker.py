"""The work that time causes is done once, in time, and what is at rest costs nothing."""

import asyncio
from collections.abc import Collection
from itertools import pairwise

import pytest

from rampd_server import caretaker as module
from rampd_server.caretaker import Caretaker
from rampd_server.domain.errors import ShardUnavailableError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Trial
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout, RolloutState
from rampd_server.ports import Override
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Service
from rampd_server.storage.limits import SWEEP_AFTER_MS
from rampd_server.storage.store import RedisStore
from tests.automation import World, servers
from tests.contract.driving import ADA, COMPONENT, PatientReplica
from tests.contract.test_freezes import following
from tests.in_background import in_background
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S


class Forgetful:
    """Outcomes that only remember which components were tidied. `meanwhile` happens while the store is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Trial]] = []
        self.fails = False
        self.away: set[str] = set()
        """The components on a shard that is away."""
        self.meanwhile: commands.Command | None = None
        self.service: Service | None = None

    async def forget_outcomes(
        self, component: str, trial: Trial, *, last_number: int = 0, releases: Collection[int] = ()
    ) -> None:
        if self.fails:
            raise StoreUnavailableError("away")
        if component in self.away:
            raise ShardUnavailableError("away")
        self.asked.append((component, trial))
        if self.meanwhile is not None and self.service is not None:
            command, self.meanwhile = self.meanwhile, None
            await self.service.execute(component, command, ADA)

    @property
    def components(self) -> list[str]:
        return [component for component, _ in self.asked]


async def do(service: Service, *steps: commands.Command, component: str = COMPONENT) -> None:
    for step in steps:
        await service.execute(component, step, ADA)


def commands_of(store: RedisStore) -> dict[tuple[str, ...], int]:
    """Returns how often each command was sent, without those that follow the feed."""
    following_it = ({"hmget"}, {"xread"})
    return {labels: number for labels, number in store.link.counts.commands.items() if set(labels) not in following_it}


def made(store: RedisStore, replica: Replica) -> tuple[Caretaker, Service, Forgetful]:
    service, outcomes = Service(store, replica), Forgetful()
    outcomes.service = service
    return Caretaker(service, replica, store, outcomes), service, outcomes


async def test_components_at_rest_cost_no_command(store: RedisStore):
    """Given rollouts that are under way, steady, frozen, and with overrides, expect nothing of two looks in a row."""
    async with following(store) as replica:
        caretaker, service, _ = made(store, replica)
        await do(service, commands.Release("a"), commands.Release("b"), commands.Ramp(1000))
        await do(service, commands.Release("a"), component="steady")
        await do(service, commands.Release("a"), component="frozen")
        await do(service, commands.Freeze(replica.now_ms() + 3_600_000), component="frozen")
        lasting = Override(channel="CURRENT", expire_ms=replica.now_ms() + 3_600_000)
        await service.set_overrides("steady", {"acme/app": lasting, "acme/*": lasting}, ADA)
        for _ in range(3):
            await caretaker._look(is_sweep=False)
        before = commands_of(store)

        for is_sweep in (False, True):
            await caretaker._look(is_sweep=is_sweep)

        assert commands_of(store) == before
        assert (caretaker._unsettled, caretaker._untidy, caretaker._old) == (set(), {}, set())


async def test_the_head_of_the_queue_starts_when_the_freeze_of_its_component_ends(server: StoreServer, namespace: str):
    """Expect it also if the freeze was made longer since somebody first looked."""
    world = World()
    async with servers(server, namespace, world) as [one]:
        caretaker = Caretaker(one.service, one.replica, one.store, Forgetful())
        first_ms, end_ms = world.store_ms + 20_000, world.store_ms + 30_000
        await one.do(commands.Release("a"), commands.Freeze(first_ms), commands.Release("b"))
        await caretaker._look(is_sweep=False)
        await one.do(commands.Freeze(end_ms))
        await caretaker._look(is_sweep=False)
        for passes_ms, is_frozen in ((25_000, True), (4_000, True), (2_000, False)):
            world.pass_ms(passes_ms)
            await one.refresh()
            await caretaker._look(is_sweep=False)
            assert (one.rollout().freeze is not None) is is_frozen

        stored = (await one.store.read(COMPONENT)).rollout
        assert isinstance(stored, Rollout)
        assert (stored.state, stored.freeze) == (RolloutState.ROLLING_OUT, None)
        assert caretaker._freezes == []


async def test_a_freeze_that_is_in_force_again_after_the_clock_was_set_back_ends_at_its_time(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    async with following(store) as replica:
        caretaker, service, _ = made(store, replica)
        expire_ms = replica.now_ms() + 3_600_000
        await do(service, commands.Release("a"), commands.Freeze(expire_ms), commands.Release("b"))
        await caretaker._look(is_sweep=False)
        with monkeypatch.context() as patched:
            patched.setattr(replica, "now_ms", lambda: expire_ms + 1)
            patched.setattr(service, "settle_all", lambda _components: asyncio.sleep(0, {}))
            await caretaker._look(is_sweep=False)

        await caretaker._look(is_sweep=False)
        assert caretaker._freezes == [(expire_ms, COMPONENT)]


async def test_counts_are_tidied_when_a_trial_ends_and_when_a_component_is_deleted(store: RedisStore):
    async with following(store) as replica:
        caretaker, service, outcomes = made(store, replica)
        await do(service, commands.Release("a"), commands.Release("b"), commands.Ramp(1000))
        await caretaker._look(is_sweep=False)
        await caretaker._look(is_sweep=False)
        outcomes.asked.clear()
        await do(service, commands.Ramp(2000))
        await caretaker._look(is_sweep=False)
        assert outcomes.asked == []

        await do(service, commands.Finalize())
        await caretaker._look(is_sweep=False)
        assert [trial[:2] for _, trial in outcomes.asked] == [(2, 0)]

        await do(service, commands.DeleteComponent())
        outcomes.fails = True
        with pytest.raises(StoreUnavailableError):
            await caretaker._look(is_sweep=False)
        outcomes.fails = False
        await caretaker._look(is_sweep=False)
        assert [trial[:2] for _, trial in outcomes.asked[1:]] == [(0, 0)]
        await caretaker._look(is_sweep=False)
        assert (len(outcomes.asked), caretaker._untidy) == (2, {})


async def test_a_shard_that_is_away_keeps_no_other_counts_from_being_tidied(store: RedisStore):
    """Given two components on a shard that is away and two that are not, expect that these are tidied, and the others later."""
    names = ["away1", "away2", "b1", "b2"]
    async with following(store) as replica:
        caretaker, service, outcomes = made(store, replica)
        outcomes.away = {"away1", "away2"}
        for name in names:
            await do(service, commands.Release("a"), component=name)
        for _ in names:
            await caretaker._look(is_sweep=False)
        assert {"b1", "b2"} <= set(outcomes.components) < set(names)
        assert set(caretaker._untidy) == outcomes.away
        outcomes.away = set()
        for _ in range(2):
            await caretaker._look(is_sweep=False)
        assert set(outcomes.components) == set(names)
        assert not caretaker._untidy


async def test_a_trial_that_ends_while_counts_are_tidied_is_tidied_too(store: RedisStore):
    async with following(store) as replica:
        caretaker, service, outcomes = made(store, replica)
        await do(service, commands.Release("a"), commands.Release("b"), commands.Ramp(1000))
        await caretaker._look(is_sweep=False)
        outcomes.asked.clear()
        outcomes.meanwhile = commands.Finalize()
        await do(service, commands.Rollback())
        await do(service, commands.Ramp(1000))
        for _ in range(3):
            await caretaker._look(is_sweep=False)

        assert [trial[:2] for _, trial in outcomes.asked] == [(2, 2), (2, 0)]
        assert not caretaker._untidy


async def test_a_server_that_starts_tidies_a_few_components_at_a_time_and_none_that_is_under_way(store: RedisStore):
    async with following(store) as replica:
        _, service, _ = made(store, replica)
        await do(service, commands.Release("a"), commands.Release("b"))
        for number in range(5):
            await do(service, commands.Release("a"), component=f"steady{number}")
        caretaker, _, outcomes = made(store, replica)

        tidied = []
        for _ in range(5):
            await caretaker._look(is_sweep=False)
            tidied.append(len(outcomes.asked))

        assert max(later - earlier for earlier, later in pairwise(tidied)) <= 2
        assert sorted(outcomes.components) == [f"steady{number}" for number in range(5)]


async def test_counts_of_a_component_that_is_deleted_right_after_a_reading_of_everything_are_dropped(store: RedisStore):
    """Given a deletion before the caretaker has taken in the component, which it does piece by piece, expect that it is tidied."""
    async with following(store) as replica:
        _, service, _ = made(store, replica)
        for name in ("a", "b"):
            await do(service, commands.Release("a"), component=name)
        caretaker, _, outcomes = made(store, replica)
        for known in (caretaker._old, caretaker._seen, caretaker._untidy):
            known.clear()
        pieces = caretaker.reloaded()
        next(pieces)
        await do(service, commands.DeleteComponent(), component="b")
        await caretaker._look(is_sweep=False)
        for _ in pieces:
            pass
        await caretaker._look(is_sweep=False)
        assert outcomes.components.count("b") == 1
        await caretaker._look(is_sweep=False)
        assert outcomes.components.count("b") == 1


async def test_a_server_that_starts_sweeps_once_the_store_has_confirmed_its_state(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
):
    """Given a state of before the start, which is not confirmed before all listeners have done their work, expect no wait of an hour."""
    answers, sweeps, twice = [False, False], list[bool](), asyncio.Event()

    async def look(*, is_sweep: bool) -> None:
        sweeps.append(is_sweep)
        if len(sweeps) == 2:
            twice.set()

    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    async with following(store) as replica:
        caretaker, _, _ = made(store, replica)
        monkeypatch.setattr(caretaker, "_look", look)
        monkeypatch.setattr(PatientReplica, "is_confirmed", property(lambda _: not answers or answers.pop()))
        async with in_background(caretaker.run()), asyncio.timeout(PATIENCE_S):
            await twice.wait()
    assert sweeps[:2] == [True, False]


async def test_only_a_component_with_an_expired_override_is_swept(store: RedisStore):
    async with following(store) as replica:
        caretaker, service, _ = made(store, replica)
        for name in ("lasting", "expired", "prefix"):
            await do(service, commands.Release("a"), component=name)
        now_ms = replica.now_ms()
        for name, repo, by_ms in (("lasting", "a/a", SWEEP_AFTER_MS), ("expired", "a/a", -SWEEP_AFTER_MS - 1)):
            await store.commit_overrides(name, {repo: Override(channel="CURRENT", expire_ms=now_ms + by_ms)}, ADA)
        past = Override(channel="CURRENT", expire_ms=now_ms - SWEEP_AFTER_MS - 1)
        await store.commit_overrides("prefix", {"a/*": past}, ADA)
        assert await replica.catch_up()

        await caretaker._look(is_sweep=True)

        left = {
            name: await store.list_overrides(name, prefix="", after="", limit=9)
            for name in ("lasting", "expired", "prefix")
        }
        assert {name: len(found) for name, found in left.items()} == {"lasting": 1, "expired": 0, "prefix": 0}
        assert dict(store.link.counts.commands.items())[("sweep_overrides",)] == 4
