"""A shard of a Redis Cluster without any node: what goes on, what waits, and what the status says."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rampd import v1
from rampd_server.storage.keys import Keys
from tests.clustered import component_on, failed, roll_out, serving
from tests.clusters import Cluster, cluster
from tests.following import C
from tests.lost_primaries import mortal
from tests.servers import Stubs, reason_of
from tests.topologies import run_again
from tests.waiting import eventually

SERVICES = ("", "rampd.v1.ReleaseService", "rampd.v1.RolloutService", "rampd.v1.ResolverService")

own = mortal(cluster)


def health(call: Stubs) -> list[str]:
    """The health of each service."""
    stub = health_pb2_grpc.HealthStub(call.channel)
    answers = [stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=60) for name in SERVICES]
    return [health_pb2.HealthCheckResponse.ServingStatus.Name(each.status) for each in answers]


def lose(nodes: Cluster, shard: int) -> None:
    """Kills a shard: its replica first, so that nobody takes over."""
    for place in (3 + shard, shard):
        nodes.nodes[place].signal(signal.SIGKILL)
        nodes.nodes[place].running.wait(60)


def rampd(target: str, *words: str) -> tuple[int, str]:
    """Runs a command of `rampd` in a pipe. Returns its exit code and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "rampd_cli", *words, "--server", target],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_while_a_shard_of_outcomes_is_away_all_else_goes_on_and_the_status_names_the_node(
    directory: Path, own: Cluster
) -> None:
    namespace = own.shard_of(Keys().meta)
    dead, well = (shard for shard in range(3) if shard != namespace)
    away, there = component_on(own, dead), component_on(own, well)
    with contextlib.ExitStack() as stack:
        server, call = stack.enter_context(serving(directory / "one", own, "default"))
        outcomes = {name: failed(name, roll_out(call, name)) for name in (away, there)}
        lose(own, dead)
        node = f"The node 127.0.0.1:{own.nodes[dead].port} of the Redis Cluster does not answer"
        eventually(lambda: node in call("GetServer").server.store_problem)

        # The server is well, and says what is not. So does another one that starts now.
        told = call("GetServer").server
        assert (told.stale, told.store.topology, told.store.replicas) == (False, "cluster", 1)
        assert health(call) == ["SERVING"] * 4
        code, said = rampd(server.target, "doctor")
        assert (code, node in said) == (1, True), said
        late, call_late = stack.enter_context(serving(directory / "two", own, "default"))
        assert f"127.0.0.1:{own.nodes[dead].port}" in late.event("store_not_checked")["reason"]
        assert call_late("Resolve", component=away, repo="acme/app").tag == "t2"

        # What needs no outcomes goes on.
        code, said = rampd(server.target, "status")
        assert (code, away in said, there in said) == (0, True, True), said
        listed = call("ListRollouts", current_outcomes=True).rollouts
        assert {each.component: each.HasField("current_outcomes") for each in listed} == {away: False, there: True}
        for name in (away, there):
            call("Ramp", component=name, percent=50)
            call("SetOverride", component=name, repo="acme/pinned", tag="t1")
            rollout = call("GetRollout", component=name).rollout
            assert (rollout.next_percent, rollout.HasField("evidence")) == (50, name == there)

        # Outcomes wait for their shard, and nothing else does.
        with pytest.raises(
            grpc.RpcError, match="The shard of the Redis Cluster that has these outcomes can't be used"
        ) as caught:
            call("ReportOutcomes", client_id="w1", sequence=1, outcomes=[outcomes[away]])
        assert reason_of(caught.value) == "STORE_UNAVAILABLE"
        assert call("ReportOutcomes", client_id="w2", sequence=1, outcomes=[outcomes[there]]).accepted == 1
        with pytest.raises(grpc.RpcError, match="these outcomes can't be used"):
            call("GetRelease", component=away, release=2)
        assert call("GetRelease", component=there, release=2).release.failures == 1

        # Nobody confirms this Ramp. It needs no outcomes to be taken back.
        call("Ramp", component=away, percent=70, confirm_within=Duration(seconds=1))
        eventually(lambda: call("GetRollout", component=away).rollout.state == v1.ROLLOUT_STATE_HELD)
        assert "Nobody confirmed" in call("GetRollout", component=away).rollout.held_reason

        run_again(stack, own.nodes[dead])
        eventually(
            lambda: call("ReportOutcomes", client_id="w1", sequence=1, outcomes=[outcomes[away]]).accepted == 1,
            suppressed=grpc.RpcError,
        )
        eventually(lambda: not call("GetServer").server.store_problem)
        assert call("GetRelease", component=away, release=2).release.failures == 1
        assert [line for line in server.log if line["event"] in {"store_lost", "store_primary_changed"}] == []


def test_while_the_shard_of_a_namespace_is_away_only_its_servers_take_no_changes(directory: Path, own: Cluster) -> None:
    dead, well = "default", next(name for name in map("n{}".format, range(9)) if is_elsewhere(own, name))
    with (
        serving(directory / "dead", own, dead) as (server, call),
        serving(directory / "well", own, well) as (other, call_well),
    ):
        for each in (call, call_well):
            roll_out(each, C)
        lose(own, own.shard_of(Keys(dead).meta))
        eventually(lambda: health(call) == ["NOT_SERVING"] * 3 + ["SERVING"])
        eventually(lambda: call("Resolve", component=C, repo="acme/app").stale)
        assert call("Resolve", component=C, repo="acme/app").tag == "t2"
        told = call("GetServer").server
        assert (told.stale, told.HasField("store")) == (True, False)
        assert str(own.nodes[own.shard_of(Keys(dead).meta)].port) in told.store_problem
        with pytest.raises(grpc.RpcError) as caught:
            call("Ramp", component=C, percent=10)
        assert reason_of(caught.value) == "STORE_UNAVAILABLE"
        code, said = rampd(server.target, "doctor")
        assert (code, told.store_problem.partition(":")[0] in said) == (1, True), said

        # Servers of a namespace on another shard miss a node only for outcomes.
        assert health(call_well) == ["SERVING"] * 4
        assert call_well("Ramp", component=C, percent=10).changed
        assert not call_well("Resolve", component=C, repo="acme/app").stale
        assert "does not answer" in call_well("GetServer").server.store_problem
        assert "store_lost" not in [line["event"] for line in other.log]


def is_elsewhere(nodes: Cluster, namespace: str) -> bool:
    """Whether a namespace is on another shard than `default`."""
    return nodes.shard_of(Keys(namespace).meta) != nodes.shard_of(Keys().meta)
