"""Stores that a test disturbs: their processes are killed and stopped, and their data are replaced by an older copy."""

import contextlib
import itertools
import os
import random
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from redis import Redis

from tests.chaos.witness import Witness
from tests.ports import free_port
from tests.proxy import Proxy
from tests.settable_clock import SettableClock
from tests.stores import VALKEY, StoreServer, store_server
from tests.waiting import eventually

COPY = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('PTTL', key)
  found[#found + 1] = redis.call('DUMP', key)
end
return found
"""
"""A script, so that keys and data are of one moment: a list of keys that was read earlier may lack a key."""
_AOF = {"appendonly": "yes", "appendfsync": "always"}
_PAUSE_MS = 30_000
"""How long a process takes no writes: it is killed before that."""


class Topology(Protocol):
    """A way to run Redis: some processes, a link to them for each server, and the faults that it can have."""

    disturbances: Mapping[str, Callable[[float], None]]
    """The faults by their kind. The argument is how many seconds a fault lasts, if it lasts."""

    def begin(self) -> None:
        """Call it once, when all processes run."""

    def copy(self) -> None:
        """Remembers the data as they are now, for a fault that puts them back."""

    def proxy(self) -> Proxy:
        """Opens another link."""

    def url(self, link: Proxy) -> str:
        """The `--redis-url` of a server behind a link."""

    def close(self) -> None:
        """Ends all processes."""


class SingleStore:
    """One store process, and proxies that always lead to the present one.

    If it `is_durable`, it keeps every write that it has answered when it is killed. Without that, `kill` must not be used. A
    `witness` sees every write before it is lost.
    """

    def __init__(
        self,
        kind: str,
        chance: random.Random,
        folder: Path,
        *,
        is_durable: bool = False,
        witness: Witness | None = None,
    ) -> None:
        self._kind = kind
        self._chance = chance
        self._folder = folder
        self._is_durable = is_durable
        self._witness = witness
        self._numbers = itertools.count()
        self._proxies: list[Proxy] = []
        self._copies: list[list[tuple[bytes, int, bytes]]] = []
        self._running: dict[int, contextlib.ExitStack] = {}
        self._clock = SettableClock(folder / "clock") if is_durable and kind == VALKEY else None
        self.disturbances: Mapping[str, Callable[[float], None]] = {
            "kill": self.kill,
            "disk": self.fill_disk,
            "stop": self.stop,
            "memory": self.fill_memory,
            "scripts": self.flush_scripts,
            **({"clock": self.step_clock} if self._clock else {}),
            "restore": lambda _seconds: self.restore(),
            "restart": lambda _seconds: self.restart(),
            "failover": lambda _seconds: self.fail_over(),
        }
        self.faults = 0
        """How many faults have begun plus how many have ended: an even number while there is no fault."""
        self.done: list[str] = []
        self._primary, self._port = self._start(self._new_folder(), free_port())
        if witness is not None:
            witness.begin(self._port)

    def proxy(self) -> Proxy:
        """Opens another proxy. It is closed with the store."""
        proxy = Proxy(lambda: socket.create_connection(("127.0.0.1", self._port)))
        self._proxies.append(proxy)
        return proxy

    def url(self, link: Proxy) -> str:
        return f"redis://127.0.0.1:{link.port}"

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()
        for stack in self._running.values():
            stack.close()

    def _new_folder(self) -> Path:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def _start(self, folder: Path, port: int, *, is_restart: bool = False) -> tuple[StoreServer, int]:
        stack = contextlib.ExitStack()
        options = {"port": str(port), "repl_diskless_sync_delay": "0", "save": ""}
        # A store that begins with `appendonly` reads no snapshot, so it is switched on later.
        options |= _AOF if is_restart else {}
        with mock.patch.dict(os.environ, self._clock.environment() if self._clock else {}):
            store = stack.enter_context(store_server(self._kind, directory=folder, **options))
        self._running[port] = stack
        return store, port

    def _make_durable(self, port: int) -> None:
        if not self._is_durable:
            return
        with self.client(port) as client:
            for name, value in _AOF.items():
                client.config_set(name, value)

            def is_written() -> bool:
                found = client.info("persistence")
                return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])

            eventually(is_written)

    def client(self, port: int | None = None) -> "Redis[bytes]":
        """A raw connection to the present process, beside all proxies."""
        return Redis(port=port or self._port, socket_timeout=60)

    @contextlib.contextmanager
    def _fault(self, name: str) -> Iterator[None]:
        self.done.append(name)
        self.faults += 1
        yield
        self.faults += 1

    # Faults that lose nothing.

    def begin(self) -> None:
        """Begins to keep what is written, where that is asked for."""
        self._make_durable(self._port)

    def kill(self, seconds: float) -> None:
        """Kills the process, and starts it again on the same data."""
        with self._fault("kill"):
            self._primary.signal(signal.SIGKILL)
            self._start_again(seconds)

    def fill_disk(self, seconds: float) -> None:
        """Lets every write to a file fail. A store that has to keep its writes then ends by itself."""
        assert self._primary.process is not None
        with self._fault("disk"):
            resource.prlimit(self._primary.process.pid, resource.RLIMIT_FSIZE, (0, 0))
            end = time.monotonic() + seconds
            while self._primary.process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            self._start_again(seconds)

    def _start_again(self, seconds: float) -> None:
        path = Path(self._primary.url.removeprefix("unix://")).parent
        self._running.pop(self._port).close()
        time.sleep(seconds)
        self._primary, _ = self._start(path, self._port, is_restart=True)
        self._cut()

    def stop(self, seconds: float) -> None:
        """Stops the process for a while."""
        with self._fault("stop"):
            self._primary.signal(signal.SIGSTOP)
            time.sleep(seconds)
            self._primary.signal(signal.SIGCONT)

    def fill_memory(self, seconds: float) -> None:
        """Lets the store refuse writes for want of memory."""
        with self._fault("memory"), self.client() as client:
            client.config_set("maxmemory", "1mb")
            time.sleep(seconds)
            client.config_set("maxmemory", "0")

    def flush_scripts(self, _seconds: float) -> None:
        """Lets the store forget all scripts."""
        with self._fault("scripts"), self.client() as client:
            client.script_flush()

    def step_clock(self, seconds: float) -> None:
        """Sets the store's clock forward or back for a while. Only where there is a settable clock."""
        assert self._clock is not None
        with self._fault("clock"):
            self._clock.set_by_s(self._chance.choice([-3600, -30, 30, 3600]))
            time.sleep(seconds)
            self._clock.set_by_s(0)

    # Faults that lose writes.

    def copy(self) -> None:
        """Remembers the data as they are now, in one atomic read."""
        with self.client() as client:
            found = client.eval(COPY, 0)
        parts = zip(found[::3], found[1::3], found[2::3], strict=True)
        self._copies.append([(key, max(0, ttl), data) for key, ttl, data in parts])
        del self._copies[:-4]

    def restore(self) -> None:
        """Replaces the data by an older copy, in one transaction. All connections stay open."""
        place = self._chance.randrange(len(self._copies))
        copy = self._copies[place]
        del self._copies[place + 1 :]  # these copies are lost now
        witness = self._witness
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._fault("restore"))
            pipe = stack.enter_context(stack.enter_context(self.client()).pipeline(transaction=True))
            if witness is not None:
                # Callers go on writing: only the transaction itself can say what was lost, and where the rest begins.
                stack.enter_context(witness.lock)
                pipe.eval_ro(*witness.question())
            pipe.flushall()
            for key, ttl, data in copy:
                pipe.restore(key, ttl, data)
            if witness is not None:
                pipe.hget(witness.meta, "head")
            began_s = time.monotonic()
            answers = _as_text(pipe.execute())
            if witness is not None:
                witness.take(answers[0], began_s, time.monotonic())
                # Callers may have written since the transaction, before its answer was here.
                witness.follow(self._port, answers[-1], since_s=began_s)

    def restart(self) -> None:
        """Ends the store, and starts it with a file that was written a moment before the end."""
        with self.client() as client:
            client.save()
        path = Path(self._primary.url.removeprefix("unix://")).parent
        folder = self._new_folder()
        shutil.copy(path / "dump.rdb", folder)
        time.sleep(self._chance.uniform(0.1, 0.6))
        with self._fault("restart"), self._without_callers():
            self._replace(*self._start(folder, free_port()))

    def fail_over(self) -> None:
        """Makes a replica the primary. The replica does not have the last writes."""
        replica, port = self._start(self._new_folder(), free_port())
        with self.client(port) as client:
            client.replicaof("127.0.0.1", str(self._port))
            eventually(lambda: client.info("replication").get("master_link_status") == "up")
            client.replicaof("NO", "ONE")
        time.sleep(self._chance.uniform(0.1, 0.6))
        with self._fault("failover"), self._without_callers():
            self._replace(replica, port)

    def _replace(self, store: StoreServer, port: int) -> None:
        self._make_durable(port)
        head = "" if self._witness is None else self._head(port)
        old, old_port, self._primary, self._port = self._primary, self._port, store, port
        old.signal(signal.SIGKILL)
        self._running.pop(old_port).close()
        if self._witness is not None:
            self._witness.follow(port, head)
        self._cut()

    def _head(self, port: int) -> str:
        """Returns the last entry of a process that nobody else can reach yet."""
        assert self._witness is not None
        with self.client(port) as client:
            return str(_as_text(client.hget(self._witness.meta, "head")) or "0-0")

    def _cut(self) -> None:
        for proxy in self._proxies:
            proxy.cut()

    @contextlib.contextmanager
    def _without_callers(self) -> Iterator[None]:
        """Lets nobody write to the present process any more, so that the witness has seen all that will be lost."""
        if self._witness is None:
            yield
            return
        with self._witness.lock:
            with self.client() as client:
                client.client_pause(_PAUSE_MS, all=False)
            self._witness.look()
            yield


def _as_text(answer: Any) -> Any:
    if isinstance(answer, bytes):
        return answer.decode("utf-8", "surrogateescape")
    return [_as_text(part) for part in answer] if isinstance(answer, list) else answer
