"""Where the time of one Resolve goes: the processor time of the whole server, and each part of rampd's own code alone.

Alone, a part runs with warm caches and takes nanoseconds. In a server that does other work between two calls, it takes a few
times as long.
"""

import time
import timeit
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from rampd import v1
from rampd._contract.validation import violations
from rampd._decision.resolution import Choice, Overrides, resolve
from rampd_server.access.rpc_roles import Role
from rampd_server.ports import Namespace
from rampd_server.replica.projection import snapshot_of
from rampd_server.replica.state import Component
from rampd_server.rpc.binding import bind
from rampd_server.rpc.door import Door, local
from rampd_server.rpc.messages.resolution import encode
from rampd_server.rpc.resolver import ResolverServicer
from rampd_server.service.seen_repos import SeenRepos
from tests.bench import running
from tests.bench.load import Load
from tests.bench.report import Row, plain
from tests.bench.resolve import METHOD, REQUEST, SLICES
from tests.bench.rounds import in_turns
from tests.bench.scale import Scale
from tests.observing import cpu_us
from tests.rollouts import rolling_out

RUNS, CALLS = 15, 20_000


class StillReplica:
    """A replica with one component. Its state was confirmed a moment ago."""

    def __init__(self) -> None:
        overrides = Overrides()
        for number in range(10):
            overrides.set(f"acme/pinned-{number}", Choice(tag="pb/branch"))
        rollout = rolling_out()
        self.component = Component(rollout, snapshot_of(rollout), overrides)
        self.namespace = Namespace()
        self._confirmed_s = time.monotonic()

    def get(self, name: str) -> Any:
        return self.component if name == running.COMPONENT else None

    @property
    def age_s(self) -> float:
        return (time.monotonic() - self._confirmed_s) % 1

    def likely_ms(self) -> int:
        return 0

    def subscribe(self, listener: Any) -> None:
        """Nothing ever changes."""


def run(scale: Scale) -> list[Row]:
    return [*processor_time(scale), *parts()]


def processor_time(scale: Scale) -> list[Row]:
    with running.store() as store, running.rampd(store) as server, running.bare("echo_server", "uvloop") as echo:
        running.begin_rollout(server)
        loads = (
            (Load(server.target, METHOD, REQUEST), server.process.pid),
            (Load(echo.target, METHOD, REQUEST), echo.process_id),
        )
        calls = scale.calls // SLICES
        found = in_turns(scale.rounds, *(lambda load=load, pid=pid: used_us(load, pid, calls) for load, pid in loads))
    resolves, echoes = found
    return [
        plain("processor time of the server for a Resolve", resolves, "us"),
        plain("processor time of the server for a bare echo", echoes, "us"),
        plain("difference", [mine - bare for mine, bare in zip(resolves, echoes, strict=True)], "us"),
    ]


def used_us(load: Load, process_id: int, calls: int) -> float:
    before = cpu_us(process_id)
    load.throughput(calls)
    return (cpu_us(process_id) - before) / calls


def parts() -> list[Row]:
    replica: Any = StillReplica()
    seen = SeenRepos(replica, replica)
    servicers = {"ResolverService": ResolverServicer(replica, None, None, note_seen=seen.note)}
    handler = bind(servicers, violations=violations, door=Door(local(Role.VIEWER)))
    handle = handler.service(SimpleNamespace(method=f"/{METHOD}")).unary_unary
    data = REQUEST.SerializeToString()
    request = v1.ResolveRequest.FromString(data)
    known = replica.component
    resolution = resolve(
        known.snapshot, known.overrides, request.repo, request.job_id, replica.likely_ms, replica.age_s
    )
    assert v1.ResolveResponse.FromString(result_of(handle(data, None))).tag == resolution.tag
    steps: dict[str, Callable[[], object]] = {
        "all of rampd's own code, from bytes to bytes": lambda: result_of(handle(data, None)),
        "  parse the request": lambda: v1.ResolveRequest.FromString(data),
        "  check its fields": lambda: violations(request),
        "  find the component, and its age": lambda: (replica.get(request.component), replica.age_s),
        "  decide": lambda: resolve(
            known.snapshot, known.overrides, request.repo, request.job_id, replica.likely_ms, replica.age_s
        ),
        "  note that the repo was seen": lambda: seen.note(request.component, request.repo),
        "  encode the answer": lambda: encode(resolution),
        "  (the same by building the message)": lambda: built(resolution).SerializeToString(),
    }
    empty = nanoseconds(lambda: None)
    return [plain(name, [nanoseconds(step) - empty], "ns") for name, step in steps.items()]


def built(resolution: Any) -> v1.ResolveResponse:
    response = v1.ResolveResponse(
        tag=resolution.tag,
        channel=f"CHANNEL_{resolution.channel}",
        reason=f"RESOLVE_REASON_{resolution.reason}",
        release=resolution.release,
        bucket=resolution.bucket,
        revision=resolution.revision,
        stale=resolution.stale,
        attributes=resolution.attributes,
    )
    response.snapshot_age.FromMilliseconds(int(resolution.snapshot_age_s * 1000))
    return response


def result_of(coroutine: Coroutine[None, None, bytes]) -> bytes:
    """Runs a coroutine that never waits, and returns its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: bytes = done.value
        return answer
    raise AssertionError("the coroutine waits")


def nanoseconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=CALLS, repeat=RUNS)) / CALLS * 1e9
