"""Counts that cost next to nothing where something happens. A scrape reads them. Pure."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate
from typing import Final

from rampd_server.metrics.families import OTHERS

LATENCIES_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of buckets, from the tenth of a millisecond that a Resolve takes to the longest deadlines."""

Labels = tuple[str, ...]
"""The values of labels, in the order in which the family names them."""


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, number: int = 1) -> None:
        """Counts."""
        self.value += number


class Counts:
    """A count for each combination of labels that has come. The caller gives labels of which there are few."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[Labels, int] = {}

    def add(self, *labels: str, number: int = 1) -> None:
        """Counts."""
        self._counts[labels] = self._counts.get(labels, 0) + number

    def items(self) -> Collection[tuple[Labels, int]]:
        """All counts, by their labels."""
        return self._counts.items()


class Reloads(Counts):
    """How often a file was read again, by `used` and `refused`, and whether its newest content is refused."""

    __slots__ = ("is_refused",)

    def __init__(self) -> None:
        super().__init__()
        self.is_refused = False

    def used(self) -> None:
        """The file is in force."""
        self.add("used")
        self.is_refused = False

    def refused(self) -> None:
        """The file can't be used, and the earlier one stays in force."""
        self.add("refused")
        self.is_refused = True


class Histogram:
    """The durations of something, counted by buckets."""

    __slots__ = ("_buckets", "bounds", "sum_s")

    def __init__(self, bounds: Sequence[float] = LATENCIES_S) -> None:
        self.bounds = bounds
        self.sum_s = 0.0
        self._buckets = [0] * (len(bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Counts something that took so long."""
        self._buckets[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds

    @property
    def cumulative(self) -> Sequence[int]:
        """For each bound, and then for infinity, how many took at most so long."""
        return list(accumulate(self._buckets))


class Slot:
    """The counts of one component, or of `_others`, by further labels."""

    __slots__ = ("counts", "series", "text")

    def __init__(self) -> None:
        self.counts: dict[Labels, float] = {}
        self.series: dict[Labels, str] = {}
        """The name of each series, made once."""
        self.text = ""
        """The samples as a scrape has them; empty after a change."""

    def add(self, labels: Labels, number: float) -> None:
        """Counts."""
        self.counts[labels] = self.counts.get(labels, 0) + number
        self.text = ""


class ByComponent:
    """Counts of one family, by component and further labels. A component without series of its own counts for `_others`.

    `name_of` gives the label of a component: its name, or `_others`. `expected` are the further labels that a component has from
    its first scrape on, because Prometheus sees no increase from nothing to one.
    """

    __slots__ = ("_expected", "_name_of", "_of", "_slots")

    def __init__(self, name_of: Callable[[str], str] = str, *, expected: Sequence[Labels] = ()) -> None:
        self._expected = expected
        self._name_of = name_of
        self._slots: dict[str, Slot] = {}
        self._of: dict[str, Slot] = {}
        """The slot of each component since the last scrape began; several may have that of `_others`."""

    def add(self, component: str, labels: Labels, number: float = 1) -> None:
        """Counts. The component exists."""
        slot = self._of.get(component)
        if slot is None:
            slot = self._of[component] = self._slot(self._name_of(component))
        counts = slot.counts
        counts[labels] = counts.get(labels, 0) + number
        slot.text = ""

    def _slot(self, name: str) -> Slot:
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = Slot()
            slot.counts.update(dict.fromkeys(self._expected, 0))
        return slot

    def of(self, name: str) -> Slot | None:
        """The counts of a component that exists, or of `_others`; None if there are none."""
        if self._expected and name != OTHERS:
            return self._slot(name)
        return self._slots.get(name)

    def items(self) -> Iterator[tuple[str, Slot]]:
        """All counts, by the label of their component."""
        return iter(list(self._slots.items()))

    def settle(self, exists: Callable[[str], object]) -> None:
        """Forgets components that do not exist any more. A component that has lost its own series counts for `_others`."""
        self._of.clear()
        for name in [name for name in self._slots if name != OTHERS and self._name_of(name) != name]:
            left = self._slots.pop(name)
            if exists(name):
                others = self._slot(OTHERS)
                for labels, number in left.counts.items():
                    others.add(labels, number)
