"""What metrics cost: Resolve with and without them, Resolve beside clients over HTTP, and a scrape of many components.

All servers but the one with workers run on one core, in turns. The components of the scrape are all being rolled out: a steady one
has fewer series. Each check of a component gives it six lines more, which are written again at each scrape.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd.v1 import release_service_pb2_grpc, resolver_service_pb2_grpc, rollout_service_pb2_grpc
from rampd_server import app
from rampd_server.listeners import Listening
from rampd_server.process import event_loop, logs, memory
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from tests.bench import cores, running
from tests.bench.load import Load, percentile
from tests.bench.report import Row, at_least, at_most, plain
from tests.bench.resolve import METHOD, REQUEST, SLICES
from tests.bench.rounds import in_turns, pooled, ratios
from tests.bench.scale import Scale
from tests.faults.test_check_sources import http_server, saying, vector
from tests.observing import loop_pauses
from tests.servers import short_directory
from tests.stores import StoreServer
from tests.waiting import eventually, eventually_async

LEAST = 0.98
MOST_SCRAPE_MS = 100.0
MOST_PAUSE_MS = 10.0
SCRAPES = 20
CHECKS = 2
_WORKERS = 4
_TIMES_AS_MANY = 10
"""As many components as a server may show: 10,000."""
_ASKED_S = 600
_LOOKED_S = 3
_AT_ONCE = 8
_JOBS = 10


def run(scale: Scale) -> list[Row]:
    with running.store() as store:
        return [*_cost(scale, store), *_beside(scale, store), *_scrape(scale, store), *_scrape_of_workers(scale, store)]


def _cost(scale: Scale, store: StoreServer) -> list[Row]:
    with running.rampd(store) as without, running.rampd(store, "--http", "127.0.0.1:0") as measured:
        running.begin_rollout(without)
        loads = [Load(server.target, METHOD, REQUEST) for server in (without, measured)]
        calls = scale.calls // SLICES
        slices = in_turns(scale.rounds * SLICES, *(lambda load=load: load.throughput(calls) for load in loads))
    rates, measured_rates = (pooled(found, SLICES) for found in slices)
    return [
        plain("Resolve without metrics, 64 at once", rates, "calls/s"),
        plain("Resolve with metrics, 64 at once", measured_rates, "calls/s"),
        at_least("ratio", ratios(measured_rates, rates), "", LEAST),
    ]


def _beside(scale: Scale, store: StoreServer) -> list[Row]:
    """Resolve over gRPC, alone and beside one client of each kind over HTTP."""
    flags = ("--namespace", "beside", "--http", "127.0.0.1:0")
    with running.rampd(store, *flags) as server:
        running.begin_rollout(server)
        event_loop.run(_fill(server.target, range(scale.components)))
        load = Load(server.target, METHOD, REQUEST)
        url = f"http://{server.event('listening_http')['address']}"

        def beside(client: "_Client") -> list[int]:
            with _asking(url, client):
                return load.latencies_us(scale.calls)

        alone, *others = in_turns(
            scale.rounds,
            lambda: load.latencies_us(scale.calls),
            *(lambda client=client: beside(client) for client in _CLIENTS),
        )
    found = {"Resolve, one by one": alone}
    found |= {f"the same beside {client.name}": times for client, times in zip(_CLIENTS, others, strict=True)}
    return [
        plain(f"{name}: p{share:.0%}".rstrip("%"), [percentile(each, share) for each in times], "us")
        for share in (0.5, 0.99)
        for name, times in found.items()
    ]


@dataclass(frozen=True, slots=True)
class _Client:
    """A client over HTTP that asks again and again."""

    name: str
    every_s: float
    method: str
    path: str
    body: object = None


_CLIENTS = (
    # Prometheus usually asks four times a minute.
    _Client("a scraper, once a second", 1.0, "GET", "/metrics"),
    _Client(
        *("a client of OFREP, 50 times a second", 0.02, "POST", f"/ofrep/v1/evaluate/flags/{running.COMPONENT}"),
        {"context": {"targetingKey": running.REPO}},
    ),
    _Client(
        *("a client of Connect, 50 times a second", 0.02, "POST", f"/{METHOD}"),
        {"component": running.COMPONENT, "repo": running.REPO},
    ),
)


@contextlib.contextmanager
def _asking(url: str, client: _Client) -> Iterator[None]:
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, trust_env=False) as http:
            while True:
                http.request(client.method, client.path, json=client.body).raise_for_status()
                if ended.wait(client.every_s):
                    return

    with cores.on(cores.LOAD), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            yield
        finally:
            ended.set()
        # A client that was refused has cost nothing, so its figure is wrong.
        asked.result()


def _scrape_of_workers(scale: Scale, store: StoreServer) -> list[Row]:
    """The process that starts the workers puts their scrapes together. All of them share both cores."""
    most = scale.components * _TIMES_AS_MANY
    flags = ("--namespace", "workers", "--http", "127.0.0.1:0", "--workers", str(_WORKERS))
    rows: list[Row] = []
    left_out: list[object] = []
    with running.rampd(store, *flags, "--metrics-components", str(most), on=cores.ALL) as server:
        url, filled = f"http://{server.event('listening_http')['address']}/metrics", 0
        for components in (scale.components, most):
            event_loop.run(_fill(server.target, range(filled, components)))
            filled = components
            times_ms = []
            with httpx.Client(trust_env=False, timeout=30) as http:
                # The first scrape writes every line, which may take four workers on two cores longer than a scrape may take.
                eventually(lambda http=http: http.get(url).is_success, within_s=_ASKED_S)
                begun = len(server.log)
                for _ in range(SCRAPES):
                    began_s = time.perf_counter()
                    http.get(url).raise_for_status()
                    times_ms.append((time.perf_counter() - began_s) * 1000)
                    time.sleep(0.1)
            rows.append(plain(f"a scrape of {components:,} components, --workers {_WORKERS}", times_ms, "ms"))
            left_out += [line for line in server.log[begun:] if line.get("event") == "worker_not_scraped"]
    return [*rows, at_most("workers that a scrape lacks", [len(left_out)], "", 0)]


def _scrape(scale: Scale, store: StoreServer) -> list[Row]:
    rows = []
    for checks in (0, CHECKS):
        with cores.on(cores.SERVER), short_directory() as folder:
            times_ms, pauses_ms, size = event_loop.run(_scrape_here(scale, store.url, folder, checks))
        named = f"{scale.components:,} components" + (f" with {checks} checks each" if checks else "")
        rows += [
            at_most(f"a scrape of {named}", times_ms, "ms", MOST_SCRAPE_MS),
            plain(f"the slowest of {SCRAPES}", [max(times_ms)], "ms"),
            at_most("the longest pause of the event loop in them", [max(pauses_ms)], "ms", MOST_PAUSE_MS),
            plain("lines of one", [size], ""),
        ]
    return rows


async def _scrape_here(scale: Scale, url: str, folder: Path, checks: int) -> tuple[list[float], list[float], int]:
    """Runs the server on the loop of this process, so that the pauses of the loop can be seen."""
    logs.hand_to_standard_library()
    here = Address("127.0.0.1", 0)
    async with http_server(saying(vector("0.25"))) as (port, questions):
        config = Config(
            data_dir=folder,
            listen=(here,),
            http=here,
            insecure_admin=True,
            namespace=f"here-{checks}",
            wait_for_store=False,
            prometheus_url=f"http://127.0.0.1:{port}",
        )
        async with app.running(config, url) as listening:
            await _fill(str(listening.grpc), range(scale.components), checks=checks)
            await _all_asked(questions, scale.components * checks)
            # As a server does that starts with these components.
            memory.settle()
            times_ms, pauses_ms, lines = [], [], 0
            for _ in range(SCRAPES):
                async with loop_pauses() as pauses:
                    began_s = time.perf_counter()
                    lines = await _ask(listening)
                    times_ms.append((time.perf_counter() - began_s) * 1000)
                pauses_ms.append(max(pauses) * 1000)
                await asyncio.sleep(0.1)
    return times_ms, pauses_ms, lines


async def _all_asked(questions: list[bytes], checks: int) -> None:
    """Waits until each check was asked once. It is not asked again for an hour."""
    # The policy itself was judged with a question for 1970.
    await eventually_async(lambda: sum(b"&time=0" not in each for each in questions) >= checks, _ASKED_S)
    # Automation looks at the answers.
    await asyncio.sleep(_LOOKED_S if checks else 0)


async def _ask(listening: Listening) -> int:
    """Returns the lines of a scrape. A client that costs next to nothing, because the server shares its loop."""
    assert listening.http is not None
    reader, writer = await asyncio.open_connection(listening.http.host, listening.http.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    lines = 0
    while data := await reader.read(1 << 16):
        lines += data.count(b"\n")
    writer.close()
    return lines


async def _fill(target: str, numbers: Sequence[int], *, checks: int = 0) -> None:
    """Makes components with a rollout at 50 % and outcomes of both channels."""
    turns = asyncio.Semaphore(_AT_ONCE)
    asked = [
        v1.Check(name=f"check-{number}", query=f"vector({number})", max=1, interval=Duration(seconds=3600))
        for number in range(checks)
    ]
    async with grpc.aio.insecure_channel(target) as channel:
        releases = release_service_pb2_grpc.ReleaseServiceStub(channel)
        rollouts = rollout_service_pb2_grpc.RolloutServiceStub(channel)
        resolver = resolver_service_pb2_grpc.ResolverServiceStub(channel)

        async def fill(component: str) -> None:
            async with turns:
                await releases.Release(v1.ReleaseRequest(component=component, tag="t1"))
                if asked:
                    await rollouts.SetPolicy(v1.SetPolicyRequest(component=component, policy=v1.Policy(checks=asked)))
                await releases.Release(v1.ReleaseRequest(component=component, tag="t2"))
                await rollouts.Ramp(v1.RampRequest(component=component, percent=50))
                outcomes = []
                for number in range(_JOBS):
                    repo = f"acme/{number}"
                    answer = await resolver.Resolve(v1.ResolveRequest(component=component, repo=repo))
                    result = v1.OUTCOME_RESULT_FAILED if number == 0 else v1.OUTCOME_RESULT_SUCCEEDED
                    named = {"component": component, "repo": repo, "result": result}
                    told = {name: getattr(answer, name) for name in ("release", "revision", "channel", "reason")}
                    outcomes.append(v1.Outcome(**named, **told))
                await resolver.ReportOutcomes(
                    v1.ReportOutcomesRequest(client_id=component, sequence=1, outcomes=outcomes)
                )

        await asyncio.gather(*(fill(f"c{number:04}") for number in numbers))
