"""Three Redis and three Sentinels that a test disturbs."""

from pathlib import Path

from tests.chaos.replicated import ReplicatedStore
from tests.topologies import SERVICE, Process, run_again, sentinels
from tests.waiting import eventually

_FAILOVER_MS = 2_000
"""How soon the Sentinels make another failover."""
_DOWN_AFTER_MS = 2_000
"""After what silence the Sentinels replace a primary. On a busy machine, one that is well may be silent for a part of this. The witness
would not know of a failover that no fault has made.
"""


class SentinelStore(ReplicatedStore):
    """Links lead to the first Sentinel."""

    def open(self, kind: str, folder: Path) -> None:
        self._all = self.stack.enter_context(sentinels(kind, folder))
        self._stores = {each.port: each for each in self._all.stores}
        self.address, self.door, self.primary = self._all.url, self._all.sentinels[0], self._all.stores[0]
        for each in self._all.sentinels:
            with each.client() as client:
                client.execute_command(
                    *("SENTINEL", "SET", SERVICE, "failover-timeout", _FAILOVER_MS),
                    *("down-after-milliseconds", _DOWN_AFTER_MS),
                )

    def is_whole(self) -> bool:
        for each in self._stores.values():
            if each is self.primary:
                continue
            with each.client() as client:
                found = client.info("replication")
            if (found.get("master_port"), found.get("master_link_status")) != (self.primary.port, "up"):
                return False
        return all(map(_sees_replicas, self._all.sentinels))

    def cut_off(self) -> None:
        self._all.cut_off(self.primary)

    def succeed(self, killed: Process) -> None:
        eventually(lambda: len(found := self._named()) == 1 and killed.port not in found)
        [port] = self._named()
        self.primary = self._stores[port]
        self._stores[killed.port] = run_again(self.stack, killed, "--replicaof", "127.0.0.1", str(port))

    def _named(self) -> set[int]:
        """The ports of the primaries that the Sentinels name."""
        found = set()
        for each in self._all.sentinels:
            with each.client() as client:
                found.add(int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]))
        return found


def _sees_replicas(sentinel: Process) -> bool:
    with sentinel.client() as client:
        replicas = client.execute_command("SENTINEL", "REPLICAS", SERVICE)
    found = [dict(zip(each[::2], each[1::2], strict=True)) for each in replicas]
    return [each["flags"] == "slave" and each["master-link-status"] == "ok" for each in found] == [True, True]
