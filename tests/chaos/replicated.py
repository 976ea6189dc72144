"""Stores with replicas that a test disturbs: a primary is killed, with or without the last writes at its replicas."""

import contextlib
import random
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.witness import Witness
from tests.proxy import Proxy
from tests.topologies import Process
from tests.waiting import eventually

_PAUSE_MS = 30_000
"""How long a primary takes no writes: it is killed before that."""
_STOP_S = 60


class ReplicatedStore:
    """What such topologies of tests/chaos/stores.py share. The link of a server leads to `door`, one of the processes that tell where
    the primary is, and all other connections are direct. So a fault of a link takes a server one of these.

    All that a `witness` must see of a primary it sees before the primary is killed.
    """

    address: str
    """The `--redis-url` of a server without a link."""
    door: Process
    primary: Process
    """That of the namespace."""

    def __init__(
        self, kind: str, chance: random.Random, folder: Path, *, is_durable: bool = False, witness: Witness
    ) -> None:
        del is_durable  # what a killed primary has is at its replicas
        self.chance = chance
        self.witness = witness
        self.stack = contextlib.ExitStack()
        self._proxies: list[Proxy] = []
        self.disturbances: Mapping[str, Callable[[float], None]] = {
            "kill": lambda _seconds: self.kill(),
            "failover": lambda _seconds: self.fail_over(),
            "memory": self.fill_memory,
            "scripts": self.flush_scripts,
        }
        home = folder / "stores"
        home.mkdir()
        self.open(kind, home)
        witness.begin(self.primary.port, self.primary.user, self.primary.password)

    def begin(self) -> None:
        """Nothing has to begin."""

    def copy(self) -> None:
        """No fault puts a copy back."""

    def proxy(self) -> Proxy:
        proxy = Proxy(lambda: socket.create_connection(("127.0.0.1", self.door.port)))
        self._proxies.append(proxy)
        return proxy

    def url(self, link: Proxy) -> str:
        return self.address.replace(f"127.0.0.1:{self.door.port}", f"127.0.0.1:{link.port}")

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()
        self.stack.close()

    # What differs.

    def open(self, kind: str, folder: Path) -> None:
        """Starts all processes, which end with `stack`, and sets the fields above."""
        raise NotImplementedError

    def is_whole(self) -> bool:
        """Whether each primary has its replicas, and all that watch them know this. May raise RedisError if they do not."""
        raise NotImplementedError

    def cut_off(self) -> None:
        """Lets the primary lose its replicas, and all that would make another one the primary."""
        raise NotImplementedError

    def succeed(self, killed: Process) -> None:
        """Waits for the primary after one that was killed, and starts the killed one again as its replica."""
        raise NotImplementedError

    # Faults that lose nothing.

    def kill(self) -> None:
        """Kills the primary when its replicas have everything."""
        eventually(self.is_whole, suppressed=RedisError)
        with self.witness.lock:
            self.pause(self.primary)
            eventually(self.witness.look)
            self.kill_whole(self.primary)
            self.witness.go_on(self.primary.port)

    def kill_whole(self, primary: Process) -> None:
        """Kills a primary that takes no writes, when its replicas have everything."""
        with primary.client() as client:
            offset = client.info("replication")["master_repl_offset"]
            eventually(lambda: min(_offsets(client)) >= offset)
        self._replace(primary)

    def fill_memory(self, seconds: float) -> None:
        """Lets the primary refuse writes for want of memory."""
        with self.primary.client() as client:
            client.config_set("maxmemory", "1mb")
            time.sleep(seconds)
            client.config_set("maxmemory", "0")

    def flush_scripts(self, _seconds: float) -> None:
        """Lets the primary forget all scripts."""
        with self.primary.client() as client:
            client.script_flush()

    # A fault that loses writes.

    def fail_over(self) -> None:
        """Cuts the primary off, and kills it a moment later."""
        eventually(self.is_whole, suppressed=RedisError)
        self.cut_off()
        time.sleep(self.chance.uniform(0.1, 0.4))
        with self.witness.lock:
            self.pause(self.primary)
            eventually(self.witness.look)
            killed_s = self._replace(self.primary)
            with self.primary.client() as client:
                # Servers may have written to the new primary already.
                head = self.witness.newest_seen(client)
            self.witness.follow(self.primary.port, head, since_s=killed_s)

    def pause(self, primary: Process) -> None:
        """Lets nobody write to a primary any more."""
        with primary.client() as client:
            client.client_pause(_PAUSE_MS, all=False)

    def _replace(self, primary: Process) -> float:
        """Kills a primary, and waits for another one. Returns when it was killed."""
        killed_s = time.monotonic()
        primary.signal(signal.SIGKILL)
        primary.running.wait(_STOP_S)
        self.succeed(primary)
        return killed_s


def _offsets(client: "Redis[str]") -> list[int]:
    found = client.info("replication")
    return [each["offset"] for name, each in found.items() if name.startswith("slave") and isinstance(each, dict)]
