"""ListRollouts: from the copy in memory if it has everything, otherwise from the store. Both give the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest

from rampd import v1
from rampd_server.domain.rollout import commands
from rampd_server.ports import Stored
from rampd_server.replica.replica import Replica
from rampd_server.rpc import rollout_list
from rampd_server.rpc.paging import paged
from rampd_server.rpc.rollout_list import RolloutList
from rampd_server.service.service import Service
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, PatientReplica, do
from tests.contract.going_back import copied
from tests.damaging import damage
from tests.stores import StoreServer

NAMES = ("a", "b", "c", "d")


class List:
    """The list of a server whose copy looks at the store only when it is asked to."""

    def __init__(self, store: RedisStore) -> None:
        self.replica = PatientReplica(store)
        self.store = store
        self._list = RolloutList(store, self.replica, RedisOutcomes(store.link))
        self.read: list[str] = []
        """The components that were read from the store."""
        read_many = store.read_many

        def noting(components: Sequence[str]) -> AsyncIterator[tuple[str, Stored | Exception]]:
            self.read.extend(components)
            return read_many(components)

        store.read_many = noting  # type: ignore[method-assign]

    async def pages(self, size: int = 0, *, sees: str = "abcd", outcomes: bool = False) -> list[list[v1.Rollout]]:
        self.read.clear()
        found, token = [], ""
        while True:
            request = v1.ListRolloutsRequest(page_size=size, page_token=token, current_outcomes=outcomes)
            shown, token = await paged(request, self._list.rollouts(request, sees.__contains__))
            found.append(shown)
            if not token:
                return found

    async def shown(self, **options: bool) -> dict[str, v1.Rollout]:
        [page] = await self.pages(**options)
        return {rollout.component: rollout for rollout in page}


@pytest.fixture
async def listed(store: RedisStore) -> List:
    for name in NAMES:
        await do(store, commands.Release("t1"), commands.Release("t2"), component=name)
    listed = List(store)
    await listed.replica.read_again()
    return listed


async def from_store(listed: List, monkeypatch: pytest.MonkeyPatch, **options: int) -> list[list[v1.Rollout]]:
    """Returns the pages as a server lists them that has no copy it may use."""

    async def never(**_: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(listed.replica, "catch_up", never)
        return await listed.pages(**options)


async def test_a_list_comes_from_the_copy_and_equals_that_from_the_store(listed: List, monkeypatch: pytest.MonkeyPatch):
    for size in (1, 2, 3, 4, 5):
        for sees in ("abcd", "bd", ""):
            found = await listed.pages(size, sees=sees)
            assert not listed.read
            assert found == await from_store(listed, monkeypatch, size=size, sees=sees)
            # A page that is not the last one reads one component more, to know that there is another page.
            assert "".join(dict.fromkeys(listed.read)) == sees
            assert "".join(rollout.component for page in found for rollout in page) == sees


async def test_a_list_has_every_change_that_was_committed_before_it(listed: List):
    """Given changes by another writer that the copy has not followed yet, expect them, without a read of a component."""
    await do(listed.store, commands.Ramp(700), component="b")
    await do(listed.store, commands.Release("t1"), component="cc")
    found = await listed.pages(sees="a b c cc d")

    assert [rollout.component for rollout in found[0]] == ["a", "b", "c", "cc", "d"]
    assert found[0][1].next_percent == 7
    assert not listed.read


async def test_a_list_shows_outcomes_and_the_freeze_of_everything(listed: List):
    await Service(listed.store, listed.replica).freeze_all(None, ADA)
    found = await listed.shown(outcomes=True)
    assert all(rollout.frozen and rollout.HasField("current_outcomes") for rollout in found.values())


async def test_outcomes_of_many_are_read_a_few_at_a_time(listed: List, monkeypatch: pytest.MonkeyPatch):
    """Given a list with very many components, expect that they do not all begin to be read in one turn of the event loop."""
    monkeypatch.setattr(rollout_list, "_AT_ONCE", 2)
    outcomes, at_once, most = listed._list._outcomes, 0, 0
    release_counters = outcomes.release_counters

    async def counting(component: str) -> object:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return await release_counters(component)

    monkeypatch.setattr(outcomes, "release_counters", counting)
    found = await listed.shown(outcomes=True)
    assert all(each.HasField("current_outcomes") for each in found.values())
    assert (list(found), most) == (list(NAMES), 2)


async def test_a_copy_in_doubt_is_not_listed(listed: List, monkeypatch: pytest.MonkeyPatch):
    class Fails:
        def applied(self, *_: object) -> None:
            raise RuntimeError("a defect")

        def reloaded(self) -> None: ...

    listed.replica.subscribe(Fails())
    # It never catches up, so the wait is as short as in production.
    monkeypatch.setattr(listed.replica, "catch_up", partial(Replica.catch_up, listed.replica, timeout_s=1.0))
    await do(listed.store, commands.Ramp(700), component="b")
    found = await listed.shown()
    assert found["b"].next_percent == 7
    assert listed.read == list(NAMES)


async def test_only_damaged_components_are_read_from_the_store(listed: List):
    await damage(listed.store, "b", "releases", "type")
    assert not (await listed.shown())["b"].HasField("damage")  # nobody has met it

    listed.replica.doubt("b")
    await listed.replica._check_head()
    found = await listed.shown()
    assert listed.read == ["b"]
    assert list(found) == list(NAMES)
    assert found["b"] == v1.Rollout(component="b", damage=found["b"].damage)
    assert listed.store.keys.component("b").releases in found["b"].damage.key

    await listed.store.client.delete(listed.store.keys.component("b").releases)
    await damage(listed.store, "b", "everything", "gone")
    assert "is gone" in (await listed.shown())["b"].damage.problem


async def test_a_copy_with_changes_that_the_store_has_lost_is_not_listed(real_server: StoreServer, namespace: str):
    store = real_server.store(namespace)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("t1"), commands.Release("t2"), component="a")
    async with copied(real_server, store) as go_back:
        listed = List(store)
        await do(store, commands.Ramp(700), component="a")
        await listed.replica.read_again()
        assert (await listed.shown())["a"].next_percent == 7
        assert not listed.read
        await go_back()
        assert (await listed.shown())["a"].next_percent == 0
        assert listed.read == ["a"]
    await store.close()
