"""A store of size: many components, and one of them with many overrides."""

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
ADA = Author("ada", "BatchSetOverrides")


def component(number: int) -> str:
    return f"c{number:04}"


def repo(number: int) -> str:
    """As names are: owners have many repos."""
    return f"owner-{number % OWNERS:04}/repo-{number:07}"


def override(number: int) -> Override:
    """Of every kind: a channel, one of a thousand tags, a tag for a time."""
    if number % 3:
        return Override(channel="NEXT")
    return Override(tag=f"pb/branch-{number % 1000}", expire_ms=LASTING_MS + number if number % 10 == 0 else None)


def large_changes(number: int) -> dict[str, Override]:
    """Half a MiB of overrides: the same repos each time, with another tag."""
    return {f"{'o' * 39}/{place:0200}": Override(tag=f"{number:0>250}") for place in range(BATCH)}


async def fill(store: RedisStore, *, components: int, overrides: int) -> None:
    """Components in a rollout, the first of them with `overrides` overrides."""
    store.set_epoch(await store.begin_epoch(adopted=False))
    for number in range(components):
        await _begin_rollout(store, component(number))
    for first in range(0, overrides, BATCH):
        numbers = range(first, min(overrides, first + BATCH))
        await store.commit_overrides(LARGE, {repo(number): override(number) for number in numbers}, ADA)
        await asyncio.sleep(0)


async def _begin_rollout(store: RedisStore, name: str) -> None:
    rollout = (await store.read(name)).rollout
    for command in (commands.Release("20200301"), commands.Release("20200409"), commands.Ramp(1000)):
        after = transition(rollout, command, Context(NOW, "ada")).after
        _, rollout = await store.commit(rollout, after, Author("ada", "Ramp"), Result(after.revision), Namespace())
        assert not isinstance(rollout, Absent)
