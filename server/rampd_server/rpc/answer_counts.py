"""Counts answers of Resolve by component, channel and reason."""

from rampd._decision.resolution import Decision
from rampd_server.metrics.counting import ByComponent, Labels


def labels_of(decision: Decision) -> Labels:
    """The labels `channel` and `reason`."""
    return "none" if decision.channel is None else decision.channel.lower(), decision.reason.value


class AnswerCounts:
    """Counts the answers. An answer costs two look-ups: the labels of a decision are made once."""

    __slots__ = ("_counts", "_labels")

    def __init__(self, counts: ByComponent) -> None:
        self._counts = counts
        self._labels: dict[tuple[object, object], Labels] = {}

    def add(self, component: str, decision: Decision) -> None:
        """Counts one answer."""
        # By id: the hash of a member of an enum is computed in Python.
        key = id(decision.channel), id(decision.reason)
        labels = self._labels.get(key)
        if labels is None:
            labels = self._labels[key] = labels_of(decision)
        self._counts.add(component, labels)
