"""How often Resolve has answered what, counted by the decisions that the answers share."""

import pytest

from rampd._decision.resolution import Channel, Decision, ResolveReason
from rampd_server.metrics.counting import ByComponent
from rampd_server.rpc import answer_counts
from rampd_server.rpc.answer_counts import AnswerCounts

STEADY = ("current", "STEADY")
PINNED = ("none", "OVERRIDE_TAG")


def steady(release: int = 1) -> Decision:
    return Decision("t1", Channel.CURRENT, ResolveReason.STEADY, release)


class World:
    def __init__(self) -> None:
        self.components = {"a": 1, "b": 1}
        self.counts = ByComponent()
        self.answers = AnswerCounts(self.counts, self.components.get)

    def counted(self) -> dict[str, dict[tuple[str, ...], float]]:
        self.answers.settle()
        return {name: slot.counts for name, slot in self.counts.items()}


def test_answers_with_equal_decisions_are_counted_together() -> None:
    world = World()
    for decision in (steady(1), steady(2)):
        for _ in range(3):
            world.answers.add("a", decision)
    assert world.counted() == {"a": {STEADY: 6}}
    assert world.counted() == {"a": {STEADY: 6}}


def test_components_that_share_a_decision_are_counted_apart() -> None:
    """Given a tag that was never released, expect a count for each component that is pinned to it."""
    world, pinned = World(), Decision("pb/x", None, ResolveReason.OVERRIDE_TAG, 0)
    for component in ("a", "b", "b"):
        world.answers.add(component, pinned)
    assert world.counted() == {"a": {PINNED: 1}, "b": {PINNED: 2}}


def test_answers_of_a_component_that_was_deleted_since_are_dropped() -> None:
    world = World()
    world.answers.add("a", steady())
    del world.components["a"]
    assert world.counted() == {}


def test_not_more_than_so_many_decisions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_counts, "_MOST", 10)
    world = World()
    for _ in range(25):
        world.answers.add("a", steady())
        assert len(world.answers._counted) <= 10
    assert world.counted() == {"a": {STEADY: 25}}
