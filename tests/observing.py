"""Observes a process, a store or an event loop while something else happens."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

INTERVAL_S = 0.001


@contextlib.contextmanager
def repeated(ask: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Iterator[list[float]]:
    """Asks again and again until the block ends. Gives a list of how many seconds each answer took, by this clock."""
    found: list[float] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            began = clock()
            ask()
            found.append(clock() - began)
            is_over.wait(INTERVAL_S)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def pings(path: str, clock: Callable[[], float] = time.perf_counter) -> Iterator[list[float]]:
    """Measures how many seconds a store on a unix socket takes to answer another client."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)

        def ping() -> None:
            client.sendall(b"PING\r\n")
            client.recv(64)

        with repeated(ping, clock) as found:
            yield found


@contextlib.contextmanager
def health_checks(target: str, clock: Callable[[], float] = time.perf_counter) -> Iterator[list[float]]:
    """Measures how many seconds a server takes to answer a health check. A busy event loop makes the answer late."""
    with grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        with repeated(lambda: check(health_pb2.HealthCheckRequest(), timeout=60), clock) as found:
            yield found


@contextlib.asynccontextmanager
async def loop_pauses() -> AsyncIterator[list[float]]:
    """Measures for how many seconds this event loop gives no other task a turn. The list has the longest time."""
    pauses = [0.0]

    async def watch() -> None:
        before_s = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now_s = time.perf_counter()
            pauses[0] = max(pauses[0], now_s - before_s)
            before_s = now_s

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield pauses
    finally:
        watching.cancel()


def work_of(process_id: int) -> Callable[[], float]:
    """A clock that runs only while the main thread of a process has a processor. Other work of the machine does not count."""
    path = Path(f"/proc/{process_id}/task/{process_id}/schedstat")
    return lambda: int(path.read_text().split()[0]) / 1e9


def peak_memory_mb(process_id: int) -> float:
    """Returns the most memory that a process has had, in MB."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(process_id)


def cpu_us(process_id: int) -> float:
    """Returns the processor time that a process and its threads have used, in microseconds."""
    nanoseconds = 0
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1000
