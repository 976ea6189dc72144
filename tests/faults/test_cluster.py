"""A Redis Cluster of three primaries and three replicas, and servers of rampd on it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rampd import v1
from rampd_server.storage.keys import Keys
from tests.clusters import Cluster, cluster
from tests.servers import rampd_server, short_directory, stubs
from tests.stores import REDIS
from tests.waiting import eventually

KEYS = Keys()

pytestmark = pytest.mark.timeout(300)


def component_on(topology: Cluster, shard: int) -> str:
    """The name of a component whose outcomes are on a shard."""
    names = (f"c{number}" for number in count())
    return next(name for name in names if topology.shard_of(KEYS.outcomes(name).outcomes) == shard)


def failed(component: str, revision: int) -> Any:
    """A failed job of next."""
    return v1.Outcome(
        component=component,
        release=2,
        revision=revision,
        channel=v1.CHANNEL_NEXT,
        reason=v1.RESOLVE_REASON_WEIGHT,
        repo="acme/app",
        result=v1.OUTCOME_RESULT_FAILED,
    )


def keys_on(topology: Cluster, shard: int) -> set[str]:
    with topology.nodes[shard].client() as client:
        return set(client.scan_iter(count=1000))


@pytest.fixture(scope="module")
def topology() -> Iterator[Cluster]:
    """A cluster of which no test kills a node."""
    with short_directory() as folder, cluster(REDIS, folder) as found:
        yield found


def test_a_namespace_is_on_one_shard_and_its_outcomes_spread(directory: Path, topology: Cluster) -> None:
    names = [component_on(topology, shard) for shard in range(3)]
    with (
        rampd_server(directory, "--insecure-admin", RAMPD_REDIS_URL=topology.url) as server,
        stubs(server.target) as call,
    ):
        outcomes = []
        for name in names:
            call("Release", component=name, tag="t1")
            call("Release", component=name, tag="t2")
            outcomes.append(failed(name, call("Ramp", component=name, percent=100).revision))
            assert call("Resolve", component=name, repo="acme/app").tag == "t2"
        assert call("ReportOutcomes", client_id="w1", sequence=1, outcomes=outcomes).accepted == len(names)
        assert call("ReportOutcomes", client_id="w1", sequence=1, outcomes=outcomes).accepted == len(names)
        for name in names:
            assert call("GetRollout", component=name).rollout.evidence.next_failures == 1
            eventually(
                lambda name=name: any(KEYS.outcomes(name).seen_repos in keys_on(topology, shard) for shard in range(3))
            )
        store = call("GetServer").server.store
        assert store.replicas == 1
    own = topology.shard_of(KEYS.meta)
    for shard, name in enumerate(names):
        found = keys_on(topology, shard)
        there = KEYS.outcomes(name)
        assert {there.outcomes, there.clients, there.seen_repos} <= found
        assert all(key.startswith((KEYS.prefix, f"rampd:{{default:{name}}}:")) for key in found)
        assert any(key.startswith(KEYS.prefix) for key in found) == (shard == own)
