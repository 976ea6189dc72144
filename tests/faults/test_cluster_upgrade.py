"""The schema of a namespace on a Redis Cluster is raised: with outcomes on every shard, and when the primary of the namespace is lost."""

import contextlib
import signal
from functools import partial
from pathlib import Path

import pytest

from rampd_server.storage.keys import Keys
from rampd_server.storage.schema import SCHEMA
from tests.clustered import component_on, failed, roll_out
from tests.clusters import Cluster, cluster
from tests.later_version import LATER, begin, is_paused, make_later, run, serving
from tests.lost_primaries import mortal
from tests.servers import IN_PRODUCTION_S, Stubs
from tests.topologies import Process
from tests.waiting import eventually

C = "restyler"
META, ROLLOUT = Keys().meta, Keys().component(C).rollout
serving_now = partial(serving, store_deadline_s=IN_PRODUCTION_S)
"""A server that notices a lost primary as soon as in production."""

own = mortal(cluster)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The PYTHONPATH of the next version."""
    return make_later(tmp_path_factory.mktemp("later"))


def field(node: Process, key: str, name: str) -> str | None:
    with node.client() as client:
        client.readonly()  # Else a replica names its primary in place of an answer.
        return client.hget(key, name)


def upgraded(own: Cluster, path: str, code: int = 0) -> str:
    """What the command says."""
    return run("upgrade", "--redis-url", own.url, path=path, code=code)


def report(call: Stubs, revisions: dict[str, int], client: str, sequence: int) -> None:
    """Reports a failed job of each component, of a repo of its own."""
    repo = f"acme/{client}-{sequence}"
    outcomes = [failed(name, revision, repo) for name, revision in revisions.items()]
    assert call("ReportOutcomes", client_id=client, sequence=sequence, outcomes=outcomes).accepted == len(revisions)


def failures(call: Stubs, names: list[str]) -> list[int]:
    return [call("GetRollout", component=name).rollout.evidence.next_failures for name in names]


def test_outcomes_on_every_shard_are_counted_once_by_both_versions_and_after_the_raise(
    directory: Path, own: Cluster, later: str
) -> None:
    names = [component_on(own, shard) for shard in range(3)]
    with contextlib.ExitStack() as stack:
        with serving(directory / "old", own.url) as (_, old):
            revisions = {name: roll_out(old, name) for name in names}
            _, new = stack.enter_context(serving(directory / "new", own.url, later))
            for call, client in ((old, "w1"), (new, "w2"), (new, "w1"), (old, "w2")):
                report(call, revisions, client, 1)
            assert failures(old, names) == failures(new, names) == [2, 2, 2]
            assert f"1 server is connected that can't work with schema {LATER}: 127.0.0.1:" in upgraded(own, later, 2)
            assert field(own.nodes[own.shard_of(META)], META, "schema") == str(SCHEMA)
        assert f"from {SCHEMA} to {LATER}" in upgraded(own, later)
        report(new, revisions, "w1", 1)
        report(new, revisions, "w1", 2)
        assert failures(new, names) == [3, 3, 3]


def test_servers_of_both_versions_and_the_command_follow_to_the_next_primary(
    directory: Path, own: Cluster, later: str
) -> None:
    shard = own.shard_of(META)
    with contextlib.ExitStack() as stack:
        with serving_now(directory / "old", own.url) as (older, old):
            begin(old)
            newer, new = stack.enter_context(serving_now(directory / "new", own.url, later))
            own.nodes[shard].signal(signal.SIGKILL)
            own.promoted_s(shard)
            for each in (older, newer):
                each.event("store_primary_changed")
            new.until_made("Pause", component=C)
            eventually(lambda: is_paused(old))
            old.until_made("Resume", component=C)
            assert f"1 server is connected that can't work with schema {LATER}: " in upgraded(own, later, 2)
        assert f"from {SCHEMA} to {LATER}" in upgraded(own, later)
        new.until_made("Pause", component=C)
        assert field(own.nodes[3 + shard], ROLLOUT, "paused") == "yes"


def test_a_raise_that_a_failover_loses_is_made_again(directory: Path, own: Cluster, later: str) -> None:
    """Given a replica that becomes the primary without the raise, expect that servers write the form of before, until the raise is
    made again.
    """
    shard = own.shard_of(META)
    primary, replica = own.nodes[shard], own.nodes[3 + shard]
    with serving(directory / "old", own.url) as (_, old):
        begin(old)
        old("Pause", component=C)
    with serving_now(directory / "new", own.url, later) as (server, new):
        eventually(lambda: field(replica, META, "head") == field(primary, META, "head"))
        own.cut_off(primary)
        assert f"from {SCHEMA} to {LATER}" in upgraded(own, later)
        new.until_made("Resume", component=C)
        assert stored(primary) == (str(LATER), "no")
        assert stored(replica) == (str(SCHEMA), "1")
        primary.signal(signal.SIGKILL)
        own.promoted_s(shard)
        server.event("store_primary_changed")
        server.event("writes_lost")

        assert is_paused(new)
        new.until_made("Resume", component=C)
        assert stored(replica) == (str(SCHEMA), "0")
        assert f"from {SCHEMA} to {LATER}" in upgraded(own, later)
        new.until_made("Pause", component=C)
        assert stored(replica) == (str(LATER), "yes")


def stored(node: Process) -> tuple[str | None, str | None]:
    """What a node has: the schema, and the form of a flag."""
    return field(node, META, "schema"), field(node, ROLLOUT, "paused")
