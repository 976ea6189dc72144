"""A short run of `make chaos`: whatever happens to servers, links and the store, no caller gets a wrong answer."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import stores
from tests.chaos.cluster import ClusterStore
from tests.chaos.judge import judge
from tests.chaos.record import Record
from tests.chaos.running import Plan, running
from tests.chaos.sentinels import SentinelStore
from tests.chaos.stores import SingleStore, Topology
from tests.chaos.witness import Witness
from tests.nights import by_day
from tests.servers import require
from tests.stores import REDIS
from tests.waiting import eventually

RUN_S = 20.0


@pytest.mark.parametrize("topology", by_day([SingleStore, SentinelStore, ClusterStore], 1))
def test_no_caller_gets_a_wrong_answer_whatever_happens(topology: Callable[..., Topology]) -> None:
    require("redis-server")
    seed = int(os.environ.get("RAMPD_SEED", random.randrange(10**6)))
    print(f"RAMPD_SEED={seed}")

    with running(Plan(seed, RUN_S, topology=topology)) as run:
        record = run.record

    case, violations = judge(record)
    if violations:
        record.save(path := Path("build/chaos") / f"{seed}.jsonl")
        print(f"The record is {path}: python -m tests.chaos --replay {path}")
    shown = "\n".join((*(f"{each.rule}: {each.what}" for each in violations), *case.slice_of(violations[:1])))
    assert not violations, shown
    assert not run.broken, run.broken
    assert len(record.faults) >= 5
    assert sum(1 for call in record.calls if call.response is not None) > 50


def test_what_is_written_right_after_a_restore_is_not_taken_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a caller that writes while the answer of the restoring transaction is on its way, expect its write at its time."""
    require("redis-server")
    witness = Witness(record := Record())
    store = SingleStore(REDIS, random.Random(1), tmp_path, witness=witness)
    as_text = stores._as_text
    written_s: list[float] = []

    def late(answer: Any) -> Any:
        if not written_s:
            with store.client() as client:
                client.xadd(f"{witness.meta.removesuffix('meta')}feed", {"revision": "1"}, id="2-0")
            written_s.append(time.monotonic())
            time.sleep(0.1)
        return as_text(answer)

    try:
        with store.client() as client:
            client.hset(witness.meta, "head", "1-0")
        store.copy()
        monkeypatch.setattr(stores, "_as_text", late)
        store.restore()
        eventually(lambda: record.entries)
    finally:
        witness.stop()
        store.close()
    assert record.entries[0].after_s < written_s[0]
