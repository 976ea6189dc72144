"""Fills a store with many components, one of which has many overrides."""

import asyncio

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Author, Namespace, Override, Result
from rampd_server.storage.store import RedisStore
from tests.rollouts import NOW

LARGE = "c0000"
"""The component with the overrides."""
LASTING_MS = 4_000_000_000_000
BATCH = 1000
OWNERS = 5_000
_AT_ONCE = 50
ADA = Author("ada", "BatchSetOverrides")


def component(number: int) -> str:
    return f"c{number:04}"


def repo(number: int) -> str:
    """Returns a name as it occurs in practice: each owner has many repos."""
    return f"owner-{number % OWNERS:04}/repo-{number:07}"


def override(number: int) -> Override:
    """Returns an override. Its kind depends on the number: a channel, one of a thousand tags, or a tag with an expiry."""
    if number % 3:
        return Override(channel="NEXT")
    return Override(tag=f"pb/branch-{number % 1000}", expire_ms=LASTING_MS + number if number % 10 == 0 else None)


def large_changes(number: int) -> dict[str, Override]:
    """Returns half a MiB of overrides: always the same repos, with a tag that depends on the number."""
    return {f"{'o' * 39}/{place:0200}": Override(tag=f"{number:0>250}") for place in range(BATCH)}


async def fill(store: RedisStore, *, components: int, overrides: int) -> None:
    """Begins a rollout in each of `components` components, and sets `overrides` overrides in the first."""
    store.set_epoch(await store.begin_epoch(adopted=False))
    for number in range(components):
        await begin_rollout(store, component(number))
    for first in range(0, overrides, BATCH):
        numbers = range(first, min(overrides, first + BATCH))
        await store.commit_overrides(LARGE, {repo(number): override(number) for number in numbers}, ADA)
        await asyncio.sleep(0)


async def begin_rollouts(store: RedisStore, rollouts: int) -> None:
    """Begins so many rollouts, some at once, in a new namespace."""
    store.set_epoch(await store.begin_epoch(adopted=False))
    for first in range(0, rollouts, _AT_ONCE):
        numbers = range(first, min(rollouts, first + _AT_ONCE))
        await asyncio.gather(*(begin_rollout(store, component(number)) for number in numbers))


async def begin_rollout(store: RedisStore, name: str) -> None:
    """Ramps the second release of a component to 10 %."""
    rollout = (await store.read(name)).rollout
    for command in (commands.Release("20200301"), commands.Release("20200409"), commands.Ramp(1000)):
        after = transition(rollout, command, Context(NOW, "ada")).after
        _, rollout = await store.commit(rollout, after, Author("ada", "Ramp"), Result(after.revision), Namespace())
        assert not isinstance(rollout, Absent)
