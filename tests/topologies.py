"""Several stores that belong together: three Redis, of which one is the primary, and three Sentinels that watch them.

Each Redis knows its replicas, and each Sentinel the others, before it starts, so that nothing has to be discovered: all is up in
about two seconds. A partition is made with users: the primary forgets the users of its replicas and of the Sentinels, which
ends their connections and refuses new ones. Connections of rampd, which has a user of its own, go on.
"""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from redis import Redis, exceptions

from tests.certificates import make_certificate
from tests.ports import free_ports
from tests.stores import program_of
from tests.waiting import eventually

SERVICE = "main"
SECRET = "s3cr3t"
SENTINEL_SECRET = "w4tch"
_USERS = ("replica", "sentinel")
_STOP_S = 60
_DOWN_AFTER_MS = 2_000
"""After what silence the Sentinels replace a primary. On a busy machine, one that is well may be silent for a part of this."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running Redis or Sentinel."""

    port: int
    running: "subprocess.Popen[bytes]"
    log: Path
    password: str
    user: str | None = None
    certificate: Path | None = None

    def client(self) -> "Redis[str]":
        """A client for tests. The caller closes it."""
        return Redis(
            port=self.port,
            username=self.user,
            password=self.password,
            ssl=self.certificate is not None,
            ssl_ca_certs=self.certificate and str(self.certificate),
            decode_responses=True,
            protocol=2,
            socket_timeout=60,
        )

    def signal(self, number: signal.Signals) -> None:
        """Sends SIGSTOP, SIGCONT or SIGKILL."""
        self.running.send_signal(number)

    def said_s(self, sign: str) -> float | None:
        """When a line of the log had the sign the first time, by the clock of this machine; None if no line has it."""
        for line in self.log.read_text().splitlines():
            if sign in line:
                # 123:X 27 Nov 2026 07:50:01.123 # +switch-master …
                moment = " ".join(line.split()[1:5])
                seconds, _, milliseconds = moment.rpartition(".")
                return time.mktime(time.strptime(seconds, "%d %b %Y %H:%M:%S")) + int(milliseconds) / 1000
        return None


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Three Redis and three Sentinels."""

    stores: tuple[Process, ...]
    sentinels: tuple[Process, ...]

    @property
    def url(self) -> str:
        """The URL for rampd, with the user and the password of rampd, and the password of the Sentinels."""
        certificate = self.sentinels[0].certificate
        hosts = ",".join(f"{'localhost' if certificate else '127.0.0.1'}:{each.port}" for each in self.sentinels)
        scheme, more = ("rediss", f"&ssl_ca_certs={certificate}") if certificate else ("redis", "")
        return f"{scheme}+sentinel://rampd:{SECRET}@{hosts}/{SERVICE}?sentinel_password={SENTINEL_SECRET}{more}"

    def primary(self) -> Process:
        """The Redis that the Sentinels name."""
        with self.sentinels[0].client() as client:
            port = int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return next(each for each in self.stores if each.port == port)

    def replicas(self) -> tuple[Process, ...]:
        """The others."""
        primary = self.primary()
        return tuple(each for each in self.stores if each is not primary)

    def decided_s(self) -> float:
        """Waits for the first failover. Returns when the first Sentinel has named another primary."""
        eventually(lambda: any(each.said_s("+switch-master") for each in self.sentinels))
        return min(said for each in self.sentinels if (said := each.said_s("+switch-master")) is not None)

    def cut_off(self, store: Process) -> None:
        """Makes a partition between a Redis, and all others and the Sentinels."""
        with store.client() as client:
            client.execute_command("ACL", "DELUSER", *_USERS)

    def join(self, store: Process) -> None:
        """Ends the partition."""
        with store.client() as client:
            for user in _USERS:
                client.execute_command("ACL", "SETUSER", user, "on", f">{SECRET}", "allchannels", "+@all")


@contextlib.contextmanager
def sentinels(kind: str, folder: Path, *, is_tls: bool = False) -> Iterator[Sentinels]:
    """Starts three Redis and three Sentinels. The first Redis is the primary. With TLS, all have the name `localhost`."""
    program, ports = program_of(kind), free_ports(6)
    certificate = make_certificate(folder) if is_tls else None
    with contextlib.ExitStack() as stack:
        start = _Start(stack, program, folder, ports[:3], ports[3:], certificate)
        stores = [start.store(port) for port in ports[:3]]
        for each in stores:
            wait_until_ready(each)
        for each in stores[1:]:
            with each.client() as client:
                eventually(lambda client=client: client.info("replication")["master_link_status"] == "up")
        watching = [start.sentinel(number) for number in range(3)]
        for each in watching:
            wait_until_ready(each)
            with each.client() as client:
                eventually(lambda client=client: _is_ready(client), suppressed=exceptions.ResponseError)
        yield Sentinels(tuple(stores), tuple(watching))


def _is_ready(client: "Redis[str]") -> bool:
    """Whether a Sentinel reaches the others, and sees that all Redis are well. Raises ResponseError if it does not reach them."""
    client.execute_command("SENTINEL", "CKQUORUM", SERVICE)
    replicas = client.execute_command("SENTINEL", "REPLICAS", SERVICE)
    found = [dict(zip(each[::2], each[1::2], strict=True)) for each in replicas]
    return all(each["flags"] == "slave" and each["master-link-status"] == "ok" for each in found)


@dataclass(frozen=True, slots=True)
class _Start:
    """Starts the processes. They end with `stack`."""

    stack: contextlib.ExitStack
    program: str
    folder: Path
    stores: list[int]
    sentinels: list[int]
    certificate: tuple[Path, Path] | None
    """With its key; None without TLS."""

    @property
    def host(self) -> str:
        return "127.0.0.1" if self.certificate is None else "localhost"

    def store(self, port: int) -> Process:
        primary = self.stores[0]
        users = [f"user {name} on >{SECRET} allkeys allchannels +@all" for name in (*_USERS, "rampd", "tester")]
        lines = [
            *('save ""', "appendonly no", "maxmemory-policy noeviction", f"replica-announce-ip {self.host}"),
            *("repl-diskless-sync-delay 0", "repl-ping-replica-period 1", "repl-timeout 5", "repl-backlog-size 16mb"),
            *("masteruser replica", f"masterauth {SECRET}"),
            *("user default off", *users),
            *([] if port == primary else [f"replicaof {self.host} {primary}"]),
        ]
        return self._run(lines, [], port, "tester", SECRET)

    def sentinel(self, number: int) -> Process:
        others = [(place, port) for place, port in enumerate(self.sentinels) if place != number]
        lines = [
            f"requirepass {SENTINEL_SECRET}",
            f"sentinel sentinel-pass {SENTINEL_SECRET}",
            f"sentinel myid {id_of(number)}",
            *(["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"] if self.certificate else []),
            f"sentinel announce-ip {self.host}",
            f"sentinel monitor {SERVICE} {self.host} {self.stores[0]} 2",
            f"sentinel auth-user {SERVICE} sentinel",
            f"sentinel auth-pass {SERVICE} {SECRET}",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 10000",
            *(f"sentinel known-replica {SERVICE} {self.host} {port}" for port in self.stores[1:]),
            *(f"sentinel known-sentinel {SERVICE} {self.host} {port} {id_of(place)}" for place, port in others),
        ]
        return self._run(lines, ["--sentinel"], self.sentinels[number], None, SENTINEL_SECRET)

    def _run(self, lines: list[str], flags: list[str], port: int, user: str | None, password: str) -> Process:
        home = self.folder / str(port)
        home.mkdir()
        running, log = run_store(self.stack, self.program, home, [*port_lines(port, self.certificate), *lines], flags)
        return Process(port, running, log, password, user, self.certificate and self.certificate[0])


def run_store(
    stack: contextlib.ExitStack, program: str, home: Path, lines: list[str], flags: list[str]
) -> "tuple[subprocess.Popen[bytes], Path]":
    """Starts a Redis whose folder is `home`. Returns it and its log. It ends with `stack`."""
    path, log = home / "store.conf", home / "log"
    path.write_text("\n".join(["bind 127.0.0.1 -::1", f"dir {home}", *lines, ""]))
    with log.open("wb") as output:
        running = subprocess.Popen([program, str(path), *flags], stdout=output, stderr=output)
    stack.callback(_end, running)
    return running, log


def run_again(stack: contextlib.ExitStack, process: Process, *flags: str) -> Process:
    """Starts a Redis that has ended again, on its port and in its folder. It ends with `stack`."""
    [program, path, *_] = process.running.args
    with process.log.open("ab") as output:
        running = subprocess.Popen([program, path, *flags], stdout=output, stderr=output)
    stack.callback(_end, running)
    return replace(process, running=running)


def port_lines(port: int, certificate: tuple[Path, Path] | None) -> list[str]:
    """The lines of redis.conf for a port: a plain one, or one for TLS with a certificate and its key."""
    if certificate is None:
        return [f"port {port}"]
    pem, key = certificate
    return [
        *("port 0", f"tls-port {port}", f"tls-cert-file {pem}", f"tls-key-file {key}"),
        *(f"tls-ca-cert-file {pem}", "tls-auth-clients no", "tls-replication yes"),
    ]


def id_of(number: int) -> str:
    """An id of 40 digits, as Sentinels and nodes of a cluster have."""
    return f"{number + 1:040x}"


def _end(running: "subprocess.Popen[bytes]") -> None:
    running.kill()
    running.wait(_STOP_S)


def wait_until_ready(process: Process) -> None:
    """Waits until it answers."""

    def is_ready() -> bool:
        if process.running.poll() is not None:
            pytest.fail(f"a store did not start: {process.log.read_text()}")
        with process.client() as client:
            return bool(client.ping())

    eventually(is_ready, suppressed=exceptions.RedisError)
