"""Limits on what callers create. A request beyond a limit is refused and says what to do; existing things can be changed."""

from collections.abc import AsyncIterator, Iterator

import pytest

from rampd_server.domain.errors import Reason, RefusedError
from rampd_server.domain.rollout import commands
from rampd_server.ports import Override
from rampd_server.storage import limits, scripts
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, commit, contents, decide, do
from tests.stores import StoreServer

CURRENT, NEXT = Override(channel="CURRENT"), Override(channel="NEXT")


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives the scripts limits of three."""
    monkeypatch.setattr(limits, "MAX_COMPONENTS", 3)
    monkeypatch.setattr(limits, "MAX_OVERRIDES", 3)
    scripts.script.cache_clear()
    yield
    scripts.script.cache_clear()


@pytest.fixture
async def small(server: StoreServer, namespace: str, _few: None) -> AsyncIterator[RedisStore]:
    store = server.store(namespace)
    store.set_epoch(await store.begin_epoch(adopted=False))
    await do(store, commands.Release("a"))
    yield store
    await store.close()


async def test_overrides_beyond_the_limit_are_all_refused_and_existing_ones_can_be_changed(small: RedisStore):
    await small.commit_overrides(COMPONENT, dict.fromkeys(("a/1", "a/2"), CURRENT), ADA)
    before = await contents(small)

    with pytest.raises(RefusedError, match=r"more than 3 overrides\. Delete some with BatchSetOverrides") as caught:
        await small.commit_overrides(COMPONENT, dict.fromkeys(("a/2", "a/3", "a/4"), NEXT), ADA)

    assert (caught.value.reason, caught.value.metadata) == (Reason.TOO_LARGE, {"limit": "3"})
    assert await contents(small) == before
    await small.commit_overrides(COMPONENT, {"a/3": NEXT}, ADA)
    await small.commit_overrides(COMPONENT, dict.fromkeys(("a/1", "a/2", "a/3"), NEXT), ADA)
    await small.commit_overrides(COMPONENT, {"a/4": NEXT, "a/1": None}, ADA)
    assert [listed.repo for listed in await small.list_overrides(COMPONENT, prefix="", after="", limit=9)] == [
        "a/2",
        "a/3",
        "a/4",
    ]


async def test_a_component_beyond_the_limit_is_refused_and_existing_ones_continue(small: RedisStore):
    for component in ("b", "c"):
        await do(small, commands.Release("a"), component=component)
    before = await contents(small)

    with pytest.raises(
        RefusedError, match=r"3 components already, so there is no room for d\. .*DeleteComponent"
    ) as caught:
        await do(small, commands.Release("a"), component="d")

    assert (caught.value.reason, caught.value.metadata) == (Reason.TOO_LARGE, {"limit": "3"})
    assert await contents(small) == before
    await do(small, commands.Release("b"), component="c")
    stored = await small.read("b")
    await commit(small, stored.rollout, decide(stored.rollout, commands.DeleteComponent()))
    await do(small, commands.Release("a"), component="d")
    assert await small.components(limit=9) == ["c", "d", COMPONENT]
