"""The counters of a trial: only integers. Every guard is a pure function of them.

Only randomised jobs are counted for guards: jobs that the weights assigned, and whose channel is the one that the bucket
of their unit gives at the revision on which they were resolved.

`storage/lua/count_outcomes.lua` counts. `admission` decides before it what counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Split:
    """One count for each channel."""

    current: int = 0
    next: int = 0

    def __add__(self, other: "Split") -> "Split":
        return Split(self.current + other.current, self.next + other.next)

    @property
    def total(self) -> int:
        return self.current + self.next


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcomes of jobs that were resolved at one weight, by channel.

    A unit's *first outcome* and its *first failure* are the first of the trial at any weight: a unit is in each
    of the two at most once.
    """

    jobs: Split = Split()
    failures: Split = Split()
    first_outcomes: Split = Split()
    failed_first_outcomes: Split = Split()
    first_failures: Split = Split()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.jobs + other.jobs,
            self.failures + other.failures,
            self.first_outcomes + other.first_outcomes,
            self.failed_first_outcomes + other.failed_first_outcomes,
            self.first_failures + other.first_failures,
        )


@dataclass(frozen=True, slots=True)
class TrialCounters:
    """All counters of a trial. The sum of several servers' counters, in any order, is what one server would have counted."""

    by_weight: Mapping[int, Tally] = field(default_factory=lambda: MappingProxyType({}))
    """By the basis points at which the jobs were *resolved*, never those at which their outcomes arrived."""
    reporters: int = 0
    """How many identities have reported in the trial."""
    next_failures_by_reporter: Mapping[str, Mapping[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    """First failures on next, by reporter and by weight: `reporter_cap` needs them."""
    others: Tally = Tally()
    """Jobs that were not randomised (overrides, stale, fallback …): for show, in no guard. Only jobs and failures."""
    mismatches: int = 0
    """Outcomes left out because their channel or release is not what the weights gave: for show, in no guard."""
    next_repos: int = 0
    """About how many repos had a job that ran next, in all trials of the release: for show, in no guard."""
    matures_ms: int | None = field(default=None, compare=False)
    """When the first outcome that waits begins to count, by the store's clock: for the next look, in no guard. None: none waits."""

    @property
    def total(self) -> Tally:
        """Over all weights."""
        return sum(self.by_weight.values(), Tally())

    @property
    def first_failures(self) -> Mapping[int, Split]:
        return {weight: tally.first_failures for weight, tally in self.by_weight.items()}

    @property
    def first_outcomes(self) -> Mapping[int, Split]:
        return {weight: tally.first_outcomes for weight, tally in self.by_weight.items()}

    def next_jobs_at(self, weight: int) -> int:
        """Outcomes of next that were resolved at `weight` basis points."""
        return self.by_weight.get(weight, Tally()).jobs.next
