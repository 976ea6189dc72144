"""How much memory Redis needs for each thing that rampd keeps, by MEMORY USAGE of its keys."""

from dataclasses import dataclass

from redis.asyncio import Redis

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.ports import Author, Namespace, Result
from rampd_server.process import event_loop
from rampd_server.storage.store import RedisStore
from tests import filling
from tests.bench import running
from tests.bench.report import Row, plain
from tests.bench.scale import Scale
from tests.rollouts import NOW

COMPONENTS = 20
RELEASES = 80
PARTS = {"method": "Release", "actor": "1a2b", "component": "1a2b", "tag": "1a2b", "attributes": "1a2b"}
ATTRIBUTES = {"commit": "0123456789abcdef0123456789abcdef01234567", "image": "registry.example.com/acme/restyler"}


@dataclass(frozen=True, slots=True)
class Measure:
    store: RedisStore
    client: Redis

    async def bytes_of(self, *keys: str) -> int:
        return sum([await self.client.memory_usage(key, samples=0) or 0 for key in keys])


def run(scale: Scale) -> list[Row]:
    with running.store() as server:

        async def measure() -> list[Row]:
            store, client = server.store(), server.client()
            await filling.fill(store, components=COMPONENTS, overrides=min(scale.overrides, 100_000))
            rows = await _rows(Measure(store, client), min(scale.overrides, 100_000))
            await store.close()
            await client.aclose()
            return rows

        return event_loop.run(measure())


async def _rows(measure: Measure, overrides: int) -> list[Row]:
    keys = measure.store.keys.component(filling.component(1))
    component = await measure.bytes_of(
        keys.rollout, keys.releases, keys.attributes, keys.timeline, keys.queue, keys.quarantine
    )
    large = measure.store.keys.component(filling.LARGE)
    override = (
        await measure.bytes_of(large.overrides, large.overrides_index, large.overrides_expiry, large.overrides_origin)
        / overrides
    )
    history = await measure.client.xlen(keys.history)
    before = await measure.bytes_of(keys.releases, keys.attributes, keys.queue)
    await _queue_releases(measure.store, filling.component(1))
    after = await measure.bytes_of(keys.releases, keys.attributes, keys.queue)
    event = await measure.bytes_of(keys.history) / await measure.client.xlen(keys.history)
    record = await measure.bytes_of(measure.store.keys.request("ci-build-4711"))
    assert history
    return [
        plain("a component in a rollout, two releases", [component], "bytes"),
        plain("an override (repo of 23 characters)", [override], "bytes"),
        plain("a release with two attributes, queued", [(after - before) / RELEASES], "bytes"),
        plain("an idempotency record, for 24 h", [record], "bytes"),
        plain("an entry of the history", [event], "bytes"),
    ]


async def _queue_releases(store: RedisStore, component: str) -> None:
    rollout = (await store.read(component)).rollout
    for number in range(RELEASES):
        command = commands.Release(f"2020{number:04}", ATTRIBUTES)
        after = transition(rollout, command, Context(NOW, "ci")).after
        author = Author(
            "ci", "Release", request_id="ci-build-4711" if number == 0 else "", digest="0" * 32, parts=PARTS
        )
        result = Result(after.revision, "QUEUED", number, number)
        _, rollout = await store.commit(rollout, after, author, result, Namespace())
    assert isinstance(rollout, Rollout)
