"""The servers of a run. Each has a link of its own to the store, and keeps its data and its address when it is started again."""

import contextlib
import signal
import time
from pathlib import Path

import grpc

from rampd import v1
from rampd.v1 import resolver_service_pb2_grpc, rollout_service_pb2_grpc
from tests.chaos.stores import Topology
from tests.proxy import Proxy
from tests.servers import IN_PRODUCTION_S, ServerProcess, rampd_server
from tests.waiting import eventually

_OPTIONS = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class Fleet:
    """Some servers over one store. `tree` is the root of the code that they run; empty: this code."""

    def __init__(self, store: Topology, folder: Path, count: int, tree: str = "") -> None:
        self._store = store
        self._folder = folder
        self._environment = {"PYTHONPATH": f"{tree}/client:{tree}/server"} if tree else {}
        self.links: list[Proxy] = [store.proxy() for _ in range(count)]
        self._running: list[contextlib.ExitStack] = [contextlib.ExitStack() for _ in range(count)]
        self.servers: list[ServerProcess] = []
        self.said: list[str] = []
        """Lines of all logs that tell of a defect."""

    def __len__(self) -> int:
        return len(self.links)

    def start(self) -> None:
        for number in range(len(self)):
            self.servers.append(self._start(number))
        for number in range(len(self)):
            self.wait_until_serving(number)

    def close(self) -> None:
        for number, stack in enumerate(self._running):
            # A server that is stopped can't end.
            self.send(number, signal.SIGCONT)
            stack.close()
        for server in self.servers:
            self._read_log(server)

    def target(self, number: int) -> str:
        return f"unix:{self._folder / str(number) / 'rampd.sock'}"

    def channel(self, number: int) -> grpc.Channel:
        """Opens a channel that finds the server again soon after it was started again."""
        return grpc.insecure_channel(self.target(number), options=_OPTIONS)

    def wait_until_serving(self, number: int) -> None:
        with self.channel(number) as channel:
            stub = rollout_service_pb2_grpc.RolloutServiceStub(channel)
            eventually(lambda: stub.ListRollouts(v1.ListRolloutsRequest(), timeout=5), suppressed=grpc.RpcError)

    def wait_until_answering(self, number: int) -> None:
        """Waits until a server answers Resolve from whatever it has, if only that there is no such component."""

        def answers() -> bool:
            try:
                stub.Resolve(request, timeout=5)
            except grpc.RpcError as error:
                return error.code() is grpc.StatusCode.NOT_FOUND
            return True

        with self.channel(number) as channel:
            stub = resolver_service_pb2_grpc.ResolverServiceStub(channel)
            request = v1.ResolveRequest(component="lone", repo="acme/a")
            eventually(answers, 10)

    def send(self, number: int, what: signal.Signals) -> None:
        process = self.servers[number].process
        if process.poll() is None:
            process.send_signal(what)

    def restart(self, number: int, seconds: float, how: signal.Signals) -> None:
        """Ends a server, and starts it again after a while."""
        self.send(number, how)
        self.servers[number].process.wait(60)
        self._running[number].close()
        self._read_log(self.servers[number])
        time.sleep(seconds)
        self.servers[number] = self._start(number)

    def _start(self, number: int) -> ServerProcess:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        url = self._store.url(self.links[number])
        flags = ("--insecure-admin", "--redis-url", url)
        started = rampd_server(folder, *flags, store_deadline_s=IN_PRODUCTION_S, **self._environment)
        return self._running[number].enter_context(started)

    def _read_log(self, server: ServerProcess) -> None:
        defects = [
            line for line in server.raw if "Traceback" in line or '"exception"' in line or "defect of rampd" in line
        ]
        self.said += defects[:3]
