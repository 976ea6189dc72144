"""The page among 1,000 components, each in a rollout: how long it takes, and for how long the event loop gives no other task a turn.

One component has the most that its page shows. The server is in this process, so that the pauses of its loop can be seen. Each page is
opened several times, and then a tab looks at it while its component changes.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rampd_server import app
from rampd_server.domain.evidence.admission import Counted, trial_of
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import MAX_QUARANTINE, MAX_QUEUE, Absent
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.listeners import Listening
from rampd_server.ports import Author, Namespace, OutcomeBatch, Override, Result
from rampd_server.process import event_loop, logs, memory
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from rampd_server.storage.limits import (
    COARSE_STEP_MS,
    FINE_STEP_MS,
    MAX_COARSE_SAMPLES,
    MAX_FINE_SAMPLES,
    MAX_SEEN_REPOS,
)
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.seen import RedisSeen
from rampd_server.storage.store import RedisStore
from tests import filling
from tests.bench import cores, running
from tests.bench.report import Row, at_most, plain
from tests.bench.scale import QUICK, Scale
from tests.observing import loop_pauses
from tests.servers import short_directory
from tests.stores import StoreServer

PAUSE_MS = 10.0
OPENED, LOOKED_S = 20, 15.0
_EVENTS: Final = 400
_JOBS: Final = 10
"""Of each channel, in each step of the samples."""
_PAGES: Final = {
    "all components": ("/", "/live"),
    "one component": (f"/components/{filling.LARGE}", f"/components/{filling.LARGE}/live"),
    "one component, and a repo explained": (f"/components/{filling.LARGE}?span=week&repo={'/'.join('a' * 128)}", ""),
}
"""The address of each page, and that of the stream of its tab."""


def run(scale: Scale) -> list[Row]:
    is_whole = scale.components > QUICK.components
    opened, looked_s = (OPENED, LOOKED_S) if is_whole else (3, 2.0)
    with running.store() as store, cores.on(cores.SERVER), short_directory() as folder:
        return event_loop.run(_measure(store, folder, scale.components, opened, looked_s))


async def _measure(store: StoreServer, folder: Path, components: int, opened: int, looked_s: float) -> list[Row]:
    logs.hand_to_standard_library()
    await _fill(store.store(), components)
    here, rows = Address("127.0.0.1", 0), list[Row]()
    config = Config(data_dir=folder, listen=(here,), http=here, insecure_admin=True, wait_for_store=False)
    async with app.running(config, store.url) as listening:
        memory.settle()
        for what, (page, stream) in _PAGES.items():
            rows += await _opened(listening, what, page, opened)
            if stream:
                rows += await _looked_at(listening, what, stream, looked_s)
    return rows


async def _opened(listening: Listening, what: str, path: str, times: int) -> list[Row]:
    times_ms, pauses_ms, size = [], [], 0
    for _ in range(times):
        async with loop_pauses() as pauses:
            began_s = time.perf_counter()
            size = await _asked(listening, "GET", path)
            times_ms.append((time.perf_counter() - began_s) * 1000)
        pauses_ms.append(pauses[0] * 1000)
        await asyncio.sleep(0.1)
    return [
        plain(f"{what}: until the page is there", times_ms, "ms"),
        plain("  its size", [size / 1000], "kB"),
        plain("  the longest pause of the event loop in each", pauses_ms, "ms"),
        at_most("  in all", [max(pauses_ms)], "ms", PAUSE_MS),
    ]


async def _looked_at(listening: Listening, what: str, path: str, looked_s: float) -> list[Row]:
    """A tab, while somebody ramps its component each second."""
    looking = asyncio.create_task(_asked(listening, "GET", path))
    await asyncio.sleep(1)
    changes = 0
    async with loop_pauses() as pauses:
        while changes < looked_s:
            changes += 1
            body = json.dumps({"component": filling.LARGE, "percent": 10 + changes})
            await _asked(listening, "POST", "/rampd.v1.RolloutService/Ramp", body)
            await asyncio.sleep(1)
    assert not looking.done()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    named = f"{what}: the longest pause of the event loop while a tab looks for {changes} s"
    return [at_most(named, [pauses[0] * 1000], "ms", PAUSE_MS)]


async def _asked(listening: Listening, method: str, path: str, body: str = "") -> int:
    """Returns the bytes of the answer. A client that costs next to nothing, because the server shares its loop."""
    assert listening.http is not None
    reader, writer = await asyncio.open_connection(listening.http.host, listening.http.port)
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept: text/html, text/event-stream\r\n"
    )
    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    size, first = 0, b""
    try:
        while data := await reader.read(1 << 16):
            first, size = first or data, size + len(data)
    finally:
        writer.close()
    assert first.startswith(b"HTTP/1.1 200 "), first[:200]
    return size


async def _fill(store: RedisStore, components: int) -> None:
    await filling.begin_rollouts(store, components)
    await _do(
        store,
        *(commands.Quarantine(f"bad-{number}") for number in range(MAX_QUARANTINE)),
        *(commands.Ramp(1_001 + number) for number in range(_EVENTS)),
        *(commands.Release(f"v{number}") for number in range(MAX_QUEUE)),
    )
    overrides = {f"owner/repo-{number:04}": Override(channel="NEXT") for number in range(filling.BATCH)}
    await store.commit_overrides(filling.LARGE, overrides, filling.ADA)
    seen = [f"owner/seen-{number}" for number in range(MAX_SEEN_REPOS)]
    await RedisSeen(store.link).add(filling.LARGE, seen, 0)
    await _count_jobs(store, seen)
    await store.close()


async def _do(store: RedisStore, *steps: commands.Command) -> None:
    rollout = (await store.read(filling.LARGE)).rollout
    for step in steps:
        after = transition(rollout, step, Context(int(time.time() * 1000), "ada")).after
        author = Author("ada", type(step).__name__, "because of what a person says in some words about the change")
        _, rollout = await store.commit(rollout, after, author, Result(after.revision), Namespace())


async def _count_jobs(store: RedisStore, repos: Sequence[str]) -> None:
    """Counts a job of each repo, and writes the samples of a week with jobs in every step."""
    rollout = (await store.read(filling.LARGE)).rollout
    assert not isinstance(rollout, Absent)
    jobs = [
        Counted(weight=1000, is_next=not number % 10, is_failed=not number % 7, unit=repo, duration_ms=1_000)
        for number, repo in enumerate(repos)
    ]
    batch = OutcomeBatch(filling.LARGE, trial_of(rollout), "worker-1", 1, "d1", "ada", "1.", jobs)
    await RedisOutcomes(store.link).count_outcomes(batch)
    keys, now_ms = store.keys.outcomes(filling.LARGE), int(time.time() * 1000)
    for key, step_ms, most in (
        (keys.fine_samples, FINE_STEP_MS, MAX_FINE_SAMPLES),
        (keys.coarse_samples, COARSE_STEP_MS, MAX_COARSE_SAMPLES),
    ):
        first_ms = now_ms - now_ms % step_ms - (most - 1) * step_ms
        texts = (
            f"{first_ms + step * step_ms} {rollout.next} {rollout.trial} {rollout.current_revision} "
            f"{step * _JOBS} {step} {step * _JOBS} {step}"
            for step in range(most)
        )
        await store.client.delete(key)
        await store.client.rpush(key, *texts)
