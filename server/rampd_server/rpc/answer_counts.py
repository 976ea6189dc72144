"""Counts answers of Resolve by component, channel and reason."""

from collections.abc import Callable
from typing import Final

from rampd._decision.resolution import Decision
from rampd_server.metrics.counting import ByComponent, Labels

_MOST: Final = 4_096
"""How many decisions are counted one by one before they are put together."""


def labels_of(decision: Decision) -> Labels:
    """The labels `channel` and `reason`."""
    return "none" if decision.channel is None else decision.channel.lower(), decision.reason.value


class AnswerCounts:
    """Counts the answers. All jobs of a channel share one decision while the rollout stands, so an answer costs one look-up.

    `exists` says whether there is a component.
    """

    __slots__ = ("_counted", "_counts", "_exists")

    def __init__(self, counts: ByComponent, exists: Callable[[str], object]) -> None:
        self._counts = counts
        self._exists = exists
        self._counted: dict[int, tuple[list[int], str, Decision]] = {}
        """By a decision's id. The decision is kept, so that no other one gets its id."""

    def add(self, component: str, decision: Decision) -> None:
        """Counts one answer."""
        known = self._counted.get(id(decision))
        if known is not None:
            known[0][0] += 1
        elif decision.release:
            if len(self._counted) >= _MOST:
                self.settle()
            self._counted[id(decision)] = [1], component, decision
        else:
            # Components share the decision for a tag that was never released.
            self._counts.add(component, labels_of(decision))

    def settle(self) -> None:
        """Puts together what was counted. Answers of a component that was deleted since are dropped."""
        for (number,), component, decision in self._counted.values():
            if self._exists(component):
                self._counts.add(component, labels_of(decision), number)
        self._counted.clear()
