"""A short run of `make chaos`: whatever happens to servers, links and the store, no caller gets a wrong answer."""

import os
import random
from collections.abc import Callable

import pytest

from tests.chaos.cluster import ClusterStore
from tests.chaos.judge import judge
from tests.chaos.running import Plan, running
from tests.chaos.sentinels import SentinelStore
from tests.chaos.stores import SingleStore, Topology
from tests.nights import by_day
from tests.servers import require

RUN_S = 20.0


@pytest.mark.parametrize("topology", by_day([SingleStore, SentinelStore, ClusterStore], 1))
def test_no_caller_gets_a_wrong_answer_whatever_happens(topology: Callable[..., Topology]) -> None:
    require("redis-server")
    seed = int(os.environ.get("RAMPD_SEED", random.randrange(10**6)))
    print(f"RAMPD_SEED={seed}")

    with running(Plan(seed, RUN_S, topology=topology)) as run:
        record = run.record

    case, violations = judge(record)
    shown = "\n".join((*(f"{each.rule}: {each.what}" for each in violations), *case.slice_of(violations[:1])))
    assert not violations, shown
    assert not run.broken, run.broken
    assert len(record.faults) >= 5
    assert sum(1 for call in record.calls if call.response is not None) > 50
