"""Which repos were seen in the last day: shared by all servers, exact up to a thousand, and a sample of more."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from rampd_server.domain.errors import StoreCorruptError, StoreResetError, StoreUnavailableError
from rampd_server.domain.evidence.admission import Trial
from rampd_server.domain.repo_sample import MOST, RepoSample, depth_of
from rampd_server.storage.keys import OutcomeKeys
from rampd_server.storage.limits import HOUR_MS, MAX_SEEN_REPOS, SEEN_MS
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.seen import RedisSeen
from rampd_server.storage.store import RedisStore
from tests.contract.conftest import server_of
from tests.contract.driving import COMPONENT
from tests.stores import ALL, CLUSTER, StoreServer

server = server_of(*ALL, CLUSTER)

REPOS = [f"owner-{number % 7}/app-{number}" for number in range(12_000)]


@pytest.fixture
def seen(store: RedisStore) -> RedisSeen:
    return RedisSeen(store.link)


@pytest.fixture
async def other(server: StoreServer, store: RedisStore, namespace: str) -> AsyncIterator[RedisSeen]:
    """The same of another server."""
    link = server.link(namespace)
    link.epoch = store.link.epoch
    yield RedisSeen(link)
    await link.close()


@pytest.fixture
def keys(store: RedisStore) -> OutcomeKeys:
    return store.keys.outcomes(COMPONENT)


async def found(seen: RedisSeen, component: str = COMPONENT) -> tuple[set[str], int]:
    sample = await seen.read(component)
    return sample.repos, sample.depth


async def add_all(seen: RedisSeen, repos: list[str]) -> None:
    """Adds repos as servers do: some at a time, and each time at most a thousand."""
    for first in range(0, len(repos), MOST):
        await seen.add(COMPONENT, repos[first : first + MOST], 0)


async def pass_hours(client: Redis, keys: OutcomeKeys, hours: int) -> None:
    """Makes all that is there older, as if the store's clock had gone on."""
    for member, ms in await client.zrange(keys.seen_repos, 0, -1, withscores=True):
        await client.zadd(keys.seen_repos, {member: ms - hours * HOUR_MS})
    for field, value in (await client.hgetall(keys.seen_depths)).items():
        if field != "epoch":
            await client.hdel(keys.seen_depths, field)
            await client.hset(keys.seen_depths, str(int(field) - hours * HOUR_MS), value)


async def test_repos_are_there_for_each_server_and_of_their_component(seen: RedisSeen, other: RedisSeen) -> None:
    assert await found(seen) == (set(), 0)
    await seen.add(COMPONENT, REPOS[:3], 0)
    await other.add(COMPONENT, REPOS[2:5], 0)
    await other.add("hlint", REPOS[7:8], 0)

    assert await found(seen) == await found(other) == (set(REPOS[:5]), 0)
    assert await found(seen, "hlint") == (set(REPOS[7:8]), 0)


async def test_a_thousand_repos_are_exact_and_one_more_leaves_a_sample(seen: RedisSeen) -> None:
    await add_all(seen, REPOS[:1_000])
    assert await found(seen) == (set(REPOS[:1_000]), 0)

    await seen.add(COMPONENT, REPOS[1_000:1_001], 0)
    assert await found(seen) == ({repo for repo in REPOS[:1_001] if depth_of(repo) >= 1}, 1)


async def test_the_sample_in_the_store_is_that_of_one_server_that_has_seen_all(
    seen: RedisSeen, other: RedisSeen, client: Redis, keys: OutcomeKeys
) -> None:
    """Given two servers that see different parts, one of which sees too many and sends a sample."""
    small = RepoSample(REPOS[8_000:])
    await asyncio.gather(add_all(seen, REPOS[:8_000]), other.add(COMPONENT, small.repos, small.depth))

    whole = RepoSample(REPOS)
    assert await found(seen) == (whole.repos, whole.depth)
    assert whole.estimate(len(whole.repos)) == pytest.approx(len(REPOS), rel=0.2)
    assert await client.zcard(keys.seen_repos) <= MAX_SEEN_REPOS


async def test_what_a_server_has_left_out_is_left_out_in_the_store(seen: RedisSeen, other: RedisSeen) -> None:
    await other.add(COMPONENT, REPOS[:100], 0)
    await seen.add(COMPONENT, [], 3)

    assert await found(seen) == ({repo for repo in REPOS[:100] if depth_of(repo) >= 3}, 3)


async def test_a_day_later_a_repo_is_gone(seen: RedisSeen, client: Redis, keys: OutcomeKeys) -> None:
    await seen.add(COMPONENT, REPOS[:2], 0)
    await pass_hours(client, keys, 23)
    await seen.add(COMPONENT, REPOS[1:3], 0)
    assert await found(seen) == (set(REPOS[:3]), 0)

    await pass_hours(client, keys, 1)
    assert await found(seen) == (set(REPOS[1:3]), 0)
    # It does not count, and the next change removes it.
    assert await client.zcard(keys.seen_repos) == 3
    await seen.add(COMPONENT, REPOS[1:2], 0)
    assert await client.zcard(keys.seen_repos) == 2


async def test_a_day_after_there_were_too_many_the_sample_is_whole_again(
    seen: RedisSeen, client: Redis, keys: OutcomeKeys
) -> None:
    await add_all(seen, REPOS)
    _, depth = await found(seen)
    assert depth >= 4
    await pass_hours(client, keys, 12)
    await seen.add(COMPONENT, REPOS[:100], 0)
    # What was left out 12 hours ago counts as not known, so few of the new repos are in the sample.
    assert (await found(seen))[1] == depth

    # An hour may begin during the test.
    await pass_hours(client, keys, 11)
    assert (await found(seen))[1] == depth
    await pass_hours(client, keys, 2)
    await seen.add(COMPONENT, REPOS[:100], 0)
    assert await found(seen) == (set(REPOS[:100]), 0)
    assert await client.hkeys(keys.seen_depths) == ["epoch"]


async def test_times_that_a_wrong_clock_has_set_ahead_do_not_count(
    seen: RedisSeen, client: Redis, keys: OutcomeKeys
) -> None:
    await add_all(seen, REPOS)
    await pass_hours(client, keys, -1_000)
    assert await found(seen) == (set(), 0)

    await seen.add(COMPONENT, REPOS[:2], 0)
    assert await found(seen) == (set(REPOS[:2]), 0)
    assert await client.zcard(keys.seen_repos) == 2


async def test_all_that_is_kept_goes_by_itself_a_day_later(seen: RedisSeen, client: Redis, keys: OutcomeKeys) -> None:
    await seen.add(COMPONENT, REPOS[:2], 0)

    for key in (keys.seen_repos, keys.seen_depths):
        assert SEEN_MS < await client.pttl(key) <= SEEN_MS + HOUR_MS


async def test_a_deleted_component_loses_its_repos_even_if_it_had_no_outcomes(
    seen: RedisSeen, store: RedisStore, client: Redis, keys: OutcomeKeys
) -> None:
    await seen.add(COMPONENT, REPOS[:2], 0)
    await RedisOutcomes(store.link).forget_outcomes(COMPONENT, Trial(2, 1, 5), last_number=3, releases=[2])
    assert await found(seen) == (set(REPOS[:2]), 0)

    await RedisOutcomes(store.link).forget_outcomes(COMPONENT, Trial(0, 0, 6))
    assert await found(seen) == (set(), 0)
    assert await client.exists(keys.seen_repos, keys.seen_depths) == 0


async def test_repos_of_another_epoch_do_not_count(seen: RedisSeen, other: RedisSeen, store: RedisStore) -> None:
    await add_all(seen, REPOS)
    store.set_epoch(await store.begin_epoch(adopted=True))
    assert await found(seen) == (set(), 0)

    # What a server of the old epoch still adds does not count, and is dropped with the rest.
    await other.add(COMPONENT, REPOS[:2], 0)
    assert await found(seen) == (set(), 0)
    await seen.add(COMPONENT, REPOS[2:3], 0)
    assert await found(seen) == (set(REPOS[2:3]), 0)
    with pytest.raises(StoreResetError):
        await other.add(COMPONENT, REPOS[:2], 0)
    assert await found(seen) == (set(REPOS[2:3]), 0)
    assert await found(other) == (set(), 0)


async def test_an_emptied_store_gets_nothing(seen: RedisSeen, store: RedisStore, client: Redis) -> None:
    await store.client.delete(store.keys.meta)

    with pytest.raises(StoreResetError):
        await seen.add(COMPONENT, REPOS[:2], 0)
    assert [key async for key in client.scan_iter(match=store.keys.pattern)] == []


@pytest.mark.parametrize("name", ["seen_repos", "seen_depths"])
async def test_a_key_of_another_type_is_named(seen: RedisSeen, client: Redis, keys: OutcomeKeys, name: str) -> None:
    await seen.add(COMPONENT, REPOS[:2], 0)
    await client.set(getattr(keys, name), "x")

    for call in (seen.add(COMPONENT, REPOS[:2], 0), seen.read(COMPONENT)):
        with pytest.raises(StoreCorruptError, match=getattr(keys, name)):
            await call


async def test_a_text_that_rampd_never_wrote_is_named(seen: RedisSeen, client: Redis, keys: OutcomeKeys) -> None:
    await seen.add(COMPONENT, REPOS[:2], 0)
    ((_, now_ms), *_) = await client.zrange(keys.seen_repos, 0, -1, withscores=True)
    await client.zadd(keys.seen_repos, {"acme": now_ms})
    with pytest.raises(StoreCorruptError, match="'acme': is not a depth and a repo"):
        await seen.read(COMPONENT)

    await client.hset(keys.seen_depths, str(int(now_ms - now_ms % HOUR_MS)), "x")
    for call in (seen.add(COMPONENT, REPOS[:2], 0), seen.read(COMPONENT)):
        with pytest.raises(StoreCorruptError, match=keys.seen_depths):
            await call


async def test_a_store_with_full_memory_keeps_what_it_has(real_server: StoreServer) -> None:
    """Reading works while memory is full. What can't be written leaves nothing half done."""
    store = real_server.store("full")
    store.set_epoch(await store.begin_epoch(adopted=False))
    seen = RedisSeen(store.link)
    await seen.add(COMPONENT, REPOS[:2], 0)
    before = await store.client.config_get("maxmemory")
    await store.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailableError, match="memory"):
            await seen.add(COMPONENT, REPOS[2:3], 0)
        assert await found(seen) == (set(REPOS[:2]), 0)
    finally:
        await store.client.config_set("maxmemory", before["maxmemory"])
        await store.close()
