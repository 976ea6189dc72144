"""What a collector does besides answering scrapes."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from rampd_server.metrics import collector, families
from rampd_server.metrics.collector import Collector
from rampd_server.metrics.components import Sources, _Known
from rampd_server.metrics.counting import ByComponent
from rampd_server.metrics.rollout_time import RolloutTime
from rampd_server.metrics.shown import Shown
from rampd_server.replica.replica import Replica
from tests.rollouts import steady
from tests.waiting import eventually_async


class Copy:
    """A copy with one component."""

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
    resolves, jobs, failures, seconds, decisions = (
        ByComponent(lambda name: name if name == "a" else families.OTHERS) for _ in range(5)
    )
    sources = Sources(jobs, failures, decisions, RolloutTime(replica, seconds), {})
    found, settled = Collector(replica, Shown(replica), sources), asyncio.Event()
    found.count_by_component(families.RESOLVES, resolves, settle=settled.set)
    for counts in (resolves, jobs):
        counts.add("a", ("x",))
        counts._slot("deleted")
    keeping = asyncio.create_task(found.keep())
    try:
        await eventually_async(lambda: [name for name, _ in jobs.items()] == ["a"])
        assert [name for name, _ in resolves.items()] == ["a"]
        assert settled.is_set()
    finally:
        keeping.cancel()


def test_a_component_is_written_again_when_only_its_rollout_has_changed() -> None:
    rollout = steady()
    known = _Known(rollout, is_frozen=False, observed=None, texts=())
    assert known.is_of(rollout, None, is_frozen=False)
    assert not known.is_of(replace(rollout), None, is_frozen=False)
    assert not known.is_of(rollout, None, is_frozen=True)
