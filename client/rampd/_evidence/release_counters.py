"""The counters that outlive a trial: of each release, and of current since it became current and lately. No guard uses them.

A current that turns bad after two good weeks is hidden in the counts of these weeks. So its jobs are also counted by the
interval in which their outcomes arrived.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

INTERVAL_MS: Final = 600_000
"""How long an interval is."""
INTERVALS: Final = 6
"""How many intervals are kept: the last hour."""
ENOUGH_JOBS: Final = 20
"""If the last intervals have fewer jobs, earlier ones are added."""


@dataclass(frozen=True, slots=True)
class JobCount:
    """Jobs, and how many of them failed."""

    jobs: int = 0
    failures: int = 0

    def __add__(self, other: "JobCount") -> "JobCount":
        return JobCount(self.jobs + other.jobs, self.failures + other.failures)

    @property
    def failure_rate(self) -> float | None:
        """None where there are no jobs."""
        return self.failures / self.jobs if self.jobs else None


@dataclass(frozen=True, slots=True)
class Interval:
    """The jobs of current whose outcomes arrived in one interval."""

    start_ms: int
    current_revision: int
    """The revision at which that release became current."""
    count: JobCount


@dataclass(frozen=True, slots=True)
class ReleaseCounters:
    """The accepted outcomes of each release, whatever the reason for which its jobs got it."""

    by_release: Mapping[int, JobCount] = field(default_factory=lambda: MappingProxyType({}))
    current_revision: int = 0
    """The revision at which the release of `current` became current."""
    current: JobCount = JobCount()
    """Jobs that were resolved since then."""
    intervals: tuple[Interval, ...] = ()
    """Those of them that were reported lately, and jobs of the current before, in any order."""

    def of(self, release: int) -> JobCount:
        return self.by_release.get(release, JobCount())

    def since(self, current_revision: int) -> JobCount:
        """Returns the jobs of the current that became current at that revision."""
        return self.current if self.current_revision == current_revision else JobCount()

    def lately(self, current_revision: int, now_ms: int) -> tuple[int, JobCount]:
        """Returns when the first interval that is counted began, and the jobs of the current that became current at that revision.

        The present interval and the one before are counted, and then earlier ones until there are enough jobs. How many of
        them failed does not matter, so that bad luck does not choose the time.
        """
        counts = {each.start_ms: each.count for each in self.intervals if each.current_revision == current_revision}
        start_ms = now_ms - now_ms % INTERVAL_MS
        total = counts.get(start_ms, JobCount())
        for _ in range(1, INTERVALS):
            start_ms -= INTERVAL_MS
            total += counts.get(start_ms, JobCount())
            if total.jobs >= ENOUGH_JOBS:
                break
        return start_ms, total
