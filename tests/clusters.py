"""A Redis Cluster to test against: three primaries, each with a replica.

Each node knows the others and their slots before it starts, so that nothing has to be discovered. A cluster takes no writes in the
first two seconds.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis.crc import key_slot

from tests.certificates import make_certificate
from tests.ports import free_ports
from tests.stores import program_of
from tests.topologies import Process, id_of, port_lines, run_store, wait_until_ready
from tests.waiting import eventually

SECRET: Final = "s3cr3t"
_REPLICA: Final = "replica"
"""The user of replicas at their primary."""
_USERS: Final = (_REPLICA, "rampd", "tester")
_BOUNDS: Final = ((0, 5460), (5461, 10922), (10923, 16383))
_NODE_TIMEOUT_MS: Final = 2_000
"""After what silence the other nodes replace a primary."""
_LASTING_MS: Final = 60_000
"""The same where no node is to be replaced, however busy the machine is."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Three primaries at first, then their replicas in the same order."""

    nodes: tuple[Process, ...]

    @property
    def url(self) -> str:
        """The URL for rampd. It names the primaries of the start, with the user and the password of rampd."""
        certificate = self.nodes[0].certificate
        hosts = ",".join(f"{'localhost' if certificate else '127.0.0.1'}:{each.port}" for each in self.nodes[:3])
        scheme, more = ("rediss", f"?ssl_ca_certs={certificate}") if certificate else ("redis", "")
        return f"{scheme}+cluster://rampd:{SECRET}@{hosts}{more}"

    def shard_of(self, key: str) -> int:
        """The place of the primary that has a key at the start."""
        return self.shard_of_slot(slot_of(key))

    def shard_of_slot(self, slot: int) -> int:
        """The place of the primary that has a slot at the start."""
        return next(place for place, (_, last) in enumerate(_BOUNDS) if slot <= last)

    def promoted_s(self, shard: int) -> float:
        """Waits until the replica of a shard is its primary. Returns when it was elected."""
        replica = self.nodes[3 + shard]
        eventually(lambda: replica.said_s("Failover election won"))
        return replica.said_s("Failover election won") or 0.0

    def cut_off(self, primary: Process) -> None:
        """Ends the replication of a primary. Its replica gets nothing more of it, and takes over with what it has."""
        with primary.client() as client:
            client.execute_command("ACL", "DELUSER", _REPLICA)

    def begin_move(self, slot: int, source: Process, target: Process) -> None:
        """Begins to move a slot. From here on, keys that are not there are looked for at the target (ASK)."""
        with source.client() as old, target.client() as new:
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))

    def end_move(self, slot: int, source: Process, target: Process) -> None:
        """Moves the keys of the slot, and then the slot itself."""
        with source.client() as old, target.client() as new:
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                old.execute_command(
                    *("MIGRATE", "127.0.0.1", target.port, "", 0, 60_000, "AUTH2", "tester", SECRET, "KEYS", *keys)
                )
            new.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))
            old.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def id_of(self, node: Process) -> str:
        """The id of a node, which it keeps when it is started again."""
        return id_of([each.port for each in self.nodes].index(node.port))


def slot_of(key: str) -> int:
    """The slot of a key."""
    return key_slot(key.encode())


@contextlib.contextmanager
def cluster(kind: str, folder: Path, *, is_tls: bool = False, is_mortal: bool = True) -> Iterator[Cluster]:
    """Starts six nodes. With TLS, all have the name `localhost`. Only if it `is_mortal`, a replica soon replaces a primary that is gone."""
    program, ports = program_of(kind), free_ports(12)
    certificate = make_certificate(folder) if is_tls else None
    with contextlib.ExitStack() as stack:
        nodes = []
        for number, port in enumerate(ports[:6]):
            home = folder / str(port)
            home.mkdir()
            (home / "nodes.conf").write_text(_nodes(number, ports, certificate))
            silence_ms = _NODE_TIMEOUT_MS if is_mortal else _LASTING_MS
            lines = [*port_lines(port, certificate), *_lines(ports[6 + number], certificate, silence_ms)]
            running, log = run_store(stack, program, home, lines, [])
            nodes.append(Process(port, running, log, SECRET, "tester", certificate and certificate[0]))
        for each in nodes:
            wait_until_ready(each)
            with each.client() as client:
                eventually(lambda client=client: "cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        for each in nodes[3:]:
            with each.client() as client:
                eventually(lambda client=client: client.info("replication")["master_link_status"] == "up")
        yield Cluster(tuple(nodes))


def _lines(bus_port: int, certificate: tuple[Path, Path] | None, silence_ms: int) -> list[str]:
    return [
        *('save ""', "appendonly no", "maxmemory-policy noeviction"),
        *("repl-diskless-sync-delay 0", "repl-ping-replica-period 1", "repl-timeout 5", "repl-backlog-size 16mb"),
        *(f"masteruser {_REPLICA}", f"masterauth {SECRET}", "user default off"),
        *(f"user {name} on >{SECRET} allkeys allchannels +@all" for name in _USERS),
        *("cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {bus_port}"),
        *(f"cluster-node-timeout {silence_ms}", "cluster-require-full-coverage no"),
        "cluster-replica-validity-factor 0",  # however long a replica has been without its primary, it takes over
        *(["tls-cluster yes", "cluster-announce-hostname localhost"] if certificate else []),
    ]


def _nodes(own: int, ports: list[int], certificate: tuple[Path, Path] | None) -> str:
    """The nodes as a cluster keeps them in nodes.conf."""
    lines = []
    for number in range(6):
        shard = number % 3
        place = f"127.0.0.1:{ports[number]}@{ports[6 + number]}{',localhost' if certificate else ''}"
        myself = "myself," if number == own else ""
        role = f"{myself}master -" if number < 3 else f"{myself}slave {id_of(shard)}"
        slots = " {}-{}".format(*_BOUNDS[shard]) if number < 3 else ""
        lines.append(f"{id_of(number)} {place} {role} 0 0 {shard + 1} connected{slots}")
    return "\n".join([*lines, "vars currentEpoch 3 lastVoteEpoch 0", ""])
