"""Puts the scrapes of several workers together. Pure.

Prometheus takes a counter that goes back as one that began again at 0, and counts all of it once more. So what a worker has
counted stays when it dies: only increases are added.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rampd_server.metrics import families
from rampd_server.metrics.families import BY_SAMPLE, FAMILIES, OTHERS, Family, Kind, Merge
from rampd_server.metrics.text import header, number

_COMPONENT: Final = '{component="'
_NOT_FOR_SOME: Final = frozenset({families.COMPONENTS, families.COMPONENTS_SUMMED, families.COMPONENTS_DAMAGED})


@dataclass(frozen=True)
class Scrape:
    """The answer of one worker."""

    worker: int
    run: str
    """A new value for each process."""
    samples: Mapping[str, float]
    """By the whole name of the series."""

    @classmethod
    def read(cls, worker: int, run: str, text: str) -> "Scrape":
        """Reads a text that a `Collector` has written."""
        pairs = (row.rpartition(" ") for row in text.splitlines() if not row.startswith("#"))
        return cls(worker, run, {series: float(value) for series, _, value in pairs})


class Merging:
    """Remembers what the workers have counted."""

    def __init__(self) -> None:
        self._totals: dict[Family, dict[str, float]] = defaultdict(dict)
        """The counters, and the sums and buckets of histograms."""
        self._gauges: dict[Family, dict[str, float]] = {}
        self._known: dict[int, _Known] = {}
        self._is_confirmed = False

    def take(self, scrapes: Sequence[Scrape]) -> None:
        """Takes the answers of all workers that have answered, in the order of their numbers."""
        first = next((scrape for scrape in scrapes if families.COMPONENTS.name in scrape.samples), None)
        self._is_confirmed = first is not None
        self._gauges = defaultdict(dict)
        highest: list[tuple[Family, str, float, _Known]] = []
        for scrape in scrapes:
            known = self._known.get(scrape.worker)
            if known is None or known.run != scrape.run:
                known = self._known[scrape.worker] = _Known(scrape.run, {}, {})
            for series, value in scrape.samples.items():
                family = BY_SAMPLE[series.partition("{")[0]]
                if family.kind is Kind.GAUGE:
                    is_whole = not family.of_copy or scrape is first
                    _merge_gauge(self._gauges[family], family.merge, series, value, is_whole=is_whole)
                    continue
                before = known.last.get(series)
                if before is not None and value < before:
                    # A component was deleted and made again.
                    known.ahead.pop(series, None)
                    before = None
                known.last[series] = value
                if family.merge is Merge.SUM:
                    totals = self._totals[family]
                    totals[series] = totals.get(series, 0) + (value - (before or 0))
                else:
                    highest.append((family, series, value, known))
        self._take_highest(highest)
        if first is not None:
            self._forget_gone(scrapes)

    def text(self, sees: Callable[[str], object]) -> Iterator[bytes]:
        """The text of a scrape, by families."""
        sees_all = sees(OTHERS)
        for family in FAMILIES:
            found = self._gauges if family.kind is Kind.GAUGE else self._totals
            if (family.of_copy and not self._is_confirmed) or (family in _NOT_FOR_SOME and not sees_all):
                continue
            rows = [
                f"{series} {number(value)}\n"
                for series, value in found.get(family, {}).items()
                if sees_all or (component := _component_of(series)) is None or sees(component)
            ]
            if rows:
                yield (header(family) + "".join(rows)).encode()

    def _take_highest(self, found: Sequence[tuple[Family, str, float, "_Known"]]) -> None:
        """Adds to each total what the worker that has counted most has added. A worker that begins in the middle goes on from the
        total.
        """
        new: list[tuple[Family, str, float, _Known]] = []
        before = {series for totals in self._totals.values() for series in totals}
        for family, series, value, known in found:
            if series in known.ahead:
                totals = self._totals[family]
                totals[series] = max(totals.get(series, 0), value + known.ahead[series])
            else:
                new.append((family, series, value, known))
        for family, series, value, known in new:
            totals = self._totals[family]
            known.ahead[series] = totals[series] - value if series in before else 0.0
            totals[series] = max(totals.get(series, 0), value)

    def _forget_gone(self, scrapes: Sequence[Scrape]) -> None:
        """Forgets the counters of components that no worker has any more."""
        missing = [
            (totals, series)
            for totals in self._totals.values()
            for series in totals
            if not any(series in scrape.samples for scrape in scrapes)
        ]
        if not missing:
            return
        there = {_component_of(series) for scrape in scrapes for series in scrape.samples} | {None, OTHERS}
        for totals, series in missing:
            if _component_of(series) not in there:
                del totals[series]
                for known in self._known.values():
                    known.last.pop(series, None)
                    known.ahead.pop(series, None)


@dataclass(frozen=True)
class _Known:
    """What is known of one process of a worker."""

    run: str
    last: dict[str, float]
    ahead: dict[str, float]
    """How far the total of a counter is ahead of this worker's."""


def _merge_gauge(gauges: dict[str, float], merge: Merge, series: str, value: float, *, is_whole: bool) -> None:
    if merge is Merge.SUM:
        gauges[series] = gauges.get(series, 0) + value
    elif merge is Merge.MAX:
        gauges[series] = max(gauges.get(series, value), value)
    elif is_whole:
        gauges.setdefault(series, value)


def _component_of(series: str) -> str | None:
    """The label `component` of a series, which is the first one."""
    _, found, rest = series.partition(_COMPONENT)
    return rest.partition('"')[0] if found else None
