"""The store on a cluster of three primaries: each node has scripts, keys, memory and settings of its own."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.domain.evidence.admission import Counted, Trial
from rampd_server.ports import OutcomeBatch, Receipt, StoreStatus, Topology
from rampd_server.storage.link import Link
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.seen import RedisSeen
from rampd_server.storage.server_check import UnsuitableStoreError, check_server
from rampd_server.storage.store import RedisStore
from rampd_server.storage.store_status import RedisStatus, worst
from tests.clusters import Cluster, slot_of
from tests.contract.conftest import server_of
from tests.stores import CLUSTER
from tests.waiting import PATIENCE_S

TRIAL = Trial(2, 1, 5)


server = server_of(CLUSTER)


@pytest.fixture
def names(nodes: Cluster, store: RedisStore) -> list[str]:
    """A component on each shard."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(nodes.shard_of(store.keys.outcomes(f"c{number}").outcomes), f"c{number}")
    return [found[shard] for shard in range(3)]


def batch(component: str, sequence: int, *outcomes: Counted, trial: Trial = TRIAL, **fields: Any) -> OutcomeBatch:
    return OutcomeBatch(component, trial, "worker-1", sequence, "abc123", "ada", "1.", outcomes, **fields)


def failure(unit: str) -> Counted:
    """A failed job of next."""
    return Counted(weight=1000, is_next=True, is_failed=True, unit=unit, duration_ms=0)


@contextlib.contextmanager
def setting(nodes: Cluster, shard: int, name: str, value: str) -> Iterator[None]:
    """Gives one node another setting."""
    with nodes.nodes[shard].client() as client:
        before = client.config_get(name)[name]
        client.config_set(name, value)
        yield
        client.config_set(name, before)


async def test_batches_for_all_shards_are_counted_in_one_go_also_where_a_node_has_lost_its_scripts(
    nodes: Cluster, counted: RedisOutcomes, names: list[str]
) -> None:
    for sequence in (1, 2):
        one = {"by_release": {2: JobCount(1, 1)}}
        batches = [batch(name, sequence, failure(f"u{sequence}"), **one) for name in names]
        found = await counted.count_many([*batches, *batches])
        assert [each and each[0] for each in found] == [*[Receipt.COUNTED] * 3, *[Receipt.REPEATED] * 3]
        for node in nodes.nodes[:3]:
            with node.client() as client:
                client.script_flush()
    for name in names:
        assert (await counted.counters(name, TRIAL.release, TRIAL.number)).by_weight[1000].first_failures.next == 2
        assert (await counted.release_counters(name)).of(2) == JobCount(2, 2)
        assert (await counted.samples(name))[-1].next == JobCount(2, 2)
    assert [each.of(2) for each in await counted.release_counters_of([*names, *names])] == [JobCount(2, 2)] * 6


async def test_a_namespace_of_which_only_another_node_has_something_is_not_empty(
    nodes: Cluster, namespace: str, names: list[str]
) -> None:
    other = Link.connect(nodes.url, namespace=f"{namespace}-other", deadline_s=PATIENCE_S)
    assert await RedisStore(other).is_empty()
    for name in names:
        key = other.keys.outcomes(name).clients
        client = await other.client_of(key)
        await client.hset(key, "w", "1")
        assert not await RedisStore(other).is_empty()
        await client.delete(key)
    await other.close()


async def test_seen_repos_are_kept_on_the_shard_of_their_component(store: RedisStore, names: list[str]) -> None:
    seen = RedisSeen(store.link)
    for name in names:
        await seen.add(name, ["acme/app"], 0)
        assert (await seen.read(name)).repos == {"acme/app"}


async def test_each_primary_must_be_fit_for_rampd(nodes: Cluster, store: RedisStore) -> None:
    assert await check_server(store.link) == ""
    for shard in range(3):
        evicting = setting(nodes, shard, "maxmemory-policy", "allkeys-lru")
        with evicting, pytest.raises(UnsuitableStoreError, match="evicts keys"):
            await check_server(store.link)
        with nodes.nodes[shard].client() as client:
            client.execute_command("ACL", "SETUSER", "rampd", "-setbit")
            with pytest.raises(UnsuitableStoreError, match="SETBIT"):
                await check_server(store.link)
            client.execute_command("ACL", "SETUSER", "rampd", "+@all")


async def test_the_status_shows_the_primary_that_is_worst(nodes: Cluster, store: RedisStore) -> None:
    status = RedisStatus(store.link, is_embedded=False)
    for shard in range(3):
        with setting(nodes, shard, "maxmemory", "100000000"), setting(nodes, shard, "maxmemory-policy", "volatile-lru"):
            found = await status.status()
        assert (found.max_memory_bytes, found.max_memory_policy, found.replicas) == (100_000_000, "volatile-lru", 1)


def test_of_several_primaries_the_worst_of_each_kind_is_shown() -> None:
    well = StoreStatus(
        is_embedded=False,
        topology=Topology.CLUSTER,
        primary="10.0.0.1:6379",
        ahead_ms=1.0,
        append_only=True,
        append_fsync="always",
        save_failed=False,
        used_memory_bytes=5,
        max_memory_bytes=10,
        max_memory_policy="noeviction",
        replicas=2,
    )
    bad = replace(
        well,
        ahead_ms=9.0,
        append_only=False,
        append_fsync="everysec",
        save_failed=True,
        used_memory_bytes=6,
        max_memory_policy="allkeys-lru",
        replicas=0,
    )
    silent = StoreStatus(False, Topology.CLUSTER, "10.0.0.3:6379", ahead_ms=1.0)
    assert worst([well, bad, silent]) == replace(bad, ahead_ms=1.0)
    assert worst([well]) == well
    assert worst([silent]) == silent


async def count_across_a_move(nodes: Cluster, counted: RedisOutcomes, slot: int, later: OutcomeBatch) -> None:
    """Moves a slot to another node and back. The batch fails while the slot is moved, and is counted after that."""
    source, target = nodes.nodes[:2]
    nodes.begin_move(slot, source, target)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="is being moved"):
            await counted.count_outcomes(later)
    nodes.end_move(slot, source, target)
    assert await counted.count_outcomes(later) == (Receipt.COUNTED, "1.")
    nodes.begin_move(slot, target, source)
    nodes.end_move(slot, target, source)


async def test_a_batch_that_meets_the_move_of_its_slot_half_way_is_counted_once(
    nodes: Cluster, counted: RedisOutcomes, store: RedisStore, names: list[str]
) -> None:
    """Given a slot that begins to move while all keys of a component are there, and a batch that begins another trial, so that
    keys go within the script, expect that the batch fails, and is counted once after the move.
    """
    name = names[0]
    one = {"by_release": {2: JobCount(1, 1)}}
    # What waits fills all keys.
    await counted.count_outcomes(batch(name, 1, failure("u1"), maturation_ms=3_600_000, **one))
    later = batch(name, 2, failure("u1"), trial=Trial(2, 2, 6), **one)
    await count_across_a_move(nodes, counted, slot_of(store.keys.outcomes(name).outcomes), later)
    found = await counted.counters(name, 2, 2)
    tally = found.by_weight[1000]
    assert (tally.jobs.next, tally.failures.next, tally.first_failures.next) == (1, 1, 1)
    assert (await counted.release_counters(name)).of(2) == JobCount(2, 2)


async def test_repos_of_next_do_not_lose_a_batch_that_meets_the_move_of_its_slot_half_way(
    nodes: Cluster, counted: RedisOutcomes, store: RedisStore, names: list[str]
) -> None:
    """As above, for a batch of another release whose jobs were not randomised, so that no key but that of the repos goes and comes."""
    name = names[0]
    await counted.count_outcomes(
        batch(name, 1, failure("u1"), maturation_ms=3_600_000, next_repos=("acme/a",), by_release={2: JobCount(1, 1)})
    )
    by_hand = Counted(None, is_next=True, is_failed=True, unit="", duration_ms=0)
    later = batch(name, 2, by_hand, trial=Trial(3, 1, 6), next_repos=("acme/b",), by_release={3: JobCount(1, 1)})
    await count_across_a_move(nodes, counted, slot_of(store.keys.outcomes(name).outcomes), later)
    found = await counted.counters(name, 3, 1)
    assert (found.others.jobs.next, found.others.failures.next, found.next_repos) == (1, 1, 1)
    assert (await counted.release_counters(name)).of(3) == JobCount(1, 1)
