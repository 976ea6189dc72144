"""The load on the judged processes: a writer, watchers that come and go, and a second server that restarts again and again."""

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import grpc

from rampd import Admin, AsyncAdmin, v1
from rampd.errors import RampdError
from rampd.v1 import resolver_service_pb2_grpc
from rampd_server.rpc.watch.change_log import MAX_ENTRIES
from tests.servers import IN_PRODUCTION_S, ServerProcess, rampd_server
from tests.soak.client import COMPONENTS, REPOS

Changed: TypeAlias = v1.SetOverrideResponse | v1.DeleteOverrideResponse | v1.RampResponse
CROWD = 20
FILL_S = 150.0
"""In this time the writer makes as many changes as a server keeps in memory. Then that memory is full before growth is judged."""
RATE = 20.0
"""Changes per second after that."""


class Storm:
    """Threads that run until the block ends. One writes all the time. Watchers and restarts come while `is_active` is set."""

    def __init__(self, server: ServerProcess, redis_url: str, directory: Path, seed: int = 1) -> None:
        self.is_active = threading.Event()
        self.written = self.watched = self.flaps = 0
        self.socket = directory / "rampd.sock"
        self._target = server.target
        self._redis_url = redis_url
        self._directory = directory
        self._chance = random.Random(seed)
        self._is_over = threading.Event()
        self._is_up = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator["Storm"]:
        threads = [threading.Thread(target=each) for each in (self._write, self._flap, self._come_and_go)]
        for thread in threads:
            thread.start()
        try:
            self._is_up.wait(60)
            yield self
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _write(self) -> None:
        with Admin(self._target, actor="soak") as admin:
            for component in COMPONENTS:
                admin.release(component, "t1")
                admin.release(component, "t2")
            asyncio.run(self._crowd())
            began_s = time.monotonic()
            while not self._is_over.is_set():
                with contextlib.suppress(RampdError):
                    self.written += self._change(admin)
                rate = MAX_ENTRIES / FILL_S if self.written < MAX_ENTRIES else RATE
                ahead_s = self.written / rate - (time.monotonic() - began_s) if rate > RATE else 1 / RATE
                self._is_over.wait(max(0.0, min(ahead_s, 0.1)))

    async def _crowd(self) -> None:
        """Makes as many calls at once as there will ever be, so that the pool of connections grows before growth is judged."""
        async with AsyncAdmin(self._target) as admin:
            await asyncio.gather(*(admin.get_rollout(COMPONENTS[0]) for _ in range(100)))

    def _change(self, admin: Admin) -> bool:
        """Makes a random change. Returns whether it changed anything."""
        component, repo = self._chance.choice(COMPONENTS), self._chance.choice(REPOS)
        changes: list[Callable[[], Changed]] = [
            lambda: admin.set_override(component, repo, channel="NEXT"),
            lambda: admin.set_override(component, repo, tag=f"pin-{self._chance.randrange(20)}"),
            lambda: admin.delete_override(component, repo),
            lambda: admin.ramp(component, self._chance.randrange(101)),
        ]
        return self._chance.choice(changes)().changed

    def _flap(self) -> None:
        while not self._is_over.is_set():
            flags = ("--insecure-admin", "--redis-url", self._redis_url)
            with rampd_server(self._directory, *flags, store_deadline_s=IN_PRODUCTION_S) as server:
                server.event("serving", within_s=60)
                self._is_up.set()
                self._wait(self.is_active.is_set, self._chance.uniform(3, 12))
                if self._is_over.is_set():
                    return
                how = self._chance.choice([signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
                server.process.send_signal(how)
                if how is signal.SIGSTOP:
                    self._is_over.wait(self._chance.uniform(1, 8))
                    server.process.send_signal(signal.SIGCONT)
                else:
                    server.process.wait(30)
                self.flaps += 1

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Waits for some seconds, and then until the condition is true."""
        self._is_over.wait(seconds)
        while not condition() and not self._is_over.is_set():
            self._is_over.wait(0.1)

    def _come_and_go(self) -> None:
        while not self._is_over.is_set():
            self._wait(self.is_active.is_set, 0.2)
            crowd = CROWD if self._chance.random() < 0.1 else 1
            with contextlib.ExitStack() as leaving:
                for _ in range(crowd):
                    leaving.enter_context(self._watcher())
                self._is_over.wait(self._chance.uniform(0, 1.5))
            self.watched += crowd

    @contextlib.contextmanager
    def _watcher(self) -> Iterator[None]:
        """Watches, reads nothing or a few messages, and leaves in one of several ways. Some do not cancel the call."""
        channel = grpc.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)])
        stub = resolver_service_pb2_grpc.ResolverServiceStub(channel)
        has_deadline = self._chance.random() < 0.2
        call = stub.Watch(v1.WatchRequest(components=self._selection()), timeout=0.3 if has_deadline else 30)
        try:
            with contextlib.suppress(grpc.RpcError):
                for _ in range(self._chance.choice([0, 1, 3])):
                    next(call)
            yield
        finally:
            if self._chance.random() < 0.5:
                call.cancel()
            channel.close()

    def _selection(self) -> list[str]:
        return self._chance.sample(COMPONENTS, self._chance.choice([0, 0, 1, 3]))
