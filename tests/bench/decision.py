"""The time of one decision, without gRPC: nanoseconds per call, the best of many runs."""

import timeit
from collections.abc import Callable

from mmh3 import mmh3_32_uintdigest

from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Overrides,
    RolloutState,
    SnapshotRelease,
    resolve,
)
from tests.bench.report import Row, plain
from tests.bench.scale import Scale

RUNS = 15
CALLS = 20_000

CURRENT, NEXT = SnapshotRelease(1, "20200301", {"memory": "1g"}), SnapshotRelease(2, "20200409", {"memory": "2g"})
STEADY = ComponentSnapshot(component="restyler", revision=7, state=RolloutState.STEADY, current=CURRENT)
ROLLING_OUT = ComponentSnapshot(
    component="restyler", revision=7, state=RolloutState.ROLLING_OUT, current=CURRENT, next=NEXT, basis_points=1000
)


def now_ms() -> int:
    return 0


def overrides(number: int, *, owners: bool = False) -> Overrides:
    filled = Overrides()
    for place in range(number):
        filled.set(f"acme/pinned-{place}", Choice(Channel.NEXT))
    filled.set("acme/expires", Choice(Channel.NEXT, expire_ms=1))
    filled.set("acme/release", Choice(tag=NEXT.tag))
    filled.set("acme/branch", Choice(tag="pb/secret-branch"))
    if owners:
        filled.set("umbrella/*", Choice(Channel.NEXT))
        filled.set("umbrella/group/sub/*", Choice(Channel.CURRENT))
    return filled


def floor(components: dict[str, bytes], repos: dict[str, int], repo: str) -> Callable[[], object]:
    """Does the least that a decision needs: one murmur3 and two look-ups."""
    return lambda: (mmh3_32_uintdigest(components["restyler"] + repo.encode()), repos.get(repo))


def nanoseconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=CALLS, repeat=RUNS)) / CALLS * 1e9


def cases(number: int) -> dict[str, Callable[[], object]]:
    some, with_owners = overrides(number), overrides(number, owners=True)
    return {
        "floor: one murmur3, two look-ups": floor({"restyler": b"restyler/2:"}, {}, "acme/app"),
        "steady": lambda: resolve(STEADY, some, "acme/app", "", now_ms),
        "weight": lambda: resolve(ROLLING_OUT, some, "acme/app", "", now_ms),
        "weight, with an age": lambda: resolve(ROLLING_OUT, some, "acme/app", "", now_ms, age_s=0.5),
        "weight, too old": lambda: resolve(ROLLING_OUT, some, "acme/app-31", "", now_ms, age_s=1e9),
        "weight, owners are pinned": lambda: resolve(ROLLING_OUT, with_owners, "acme/app", "", now_ms),
        "override of the owner": lambda: resolve(ROLLING_OUT, with_owners, "umbrella/app", "", now_ms),
        "override of a nested group": lambda: resolve(ROLLING_OUT, with_owners, "umbrella/group/sub/app", "", now_ms),
        "override to a channel": lambda: resolve(ROLLING_OUT, some, "acme/pinned-7", "", now_ms),
        "override with an expiry": lambda: resolve(ROLLING_OUT, some, "acme/expires", "", now_ms),
        "override to a release's tag": lambda: resolve(ROLLING_OUT, some, "acme/release", "", now_ms),
        "override to an undeclared tag": lambda: resolve(ROLLING_OUT, some, "acme/branch", "", now_ms),
    }


def run(scale: Scale) -> list[Row]:
    empty = nanoseconds(lambda: None)
    return [
        plain(f"{name} ({number:,} overrides)", [nanoseconds(call) - empty], "ns")
        for number in (10, scale.overrides // 10)
        for name, call in cases(number).items()
    ]
