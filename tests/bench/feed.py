"""The feed under bulk writes: its size stays within the limit in bytes."""

from redis.asyncio import Redis

from rampd_server.ports import Author, Override
from rampd_server.process import event_loop
from rampd_server.storage.store import RedisStore
from tests import filling
from tests.bench import running
from tests.bench.report import Row, at_most, plain
from tests.bench.scale import Scale
from tests.stores import StoreServer

BUDGET_MB = 64
"""The default limit of the store."""
OVERHEAD = 1.25
"""The factor for the bytes that Redis needs in addition to the fields of an entry."""
MB = 1024 * 1024


def run(scale: Scale) -> list[Row]:
    with running.store() as server:
        return event_loop.run(_measure(scale, server))


async def _measure(scale: Scale, server: StoreServer) -> list[Row]:
    store, client = server.store(), server.client()
    await filling.fill(store, components=1, overrides=0)
    written = 0
    most_counted = most_used = 0.0
    for round_number in range(max(20, scale.overrides // 1500)):
        written += await _write_batch(store, round_number)
        if round_number % 10 == 9:
            most_counted = max(most_counted, int(await client.get(store.keys.feed_bytes)) / MB)
            most_used = max(most_used, await _used(store, client) / MB)
    entries = await client.xlen(store.keys.feed)
    await store.close()
    await client.aclose()
    return [
        plain("written to the feed", [written / MB], "MB"),
        plain("entries that the feed keeps", [entries], ""),
        at_most("largest size by the store's own count", [most_counted], "MB", BUDGET_MB),
        at_most("most memory that Redis used for it", [most_used], "MB", BUDGET_MB * OVERHEAD),
    ]


async def _write_batch(store: RedisStore, number: int) -> int:
    """Writes a thousand overrides with long names. Returns about how many bytes they are."""
    changes = {f"owner/{'x' * 190}{place:04}": Override(tag=f"pb/branch-{number}") for place in range(filling.BATCH)}
    await store.commit_overrides(filling.LARGE, changes, Author("ada", "BatchSetOverrides"))
    return sum(len(repo) for repo in changes)


async def _used(store: RedisStore, client: Redis) -> int:
    return int(await client.memory_usage(store.keys.feed, samples=0))
