"""What a collector does besides answering scrapes."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import cast

import pytest

from rampd_server.metrics import collector, families
from rampd_server.metrics.collector import Collector
from rampd_server.metrics.components import Sources, _Known
from rampd_server.metrics.counting import ByComponent
from rampd_server.metrics.families import FAMILIES
from rampd_server.metrics.rollout_time import RolloutTime
from rampd_server.metrics.shown import Shown
from rampd_server.replica.replica import Replica
from tests.in_background import in_background
from tests.rollouts import steady
from tests.waiting import eventually_async


class Copy:
    """A copy with one component, which is not confirmed."""

    is_confirmed = False

    def subscribe(self, _listener: object) -> None:
        pass

    def get(self, component: str) -> object:
        return component == "a" or None

    def components(self) -> list[object]:
        return []


async def test_what_nobody_scrapes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given counts of a component that is there and of one that was deleted, expect the latter to go without a scrape."""
    monkeypatch.setattr(collector, "_SETTLE_S", 0.01)
    replica = cast("Replica", Copy())
    resolves, jobs, failures, seconds, decisions, lost = (
        ByComponent(lambda name: name if name == "a" else families.OTHERS) for _ in range(6)
    )
    sources = Sources(jobs, failures, decisions, lost, RolloutTime(replica, seconds), {})
    found, settled = Collector(replica, Shown(replica), sources), asyncio.Event()
    found.count_by_component(families.RESOLVES, resolves, settle=settled.set)
    for counts in (resolves, jobs):
        counts.add("a", ("x",))
        counts._slot("deleted")
    async with in_background(found.keep()):
        await eventually_async(lambda: [name for name, _ in jobs.items()] == ["a"])
        assert [name for name, _ in resolves.items()] == ["a"]
        assert settled.is_set()


async def test_many_scrapes_at_once_have_one_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given 20 scrapes at once, each of which rests after each family, expect the loop to wait for one of them at a time."""
    monkeypatch.setattr(collector, "_TURN_S", -1)
    replica = cast("Replica", Copy())
    counts = [ByComponent(lambda name: name) for _ in range(5)]
    found = Collector(replica, Shown(replica), Sources(*counts[:4], RolloutTime(replica, counts[4]), {}))
    rounds, reads = 0, Counter[int]()

    async def go_round() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    def read() -> float:
        reads[rounds] += 1
        return 1

    for family in [each for each in FAMILIES if not each.labels][:10]:
        found.read_number(family, read)

    async def scrape() -> bytes:
        return b"".join([piece async for piece in found.text()])

    async with in_background(go_round()):
        texts = await asyncio.gather(*(scrape() for _ in range(20)))
    assert len(set(texts)) == 1
    assert reads.total() == 200
    assert max(reads.values()) == 1


def test_a_component_is_written_again_when_only_its_rollout_has_changed() -> None:
    rollout = steady()
    known = _Known(rollout, is_frozen=False, observed=None, texts=())
    assert known.is_of(rollout, None, is_frozen=False)
    assert not known.is_of(replace(rollout), None, is_frozen=False)
    assert not known.is_of(rollout, None, is_frozen=True)
