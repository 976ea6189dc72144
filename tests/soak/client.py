"""The client that runs during the whole soak: `python -m tests.soak.client STEADY FLAPPING`.

A blocking and an asyncio resolver for each of the two servers resolve all the time. One server stays, the other comes and
goes. Meanwhile other resolvers are made, used and closed. The program reads commands, one a line: `count` (it answers with
one line of JSON), `calm`, `storm`.
"""

import asyncio
import gc
import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rampd import AsyncResolver, Resolver
from rampd._decision.resolution import Resolution

COMPONENTS = [f"component-{number}" for number in range(10)]
REPOS = [f"acme/app-{number}" for number in range(500)]
PAUSE_S = 0.02
VISIT_S = 1.0
TIMEOUT_S = 1.0
FALLBACK = "the-fallback"


@dataclass(slots=True)
class Tally:
    """Counts what the resolvers of this process have done."""

    is_storm: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)
    resolved: int = 0
    fallbacks: int = 0
    visits: int = 0
    slowest_ms: float = 0.0
    errors: list[str] = field(default_factory=list)

    def add(self, answer: Resolution, began_s: float) -> None:
        self.resolved += 1
        self.fallbacks += answer.tag == FALLBACK
        self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - began_s) * 1000)

    def line(self) -> str:
        gc.collect()
        numbers = {name: getattr(self, name) for name in ("resolved", "fallbacks", "visits", "slowest_ms", "errors")}
        return json.dumps({**numbers, "objects": len(gc.get_objects())})


def question(number: int) -> tuple[str, str]:
    return COMPONENTS[number % len(COMPONENTS)], REPOS[number % len(REPOS)]


def resolve(resolver: Resolver, tally: Tally, times: int | None = None) -> None:
    number = 0
    while number != times and not tally.is_over.is_set():
        component, repo = question(number)
        began_s = time.perf_counter()
        tally.add(resolver.resolve(component, repo=repo, fallback=FALLBACK), began_s)
        number += 1
        time.sleep(PAUSE_S)


async def resolve_async(resolver: AsyncResolver, tally: Tally, times: int | None = None) -> None:
    number = 0
    while number != times and not tally.is_over.is_set():
        component, repo = question(number)
        began_s = time.perf_counter()
        tally.add(await resolver.resolve(component, repo=repo, fallback=FALLBACK), began_s)
        number += 1
        await asyncio.sleep(PAUSE_S)


def visit(targets: Sequence[str], tally: Tally) -> None:
    """Makes, uses and closes resolvers during a storm."""
    number = 0
    while not tally.is_over.wait(VISIT_S):
        if tally.is_storm.is_set():
            with Resolver(targets[number % len(targets)], timeout=TIMEOUT_S) as resolver:
                resolve(resolver, tally, times=3)
            asyncio.run(visit_async(targets[number % len(targets)], tally))
            number += 1
            tally.visits += 2


async def visit_async(target: str, tally: Tally) -> None:
    async with AsyncResolver(target, timeout=TIMEOUT_S) as resolver:
        await resolve_async(resolver, tally, times=3)


async def resolve_all(targets: Sequence[str], tally: Tally) -> None:
    resolvers = [AsyncResolver(target, timeout=TIMEOUT_S) for target in targets]
    await asyncio.gather(*(resolve_async(resolver, tally) for resolver in resolvers))
    for resolver in resolvers:
        await resolver.close()


def obey(tally: Tally) -> None:
    for line in sys.stdin:
        if line == "storm\n":
            tally.is_storm.set()
        elif line == "calm\n":
            tally.is_storm.clear()
        else:
            print(tally.line(), flush=True)
    tally.is_over.set()


def main(targets: Sequence[str]) -> None:
    tally = Tally()
    logging.getLogger("rampd").setLevel(logging.ERROR)  # lost servers are expected here

    def note(failure: threading.ExceptHookArgs) -> None:
        tally.errors.append(repr(failure.exc_value))

    threading.excepthook = note
    resolvers = [Resolver(target, timeout=TIMEOUT_S) for target in targets]
    threads = [threading.Thread(target=resolve, args=(resolver, tally)) for resolver in resolvers]
    threads.append(threading.Thread(target=visit, args=(targets, tally)))
    threads.append(threading.Thread(target=asyncio.run, args=(resolve_all(targets, tally),)))
    for thread in threads:
        thread.start()
    obey(tally)
    for thread in threads:
        thread.join()
    for resolver in resolvers:
        resolver.close()


if __name__ == "__main__":
    main(sys.argv[1:])
