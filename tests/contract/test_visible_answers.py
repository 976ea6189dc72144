"""What an answer tells is visible on its own server before it answers, also if the answer needed no write, because another server made
the change a moment ago.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.ports import Namespace, Override
from rampd_server.replica.replica import Replica
from rampd_server.service.service import Answer, Service
from rampd_server.storage.store import RedisStore
from tests.contract.driving import ADA, COMPONENT, do
from tests.contract.test_freezes import following

DRY = replace(ADA, is_dry_run=True)
PINNED = {"acme/app": Override(tag="t")}
REPEATED = replace(ADA, request_id="7", digest="d")


@pytest.fixture
async def behind(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replica]:
    """A copy that gets no entries of the feed by itself."""
    await do(store, commands.Release("a"), commands.Release("b"), commands.Ramp(100))
    feed = store.feed

    async def waits(after: str, *, block_ms: int) -> Any:
        return await (feed(after, block_ms=0) if block_ms == 0 else asyncio.Event().wait())

    monkeypatch.setattr(store, "feed", waits)
    async with following(store) as replica:
        yield replica


def rollout(replica: Replica) -> Rollout:
    known = replica.get(COMPONENT)
    assert known is not None
    return known.rollout


async def test_a_change_that_another_server_has_made_is_visible_with_the_answer(store: RedisStore, behind: Replica):
    await do(store, commands.Ramp(0))
    assert rollout(behind).basis_points == 100

    answer = await Service(store, behind).execute(COMPONENT, commands.Ramp(0), ADA)

    assert not answer.result.changed
    assert rollout(behind).basis_points == 0


async def test_an_override_that_another_server_has_set_is_visible_with_the_answer(store: RedisStore, behind: Replica):
    await store.commit_overrides(COMPONENT, PINNED, ADA)

    answer = await Service(store, behind).set_overrides(COMPONENT, PINNED, ADA)

    assert not answer.result.changed
    known = behind.get(COMPONENT)
    assert known is not None
    assert known.overrides


async def test_the_end_of_a_freeze_that_another_server_has_ended_is_visible_with_the_answer(
    store: RedisStore, behind: Replica
):
    frozen = Namespace(Freeze("ada", "", 0))
    await store.commit_namespace(Namespace(), frozen, ADA)
    await behind.read_again()
    assert behind.namespace.freeze is not None
    await store.commit_namespace(frozen, Namespace(), ADA)

    await Service(store, behind).unfreeze_all(ADA)

    assert behind.namespace.freeze is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda service: service.execute(COMPONENT, commands.Ramp(0), REPEATED),
        lambda service: service.set_overrides(COMPONENT, PINNED, REPEATED),
        lambda service: service.freeze_all(None, REPEATED),
    ],
    ids=["verb", "overrides", "freeze"],
)
async def test_a_change_whose_answer_is_repeated_by_another_server_is_visible_there(
    store: RedisStore, behind: Replica, ask: Callable[[Service], Awaitable[Answer]]
):
    async with following(store) as other:
        await ask(Service(store, other))
    at = (await store.head()).entry_id

    answer = await ask(Service(store, behind))

    assert answer.is_replayed
    assert await behind.wait_for_entry(at, timeout_s=0)


async def test_a_dry_run_waits_for_nothing(store: RedisStore, behind: Replica, monkeypatch: pytest.MonkeyPatch):
    await do(store, commands.Ramp(0))

    async def fails(*_what: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(behind, "wait_for_change", fails)
    assert not (await Service(store, behind).execute(COMPONENT, commands.Ramp(0), DRY)).result.changed
