"""ListRollouts: from the copy in memory if it has everything, otherwise from the store. Both give the same."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest

from rampd import v1
from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import Namespace, Stored
from rampd_server.replica.replica import Replica
from rampd_server.rpc import kept_messages
from rampd_server.rpc.messages.convert import rollout_message
from rampd_server.rpc.paging import paged
from rampd_server.rpc.rollout_list import RolloutList
from rampd_server.service.service import Service
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, PatientReplica, commit, decide, do
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

    async def shown(self, **options: Any) -> dict[str, v1.Rollout]:
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


async def test_outcomes_of_many_are_read_in_one_exchange(listed: List):
    def exchanges() -> int:
        return dict(listed.store.link.counts.commands.items()).get(("hgetall",), 0)

    before = exchanges()
    found = await listed.shown(outcomes=True)
    assert all(each.HasField("current_outcomes") for each in found.values())
    assert (list(found), exchanges() - before) == (list(NAMES), 1)


async def test_a_list_is_shown_though_no_outcomes_can_be_read(listed: List, monkeypatch: pytest.MonkeyPatch):
    async def away(_keys: Sequence[str]) -> list[object]:
        raise StoreUnavailableError("Redis is away.")

    monkeypatch.setattr(listed.store.link, "read_hashes", away)
    found = await listed.shown(outcomes=True)
    assert {name: each.HasField("current_outcomes") for name, each in found.items()} == dict.fromkeys(NAMES, False)


async def test_a_message_is_made_once_and_again_after_a_change(listed: List, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []

    def noting(rollout: Rollout, namespace: Namespace, now_ms: int) -> v1.Rollout:
        made.append(rollout.component)
        return rollout_message(rollout, namespace, now_ms)

    monkeypatch.setattr(kept_messages, "rollout_message", noting)
    first = await listed.shown()
    for size in (0, 1, 2):
        assert [each for page in await listed.pages(size) for each in page] == list(first.values())
    assert made == list(NAMES)

    made.clear()
    await do(listed.store, commands.Ramp(700), component="b")
    assert (await listed.shown())["b"].next_percent == 7
    assert made == ["b"]


async def test_components_that_come_and_go_are_listed_in_their_place(listed: List):
    await listed.shown(sees="abcd")
    stored = (await listed.store.read("b")).rollout
    await commit(listed.store, stored, decide(stored, commands.DeleteComponent()))
    await do(listed.store, commands.Release("t1"), component="cc")
    assert list(await listed.shown(sees="a b c cc d")) == ["a", "c", "cc", "d"]
    await do(listed.store, commands.Release("t1"), component="b")
    await listed.replica.read_again()
    assert list(await listed.shown(sees="a b c cc d")) == ["a", "b", "c", "cc", "d"]
    assert not listed.read


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
