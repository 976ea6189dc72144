"""A Redis Cluster of three primaries and three replicas that a test disturbs: primaries die, and slots are moved under load."""

import time
from pathlib import Path

from redis.exceptions import RedisError

from rampd_server.storage.finding import Node
from rampd_server.storage.keys import Keys
from rampd_server.storage.slots import merged, owners_by, read_claims, slot_of
from tests.chaos.clients import COMPONENTS
from tests.chaos.replicated import ReplicatedStore
from tests.clusters import cluster
from tests.topologies import Process, run_again
from tests.waiting import eventually

_HOME = slot_of(Keys().meta)
_SLOTS = (_HOME, *(slot_of(Keys().outcomes(component).outcomes) for component in COMPONENTS))


class ClusterStore(ReplicatedStore):
    """Links lead to the first node. A shard is named by its place: its primary and its replica change their roles."""

    def open(self, kind: str, folder: Path) -> None:
        self._all = self.stack.enter_context(cluster(kind, folder))
        nodes = self._all.nodes
        self.address, self.door = self._all.url, nodes[0]
        self._primaries, self._replicas = list(nodes[:3]), list(nodes[3:])
        self._owners = {slot: self._all.shard_of_slot(slot) for slot in _SLOTS}
        """The shard of each slot that rampd needs."""
        self.primary = self._primaries[self._owners[_HOME]]
        self.disturbances = {
            **self.disturbances,
            "move": self.move,
            "other shard": lambda _seconds: self.kill_other(),
        }

    def is_whole(self) -> bool:
        for primary, replica in zip(self._primaries, self._replicas, strict=True):
            with replica.client() as client:
                found = client.info("replication")
            if (found.get("master_port"), found.get("master_link_status")) != (primary.port, "up"):
                return False
        return all(map(self._knows_all, (*self._primaries, *self._replicas)))

    def _knows_all(self, node: Process) -> bool:
        """Whether a node knows the owners of all slots: a replica takes over what it knows of its primary."""
        with node.client() as client:
            text = client.execute_command("CLUSTER", "NODES")
            is_well = "cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
        owners = owners_by(merged([read_claims(text, Node("127.0.0.1", node.port), is_tls=False)], {}).values())
        found = {slot: each and each.port for slot, each in ((slot, owners[slot]) for slot in _SLOTS)}
        return is_well and found == {slot: self._primaries[shard].port for slot, shard in self._owners.items()}

    def cut_off(self) -> None:
        self._all.cut_off(self.primary)

    def succeed(self, killed: Process) -> None:
        shard = self._primaries.index(killed)
        promoted = self._replicas[shard]
        eventually(lambda: _is_primary(promoted))
        self._primaries[shard] = promoted
        self.primary = self._primaries[self._owners[_HOME]]
        self._replicas[shard] = run_again(self.stack, killed)

    def kill_other(self) -> None:
        """Kills the primary of a shard that has only outcomes, when its replica has everything."""
        eventually(self.is_whole, suppressed=RedisError)
        primary = self.chance.choice([each for each in self._primaries if each is not self.primary])
        self.pause(primary)
        self.kill_whole(primary)

    def move(self, seconds: float) -> None:
        """Moves a slot to another shard, key by key: that of the namespace, or one of outcomes."""
        eventually(self.is_whole, suppressed=RedisError)
        slot = self.chance.choice([_HOME, self.chance.choice(_SLOTS[1:])])
        source = self._owners[slot]
        target = self.chance.choice([shard for shard in range(3) if shard != source])
        here, there = self._primaries[source], self._primaries[target]
        self._all.begin_move(slot, here, there)
        time.sleep(min(seconds, 1.0))
        with self.witness.lock:
            self._all.end_move(slot, here, there)
            self._owners[slot] = target
            self.primary = self._primaries[self._owners[_HOME]]
            self.witness.go_on(self.primary.port)


def _is_primary(node: Process) -> bool:
    with node.client() as client:
        return bool(client.role()[0] == "master")
