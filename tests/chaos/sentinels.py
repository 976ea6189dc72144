"""Three Redis and three Sentinels that a test disturbs: the primary is killed, with or without the last writes at its replicas."""

import contextlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.witness import Witness
from tests.proxy import Proxy
from tests.stores import program_of
from tests.topologies import SERVICE, Process, sentinels
from tests.waiting import eventually

_FAILOVER_MS = 2_000
"""How soon the Sentinels make another failover."""
_DOWN_AFTER_MS = 2_000
"""After what silence the Sentinels replace a primary. On a busy machine, one that is well may be silent for a part of this. The witness
would not know of a failover that no fault has made.
"""
_PAUSE_MS = 30_000
"""How long a primary takes no writes: it is killed before that."""
_STOP_S = 10


class SentinelStore:
    """A topology of tests/chaos/stores.py. The link of a server leads to the first Sentinel, and all other connections are direct. So a
    fault of a link takes a server one of its Sentinels.

    All that a `witness` must see of a primary it sees before the primary is killed.
    """

    def __init__(
        self, kind: str, chance: random.Random, folder: Path, *, is_durable: bool = False, witness: Witness
    ) -> None:
        del is_durable  # what a killed primary has is at its replicas
        self._program = program_of(kind)
        self._chance = chance
        self._witness = witness
        self._proxies: list[Proxy] = []
        self.disturbances: Mapping[str, Callable[[float], None]] = {
            "kill": lambda _seconds: self.kill(),
            "failover": lambda _seconds: self.fail_over(),
            "memory": self.fill_memory,
            "scripts": self.flush_scripts,
        }
        self._stack = contextlib.ExitStack()
        (folder / "stores").mkdir()
        self._all = self._stack.enter_context(sentinels(kind, folder / "stores"))
        self._stores = {each.port: each for each in self._all.stores}
        self._primary = self._all.stores[0]
        for each in self._all.sentinels:
            with each.client() as client:
                client.execute_command(
                    *("SENTINEL", "SET", SERVICE, "failover-timeout", _FAILOVER_MS),
                    *("down-after-milliseconds", _DOWN_AFTER_MS),
                )
        witness.begin(self._primary.port, self._primary.user, self._primary.password)

    def begin(self) -> None:
        """Nothing has to begin."""

    def copy(self) -> None:
        """No fault puts a copy back."""

    def proxy(self) -> Proxy:
        proxy = Proxy(lambda: socket.create_connection(("127.0.0.1", self._all.sentinels[0].port)))
        self._proxies.append(proxy)
        return proxy

    def url(self, link: Proxy) -> str:
        return self._all.url.replace(f"127.0.0.1:{self._all.sentinels[0].port}", f"127.0.0.1:{link.port}")

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()
        self._stack.close()

    # Faults that lose nothing.

    def kill(self) -> None:
        """Kills the primary when its replicas have everything."""
        self._wait_until_whole()
        with self._witness.lock:
            self._pause()
            with self._primary.client() as client:
                offset = client.info("replication")["master_repl_offset"]
                eventually(lambda: min(_offsets(client)) >= offset)
            self._replace()
            self._witness.go_on(self._primary.port)

    def fill_memory(self, seconds: float) -> None:
        """Lets the primary refuse writes for want of memory."""
        with self._primary.client() as client:
            client.config_set("maxmemory", "1mb")
            time.sleep(seconds)
            client.config_set("maxmemory", "0")

    def flush_scripts(self, _seconds: float) -> None:
        """Lets the primary forget all scripts."""
        with self._primary.client() as client:
            client.script_flush()

    # A fault that loses writes.

    def fail_over(self) -> None:
        """Cuts the primary off from its replicas and the Sentinels, and kills it a moment later."""
        self._wait_until_whole()
        self._all.cut_off(self._primary)
        time.sleep(self._chance.uniform(0.1, 0.4))
        with self._witness.lock:
            self._pause()
            killed_s = self._replace()
            with self._primary.client() as client:
                # Servers may have written to the new primary already.
                head = self._witness.newest_seen(client)
            self._witness.follow(self._primary.port, head, since_s=killed_s)

    def _pause(self) -> None:
        """Lets nobody write to the primary any more, so that the witness has seen all that it has."""
        with self._primary.client() as client:
            client.client_pause(_PAUSE_MS, all=False)
        eventually(self._witness.look)

    def _replace(self) -> float:
        """Kills the primary, and waits for another one. Returns when it was killed."""
        old, killed_s = self._primary, time.monotonic()
        old.signal(signal.SIGKILL)
        old.running.wait(_STOP_S)
        eventually(lambda: len(found := self._named()) == 1 and old.port not in found)
        [port] = self._named()
        self._primary = self._stores[port]
        path = old.log.parent / "store.conf"
        with old.log.open("ab") as output:
            running = subprocess.Popen(
                [self._program, str(path), "--replicaof", "127.0.0.1", str(port)], stdout=output, stderr=output
            )
        self._stack.callback(running.wait, _STOP_S)
        self._stack.callback(running.kill)
        self._stores[old.port] = replace(old, running=running)
        return killed_s

    def _named(self) -> set[int]:
        """The ports of the primaries that the Sentinels name."""
        found = set()
        for each in self._all.sentinels:
            with each.client() as client:
                found.add(int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]))
        return found

    def _wait_until_whole(self) -> None:
        """Waits until the others are replicas of the primary, and all Sentinels know this."""

        def is_whole() -> bool:
            for each in self._stores.values():
                if each is self._primary:
                    continue
                with each.client() as client:
                    found = client.info("replication")
                if (found.get("master_port"), found.get("master_link_status")) != (self._primary.port, "up"):
                    return False
            return all(map(_sees_replicas, self._all.sentinels))

        eventually(is_whole, suppressed=RedisError)


def _sees_replicas(sentinel: Process) -> bool:
    with sentinel.client() as client:
        replicas = client.execute_command("SENTINEL", "REPLICAS", SERVICE)
    found = [dict(zip(each[::2], each[1::2], strict=True)) for each in replicas]
    return [each["flags"] == "slave" and each["master-link-status"] == "ok" for each in found] == [True, True]


def _offsets(client: "Redis[str]") -> list[int]:
    found = client.info("replication")
    return [each["offset"] for name, each in found.items() if name.startswith("slave") and isinstance(each, dict)]
