"""A Redis Cluster of three primaries and three replicas, and servers of rampd on it. A primary dies, or a slot is moved."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from rampd_server.storage.keys import Keys
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.clustered import Reporter, component_on, failed, roll_out, serving
from tests.clusters import SECRET, Cluster, cluster, slot_of
from tests.following import C, require_said, running
from tests.lost_primaries import lasting, mortal, require_followed, require_refused
from tests.servers import ServerProcess, reason_of, short_directory
from tests.stores import REDIS, VALKEY
from tests.topologies import Process
from tests.waiting import eventually

SPREAD = "spread"
"""A namespace."""

own = mortal(cluster)
topology = lasting(partial(cluster, is_mortal=False))


def keys_on(node: Process, namespace: str) -> set[str]:
    with node.client() as client:
        return set(client.scan_iter(Keys(namespace).pattern, count=1000))


def changes(server: ServerProcess) -> int:
    """How often the log said that the namespace has another node."""
    return [line["event"] for line in server.log].count("store_primary_changed")


def test_a_namespace_is_on_one_shard_and_its_outcomes_spread(directory: Path, topology: Cluster) -> None:
    names = [component_on(topology, shard, SPREAD) for shard in range(3)]
    keys = Keys(SPREAD)
    with serving(directory, topology, SPREAD) as (_, call):
        outcomes = [failed(name, roll_out(call, name)) for name in names]
        assert all(call("Resolve", component=name, repo="acme/app").tag == "t2" for name in names)
        for _ in range(2):
            answer = call("ReportOutcomes", client_id="w1", sequence=1, outcomes=outcomes)
            assert answer.accepted == len(names)
        for shard, name in enumerate(names):
            assert call("GetRollout", component=name).rollout.evidence.next_failures == 1
            eventually(
                lambda name=name, shard=shard: keys.outcomes(name).seen_repos in keys_on(topology.nodes[shard], SPREAD)
            )
        eventually(lambda: call("GetServer").server.store.replicas == 1)
    for shard, name in enumerate(names):
        found = keys_on(topology.nodes[shard], SPREAD)
        there = {each for each in found if each.startswith(keys.prefix)}
        assert bool(there) == (shard == topology.shard_of(keys.meta))
        assert {keys.outcomes(name).outcomes, keys.outcomes(name).clients} <= found
        assert all(each.startswith(f"rampd:{{{SPREAD}:{name}}}:") for each in found - there)


def test_if_the_primary_of_the_namespace_dies_all_follow_the_next_one_and_nothing_is_done_twice(
    own: Cluster,
) -> None:
    shard = own.shard_of(Keys().meta)
    with running(own.url) as run:
        began_s = time.time()
        own.nodes[shard].signal(signal.SIGKILL)

        first = run.show_writable(began_s, own.promoted_s(shard), "killed")
        run.show_followed(first)
        told = run.calls[0]("GetServer").server.store
        assert (told.topology, told.primary.rpartition(":")[0]) == ("cluster", "127.0.0.1")
        history = run.show_one_history()

        require_said(run, run.lost(history), history)
        assert changes(run.servers[0]) == 1


def test_if_another_primary_dies_only_outcomes_there_wait_and_none_is_counted_twice(
    directory: Path, own: Cluster
) -> None:
    namespace = own.shard_of(Keys().meta)
    dead, well = (shard for shard in range(3) if shard != namespace)
    with (
        serving(directory, own, "default") as (server, call),
        contextlib.closing(Reporter(call, component_on(own, dead))) as waiting,
        contextlib.closing(Reporter(call, component_on(own, well))) as going_on,
    ):
        waiting.show_going_on()
        own.nodes[dead].signal(signal.SIGKILL)
        eventually(lambda: waiting.failed)
        going_on.show_going_on()
        own.promoted_s(dead)
        waiting.show_going_on()
        for each in (waiting, going_on):
            each.close()
        assert not going_on.failed
        assert going_on.counted == going_on.accepted
        # What the primary had not sent to its replica is lost.
        assert 0 < waiting.counted <= waiting.accepted
        assert [line for line in server.log if line["event"] in {"store_primary_changed", "store_lost"}] == []


def test_while_the_slot_of_the_namespace_is_moved_changes_are_refused_and_after_it_none_is_lost_or_made_twice(
    topology: Cluster,
) -> None:
    namespace = "moved"
    slot, shard = slot_of(Keys(namespace).meta), topology.shard_of(Keys(namespace).meta)
    here, there = topology.nodes[shard], topology.nodes[(shard + 1) % 3]
    with running(topology.url, namespace) as run:
        for moves, (source, target) in enumerate(((here, there), (there, here)), start=1):
            began_s = time.time()
            topology.begin_move(slot, source, target)
            refused = len(run.writer.failed)
            eventually(lambda refused=refused: any("is being moved" in each for each in run.writer.failed[refused:]))
            assert run.calls[1]("Resolve", component=C, repo="acme/other").tag == "t0"
            topology.end_move(slot, source, target)
            ended_s = time.time()
            eventually(lambda moves=moves: all(changes(server) == moves for server in run.servers))
            run.show_followed(run.show_writable(began_s, ended_s, "moved"))
        history = run.show_one_history()
        assert run.lost(history) == []
        assert all(each.startswith("UNAVAILABLE") for each in run.writer.failed)
        for server in run.servers:
            assert changes(server) == 2
            assert "writes_lost" not in [line["event"] for line in server.log]


def test_while_the_slot_of_outcomes_is_moved_each_batch_is_counted_once(directory: Path, topology: Cluster) -> None:
    namespace = "counted"
    shard = (topology.shard_of(Keys(namespace).meta) + 1) % 3
    component = component_on(topology, shard, namespace)
    slot = slot_of(Keys(namespace).outcomes(component).outcomes)
    here, there = topology.nodes[shard], topology.nodes[(shard + 1) % 3]
    with (
        serving(directory, topology, namespace) as (_, call),
        contextlib.closing(Reporter(call, component)) as reporter,
    ):
        for source, target in ((here, there), (there, here)):
            reporter.show_going_on()
            refused = len(reporter.failed)
            topology.begin_move(slot, source, target)
            eventually(lambda refused=refused: len(reporter.failed) > refused)
            call("SetOverride", component=component, repo="acme/app", tag="t1")
            topology.end_move(slot, source, target)
            reporter.show_going_on()
        reporter.close()
        assert reporter.counted == reporter.accepted
        assert all("A slot of the Redis Cluster is being moved" in each for each in reporter.failed)


async def test_a_namespace_is_copied_and_merged_within_a_cluster(directory: Path, topology: Cluster) -> None:
    place = ("--redis-url", topology.url)
    with serving(directory, topology, "from", "--wait-replicas", "1", store_deadline_s=60.0) as (_, call):
        roll_out(call, C)
        assert call("SetOverride", component=C, repo="acme/app", tag="t1").replicas == 1
    exported = command("export", "--history", *place, "--namespace", "from")
    command("import", *place, "--namespace", "to", given=exported)
    command("import", "--merge", "--yes", *place, "--namespace", "to", given=b"component,tag,percent\nother,t9,100\n")
    store = RedisStore(Link.connect(topology.url, namespace="to", deadline_s=60.0))
    assert await store.components(limit=10) == ["other", C]
    [override] = await store.list_overrides(C, prefix="", after="", limit=10)
    assert override.repo == "acme/app"
    await store.close()


def test_an_emptied_namespace_is_adopted_and_its_servers_go_on_with_a_new_epoch(
    directory: Path, topology: Cluster
) -> None:
    """Given a server whose namespace is gone from its shard, expect that nothing is written until somebody adopts the namespace, and
    that outcomes of before, which other shards still have, count for nothing after that.
    """
    namespace = "emptied"
    shard = topology.shard_of(Keys(namespace).meta)
    component = component_on(topology, (shard + 1) % 3, namespace)
    with serving(directory, topology, namespace) as (server, call):
        outcome = failed(component, roll_out(call, component))
        assert call("ReportOutcomes", client_id="w1", sequence=1, outcomes=[outcome]).accepted == 1
        with topology.nodes[shard].client() as client:
            client.delete(
                *(each for each in keys_on(topology.nodes[shard], namespace) if Keys(namespace).prefix in each)
            )
        with pytest.raises(grpc.RpcError) as caught:
            call("Release", component=component, tag="t3")
        assert reason_of(caught.value) == "STORE_RESET"
        assert " adopt --redis-url " in caught.value.details()
        assert call("Resolve", component=component, repo="acme/app").tag == "t2"

        said = command("adopt", "--redis-url", topology.url, "--namespace", namespace).decode()
        assert f"Adopted: the namespace {namespace} of redis+cluster://rampd:***@" in said
        assert "1 server follows it and takes it over within seconds." in said
        eventually(lambda: roll_out(call, component), suppressed=grpc.RpcError)
        rollout = call("GetRollout", component=component).rollout
        assert (rollout.current.tag, rollout.next.tag, rollout.evidence.next_failures) == ("t1", "t2", 0)
        outcome = failed(component, rollout.revision)
        # The numbers of releases go on.
        outcome.release = rollout.next.number
        assert call("ReportOutcomes", client_id="w1", sequence=1, outcomes=[outcome]).accepted == 1
        assert call("GetRollout", component=component).rollout.evidence.next_failures == 1
        assert "store_primary_changed" not in [line["event"] for line in server.log]


def command(*words: str, given: bytes = b"") -> bytes:
    """Runs a command of rampd-server. Returns its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "rampd_server", *words], input=given, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


async def test_a_slot_that_is_moved_as_a_whole_is_followed_and_no_change_is_refused() -> None:
    """Given Valkey 9, which moves a slot with all its keys at one moment, expect that calls under way do not notice."""
    with short_directory() as folder, cluster(VALKEY, folder) as found:
        link = Link.connect(found.url, deadline_s=60.0)
        store = RedisStore(link)
        store.set_epoch(await store.begin_epoch(adopted=False))
        shard = found.shard_of(link.keys.meta)
        with found.nodes[shard].client() as client:
            target, slot = found.id_of(found.nodes[(shard + 1) % 3]), slot_of(link.keys.meta)
            client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target)
        while not link.clients.primary_changes.value:
            store.set_epoch(await store.begin_epoch(adopted=True))
        head = await store.head()
        assert head is not None
        assert head.epoch == link.epoch
        await store.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace(SECRET, "wrong"), "refuses the user or the password of RAMPD_REDIS_URL"),
        (
            lambda url: url.replace("redis+cluster", "redis").partition(",")[0],
            "begin RAMPD_REDIS_URL (--redis-url) with redis+cluster://",
        ),
    ],
    ids=["wrong password", "one node"],
)
def test_a_wrong_url_ends_the_start_with_a_sentence(
    topology: Cluster, directory: Path, change: Callable[[str], str], words: str
) -> None:
    require_refused(directory, change(topology.url), words, SECRET)


async def test_over_tls_the_names_that_nodes_announce_are_followed() -> None:
    """Given certificates for a name, expect that the primary and the one after it are reached by that name."""
    with short_directory() as folder, cluster(REDIS, folder, is_tls=True) as found:
        await require_followed(found.url, found.nodes[found.shard_of(Keys().meta)])
