"""How the seconds of rollouts are counted from what a server sees of them."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.metrics.counting import ByComponent
from rampd_server.metrics.rollout_time import RolloutTime
from rampd_server.ports import FeedEntry, Namespace
from rampd_server.replica.replica import Replica
from tests.rollouts import NOW, held, rolling_out, steady

C = "restyler"


class Known:
    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout


class Copy:
    """A copy whose rollout and time the test sets."""

    def __init__(self, rollout: Rollout) -> None:
        self.known = {C: Known(rollout)}
        self.now = NOW
        self.namespace = Namespace()
        self.loaded = asyncio.Event()
        self.loaded.set()

    def subscribe(self, _listener: object) -> None:
        pass

    def get(self, component: str) -> Known | None:
        return self.known.get(component)

    def components(self) -> list[Known]:
        return list(self.known.values())

    def now_ms(self) -> int:
        return self.now


class World:
    def __init__(self, rollout: Rollout) -> None:
        self.copy = Copy(rollout)
        self.seconds = ByComponent()
        self.time = RolloutTime(cast("Replica", self.copy), self.seconds)
        self.reload()

    def reload(self) -> None:
        for _ in self.time.reloaded():
            pass

    def change(self, rollout: Rollout | None, at_ms: int) -> None:
        """A change that was committed at a time."""
        self.copy.known = {} if rollout is None else {C: Known(rollout)}
        self.time.applied(FeedEntry(f"{at_ms}-0", "", C, 1, patch="{}"), None, None)

    def freeze(self, freeze: Freeze | None, at_ms: int) -> None:
        """A change of the namespace's freeze that was committed at a time."""
        self.copy.namespace = Namespace(freeze)
        self.time.applied(FeedEntry(f"{at_ms}-0", "", namespace=self.copy.namespace), None, None)

    def counted(self, now_ms: int) -> dict[str, float]:
        self.time.settle(C, now_ms)
        return {doing: seconds for _, slot in self.seconds.items() for (doing,), seconds in slot.counts.items()}


def test_time_counts_from_when_the_server_has_seen_the_rollout() -> None:
    world = World(rolling_out())
    assert world.counted(NOW) == {}
    assert world.counted(NOW + 2_500) == {"waiting": 2.5}
    assert world.counted(NOW + 4_000) == {"waiting": 4.0}


def test_a_change_counts_from_when_it_was_committed_and_not_from_when_it_came() -> None:
    world = World(rolling_out())
    world.change(held(), NOW + 1_000)
    assert world.counted(NOW + 5_000) == {"waiting": 1.0, "held": 4.0}


def test_a_rollout_that_has_ended_spends_no_time_any_more() -> None:
    world = World(rolling_out())
    world.change(steady(), NOW + 1_000)
    assert world.counted(NOW + 5_000) == {"waiting": 1.0}


def test_the_time_of_a_deleted_component_counts_for_nobody() -> None:
    world = World(rolling_out())
    world.change(None, NOW + 1_000)
    assert world.counted(NOW + 5_000) == {}


def test_a_freeze_of_the_namespace_counts_from_its_entry_on() -> None:
    world = World(rolling_out())
    world.freeze(Freeze("ada", "", NOW), NOW + 1_000)
    assert world.counted(NOW + 3_000) == {"waiting": 1.0, "frozen": 2.0}


def test_a_change_of_the_freeze_of_the_namespace_counts_nothing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a namespace that may have thousands of rollouts, expect that each is counted when somebody asks for it. Only after very
    many changes all are counted.
    """
    monkeypatch.setattr("rampd_server.metrics.rollout_time._KEPT", 5)
    world = World(rolling_out())
    for second in range(1, 5):
        world.freeze(Freeze("ada", "", NOW) if second % 2 else None, NOW + 1_000 * second)
    assert list(world.seconds.items()) == []
    assert world.counted(NOW + 4_500) == {"waiting": 2.5, "frozen": 2.0}
    for second in range(5, 30):
        world.freeze(Freeze("ada", "", NOW) if second % 2 else None, NOW + 1_000 * second)
    assert world.counted(NOW + 30_000) == {"waiting": 15.0, "frozen": 15.0}


def test_no_time_is_counted_twice_where_entries_come_late() -> None:
    world = World(rolling_out())
    assert world.counted(NOW + 5_000) == {"waiting": 5.0}
    world.change(replace(held(), revision=9), NOW + 1_000)
    assert world.counted(NOW + 6_000) == {"waiting": 5.0, "held": 1.0}


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    world = World(rolling_out())
    assert world.counted(NOW + 5_000) == {"waiting": 5.0}
    assert world.counted(NOW + 1_000) == {"waiting": 5.0}


def test_a_state_from_before_the_start_is_not_counted() -> None:
    world = World(rolling_out())
    world.copy.loaded.clear()
    world.copy.now = NOW + 60_000
    world.reload()
    assert world.counted(NOW + 1_000) == {"waiting": 1.0}


def test_a_reading_of_everything_counts_time_once_and_by_the_freeze_of_before() -> None:
    world = World(rolling_out())
    world.copy.namespace = Namespace(Freeze("ada", "", NOW))
    world.copy.now = NOW + 2_000
    world.reload()
    assert world.counted(NOW + 5_000) == {"waiting": 2.0, "frozen": 3.0}
    world.copy.known = {C: Known(held())}
    world.copy.namespace, world.copy.now = Namespace(), NOW + 6_000
    world.reload()
    assert world.counted(NOW + 8_000) == {"waiting": 2.0, "frozen": 4.0, "held": 2.0}


def test_a_change_during_a_reading_of_everything_counts_from_when_it_was_committed() -> None:
    world = World(rolling_out())
    world.copy.now = NOW + 1_000
    pieces = world.time.reloaded()
    next(pieces)
    world.change(held(), NOW + 3_000)
    for _ in pieces:
        pass
    assert world.counted(NOW + 5_000) == {"waiting": 3.0, "held": 2.0}
