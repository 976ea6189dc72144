"""How soon a protection is committed while others write to the same component as fast as they can. The protections are a
person's Rollback, the dead-man switch, and a guard. WatchRelease shows the commit; overrides do not wake it.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

import grpc
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd.v1.release_service_pb2_grpc import ReleaseServiceStub
from tests.bench import cores, running
from tests.bench.load import percentile
from tests.bench.report import Row, at_most, plain
from tests.bench.rollback import RELEASE, failures_needed, of_next, report
from tests.bench.scale import Scale
from tests.bench.writers import writing
from tests.servers import ServerProcess, Stubs

TARGET_MS = 1000
CONFIRM_S = 1.0
NUMBERS = (4, 16, 64)
RAISES = 1.05
"""If more writers do not raise the rate by this factor, fewer writers are used."""
RATE_S = 3.0
GIVEN_UP_S = 30.0
"""A protection that takes longer counts as this many seconds."""
_numbers = itertools.count()

Measure = Callable[[Stubs], float]
"""Measures the seconds of one protection."""


def run(scale: Scale) -> list[Row]:
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(running.store())
        servers = [stack.enter_context(running.rampd(store, on=on)) for on in (cores.SERVER, cores.LOAD)]
        running.begin_rollout(servers[0])
        call = stack.enter_context(running.calls(servers[0]))
        number, rate = heaviest(servers[0])
        rows = [plain(f"overrides of one component, {number} writers", [rate], "/s")]
        for name, measure in (("Rollback", rolled_back_s), ("dead-man switch", unconfirmed_s), ("guard", guarded_s)):
            rounds = scale.rounds * 5
            rows += latency_rows(f"{name}, alone", [measure(call) for _ in range(rounds)])
            with writing("overrides", number, running.COMPONENT, servers[0].target, on=cores.LOAD):
                found = [measure(call) for _ in range(rounds)]
            rows += latency_rows(f"{name}, beside {number} writers of overrides", found, TARGET_MS)
        with writing("verbs", number, running.COMPONENT, *(server.target for server in servers), on=cores.LOAD):
            found = [rolled_back_s(call) for _ in range(scale.rounds * 5)]
        return [
            *rows,
            *latency_rows(f"Rollback, beside {number} writers of Ramp and Pause at two servers", found, TARGET_MS),
        ]


def latency_rows(name: str, seconds: list[float], limit_ms: float | None = None) -> list[Row]:
    found = sorted(1000 * each for each in seconds)
    p50, p99 = [percentile(found, 0.5)], [percentile(found, 0.99)]
    return [
        plain(f"{name}: p50", p50, "ms"),
        plain(f"{name}: p99", p99, "ms") if limit_ms is None else at_most(f"{name}: p99", p99, "ms", limit_ms),
    ]


def heaviest(server: ServerProcess) -> tuple[int, float]:
    """Finds the number of writers after which more writers do not write more. Returns it and their rate."""
    best, best_rate = 0, 0.0
    for number in NUMBERS:
        with writing("overrides", number, running.COMPONENT, server.target, on=cores.LOAD) as rate:
            time.sleep(RATE_S)
        if rate.per_s <= best_rate * RAISES:
            break
        best, best_rate = number, rate.per_s
    return best, best_rate


def rolled_back_s(call: Stubs) -> float:
    ramp(call)
    began = time.perf_counter()
    try:
        call("Rollback", component=running.COMPONENT)
    except grpc.RpcError:  # the server used up the whole deadline of the call
        return GIVEN_UP_S
    return time.perf_counter() - began


def unconfirmed_s(call: Stubs) -> float:
    """Measures from the deadline on."""
    ramped = ramp(call, confirm_within=Duration(seconds=int(CONFIRM_S)))
    with until_held(call):
        pass
    return time.time() - ramped.rollout.confirm_deadline.ToMilliseconds() / 1000


def ramp(call: Stubs, **fields: object) -> v1.RampResponse:
    """Ramps next to 50 %. The call is repeated until it succeeds beside the other writers."""
    end = time.monotonic() + GIVEN_UP_S
    while True:
        with contextlib.suppress(grpc.RpcError):
            answer: v1.RampResponse = call("Ramp", component=running.COMPONENT, percent=50, **fields)
            return answer
        assert time.monotonic() < end


def guarded_s(call: Stubs) -> float:
    """Measures from the receipt of the last failure that the guard needs."""
    number = next(_numbers)
    revision = ramp(call).revision
    repos = list(itertools.islice(of_next(number), failures_needed()))
    report(call, revision, repos[:-1], sequence=2 * number + 1)
    with until_held(call):
        report(call, revision, repos[-1:], sequence=2 * number + 2)
        began = time.perf_counter()
    return time.perf_counter() - began


@contextlib.contextmanager
def until_held(call: Stubs) -> Iterator[None]:
    """Watches the release: begins before the block, and waits after the block until the release is held."""
    request = v1.WatchReleaseRequest(component=running.COMPONENT, release=RELEASE)
    watch = ReleaseServiceStub(call.channel).WatchRelease(request, timeout=GIVEN_UP_S)
    assert next(watch).rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT
    yield
    with contextlib.suppress(grpc.RpcError):  # the time-out of the stream
        for _ in watch:
            pass
