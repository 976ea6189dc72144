"""Outcomes through one server in batches of a thousand, Resolve at the same time, and what Redis keeps for a release."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import redis

from rampd import v1
from rampd._decision.bucketing import bucket
from rampd_server.storage.keys import Keys
from rampd_server.storage.limits import COARSE_STEP_MS, FINE_STEP_MS, MAX_COARSE_SAMPLES, MAX_FINE_SAMPLES
from tests.bench import cores, running
from tests.bench.load import Load, percentile
from tests.bench.report import Row, Spread, at_most, plain
from tests.bench.resolve import METHOD, REQUEST
from tests.bench.scale import Scale
from tests.servers import ServerProcess
from tests.stores import StoreServer

BATCH = 1000
CLIENTS = 4
CLIENTS_REMEMBERED = 500
LEAST_RATE = 10_000
UNITS = (10_000, 100_000)
NOW_MS, FORTNIGHT_MS = 1_800_000_000_000, 14 * 86_400_000
MOST_BYTES = 1_000_000
"""The most bytes in Redis for one release and its reporters."""
_RELEASE, _WEIGHT = 5, 1000
_client_numbers = itertools.count()


def run(scale: Scale) -> list[Row]:
    batches = max(20, scale.calls // 100)
    with running.store() as store, running.rampd(store) as server:
        running.begin_rollout(server)
        sender = Sender(server)
        with cores.on(cores.LOAD), redis.Redis.from_url(store.url) as client:
            client.config_set("slowlog-max-len", 10_000)
            client.config_set("slowlog-log-slower-than", 100)
            rates = [sender.throughput(batches) for _ in range(scale.rounds)]
            scripts_ms = sorted(entry["duration"] / 1000 for entry in client.slowlog_get(10_000))
            client.config_set("slowlog-log-slower-than", -1)
            resolve = Load(server.target, METHOD, REQUEST)
            alone = [resolve.latencies_us(scale.calls // 4) for _ in range(scale.rounds)]
            with sender.paced():
                meanwhile = [resolve.latencies_us(scale.calls // 4) for _ in range(scale.rounds)]
            rows = [
                Row(
                    f"outcomes, {CLIENTS} clients at once",
                    Spread.of(rates),
                    "outcomes/s",
                    f"at least {LEAST_RATE:,}",
                    Spread.of(rates).median >= LEAST_RATE,
                ),
                plain("  the script in Redis: p50", [percentile(scripts_ms, 0.5)], "ms"),
                plain("  the script in Redis: p99", [percentile(scripts_ms, 0.99)], "ms"),
                plain("Resolve, one by one: p50", [percentile(each, 0.5) for each in alone], "us"),
                plain("Resolve, one by one: p99", [percentile(each, 0.99) for each in alone], "us"),
                plain("  at 10,000 outcomes/s: p50", [percentile(each, 0.5) for each in meanwhile], "us"),
                plain("  at 10,000 outcomes/s: p99", [percentile(each, 0.99) for each in meanwhile], "us"),
                plain("  sent meanwhile", [sender.paced_rate], "outcomes/s"),
            ]
    return [*rows, *(memory(units) for units in UNITS), memory_of_clients(), memory_of_samples()]


class Sender:
    """Sends batches as real launchers do: many repos, a tenth of the jobs ran next, and a tenth of the jobs failed."""

    def __init__(self, server: ServerProcess, *, units: int = 20_000) -> None:
        channel = grpc.insecure_channel(server.target)
        self._send = channel.unary_unary("/rampd.v1.ResolverService/ReportOutcomes")
        with running.calls(server) as call:
            revision = call("Resolve", component=running.COMPONENT, repo=running.REPO).revision
        repos = [f"owner-{number % 997}/repo-{number}" for number in range(units)]
        self._bodies = [
            batch(repos[first : first + BATCH], revision).SerializeToString() for first in range(0, units, BATCH)
        ]
        self.paced_rate = 0.0

    def send(self, client: str, sequence: int) -> None:
        # Joined bytes of two protobuf messages are one message with the fields of both.
        head = v1.ReportOutcomesRequest(client_id=client, sequence=sequence).SerializeToString()
        answer = v1.ReportOutcomesResponse.FromString(
            self._send(head + self._bodies[sequence % len(self._bodies)], timeout=10)
        )
        assert answer.accepted == BATCH, answer.ignored[:1]

    def throughput(self, batches: int) -> float:
        """Returns outcomes per second. Each client sends one batch after the other."""
        each = batches // CLIENTS
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._send_all, [each] * CLIENTS))
        return each * CLIENTS * BATCH / (time.monotonic() - began)

    def _send_all(self, batches: int) -> None:
        client = f"bench-{next(_client_numbers)}"
        for sequence in range(1, batches + 1):
            self.send(client, sequence)

    @contextlib.contextmanager
    def paced(self) -> Iterator[None]:
        """Sends ten batches a second until the block ends."""
        stop = threading.Event()

        def work() -> None:
            client, began, sent = f"bench-{next(_client_numbers)}", time.monotonic(), 0
            while not stop.wait(max(0, began + sent * BATCH / LEAST_RATE - time.monotonic())):
                sent += 1
                self.send(client, sent)
            self.paced_rate = sent * BATCH / (time.monotonic() - began)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def batch(repos: list[str], revision: int) -> v1.ReportOutcomesRequest:
    """Makes a batch with one job of each repo."""
    request = v1.ReportOutcomesRequest()
    for number, repo in enumerate(repos):
        is_next = bucket(running.COMPONENT, _RELEASE, repo) < _WEIGHT
        outcome = request.outcomes.add(
            component=running.COMPONENT,
            release=_RELEASE if is_next else _RELEASE - 1,
            revision=revision,
            channel=v1.CHANNEL_NEXT if is_next else v1.CHANNEL_CURRENT,
            reason=v1.RESOLVE_REASON_WEIGHT,
            repo=repo,
            job_id=f"job-{number}",
            result=v1.OUTCOME_RESULT_SUCCEEDED if number % 10 else v1.OUTCOME_RESULT_FAILED,
        )
        outcome.duration.FromMilliseconds(61_234)
    return request


def memory(units: int) -> Row:
    """Measures the bytes of all keys of a release's outcomes, after one client has reported one job of each unit."""
    with running.store() as store, running.rampd(store) as server:
        running.begin_rollout(server)
        sender = Sender(server, units=units)
        for sequence in range(1, units // BATCH + 1):
            sender.send("bench", sequence)
        return at_most(f"Redis for a release, {units:,} units", [bytes_of_outcomes(store)], "bytes", MOST_BYTES)


def memory_of_clients() -> Row:
    """Measures the bytes for each client that the store remembers. It remembers the latest 100,000 of a component."""
    with running.store() as store, running.rampd(store) as server:
        running.begin_rollout(server)
        sender = Sender(server, units=BATCH)
        sender.send("bench", 1)
        alone = bytes_of_outcomes(store)
        for number in range(CLIENTS_REMEMBERED):
            sender.send(f"{number:032x}", 1)
        each = (bytes_of_outcomes(store) - alone) / CLIENTS_REMEMBERED
        return plain("  and for each client", [each], "bytes")


def memory_of_samples() -> Row:
    """Measures the bytes of the samples of a component whose jobs have ended all the time for two weeks: four in a second, a tenth of
    which ran next, and a tenth of which failed.
    """
    keys = Keys().outcomes(running.COMPONENT)
    steps = {
        keys.fine_samples: (FINE_STEP_MS, MAX_FINE_SAMPLES),
        keys.coarse_samples: (COARSE_STEP_MS, MAX_COARSE_SAMPLES),
    }
    with running.store() as store, redis.Redis.from_url(store.url) as client:
        for key, (step_ms, most) in steps.items():
            for number in range(NOW_MS // step_ms - 2 * most, NOW_MS // step_ms):
                jobs = 4 * (number * step_ms - NOW_MS + FORTNIGHT_MS) // 1000
                counts = f"12 1 345 {jobs * 9 // 10} {jobs * 9 // 100} {jobs // 10} {jobs // 100}"
                client.rpush(key, f"{number * step_ms} {counts}")
                client.ltrim(key, -most, -1)
        return plain("  and for its samples, at most", [bytes_of_outcomes(store)], "bytes")


def bytes_of_outcomes(store: StoreServer) -> int:
    with redis.Redis.from_url(store.url) as client:
        keys = client.scan_iter(match=f"rampd:{{default:{running.COMPONENT}}}:*", count=1000)
        return sum(client.memory_usage(key, samples=0) or 0 for key in keys)
