"""What the client adds to a process that has imported grpc: the time until its first answer, and memory."""

import subprocess
import sys
from functools import partial

from tests import filling
from tests.bench import cores, running
from tests.bench.report import Row, at_most, plain
from tests.bench.rounds import in_turns
from tests.bench.scale import Scale
from tests.bench.size import filled

MOST_MS, MOST_MB = 400, 60
OVERRIDES = 100_000
RESIDENT = "print(int(open('/proc/self/statm').read().split()[1]) * 4 / 1024)"
"""Prints megabytes: the memory now, after the state has been read, and not the peak."""
BARE = f"import time; began = time.perf_counter(); import grpc; print(time.perf_counter() - began); {RESIDENT}"
FIRST = (
    "import sys, time; import grpc; began = time.perf_counter(); from rampd import Resolver; "
    "resolver = Resolver(sys.argv[1], timeout=60); resolver.resolve(sys.argv[2], repo='acme/app'); "
    f"print(time.perf_counter() - began); {RESIDENT}; resolver.close()"
)


def run(scale: Scale) -> list[Row]:
    number = min(OVERRIDES, scale.overrides)
    with (
        running.store() as store,
        running.rampd(store) as server,
        filled(1, number) as large_store,
        running.rampd(large_store) as large,
        cores.on(cores.LOAD),
    ):
        running.begin_rollout(server)
        bare, small, long = in_turns(
            scale.rounds,
            partial(in_a_process, BARE),
            partial(in_a_process, FIRST, server.target, running.COMPONENT),
            partial(in_a_process, FIRST, large.target, filling.LARGE),
        )
    return [
        plain("import grpc", [1000 * seconds for seconds, _ in bare], "ms"),
        at_most("then import rampd, connect, first resolve", [1000 * seconds for seconds, _ in small], "ms", MOST_MS),
        plain(f"the same with {number:,} overrides", [1000 * seconds for seconds, _ in long], "ms"),
        plain("memory of a process that has imported grpc", [mb for _, mb in bare], "MB"),
        plain("what a client adds", more_mb(small, bare), "MB"),
        at_most(f"what a client with {number:,} overrides adds", more_mb(long, bare), "MB", MOST_MB),
    ]


def in_a_process(program: str, *arguments: str) -> tuple[float, float]:
    """Runs a program that prints seconds and megabytes, and returns both."""
    output = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    ).stdout
    seconds, megabytes = map(float, output.split())
    return seconds, megabytes


def more_mb(found: list[tuple[float, float]], than: list[tuple[float, float]]) -> list[float]:
    return [mb - bare_mb for (_, mb), (_, bare_mb) in zip(found, than, strict=True)]
