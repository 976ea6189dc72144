"""How soon a release that fails more often is found, by simulation with the guards that the server runs.

Only failures are simulated, one after the other: how many jobs lie between two of them is drawn. A run of a plan with a
hundred thousand jobs takes a few milliseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from rampd._decision.bucketing import BUCKETS
from rampd._evidence import absolute_guard, e_process
from rampd._evidence.counters import Split
from rampd_cli.planning.timeline import Stage

RUNS: Final = 200
_SEED: Final = 14
_MOST_FAILURES: Final = 60_000
"""In all runs of one failure rate. When it is reached there are fewer runs, and the answer says how many."""

_TRIED_FAILURES: Final = 400
"""How many failures a longer stage has, for the question whether it is long enough."""
_LONGEST_HOLD_S: Final = 30 * 86_400
"""The longest `hold` that a step can have."""


@dataclass(frozen=True, slots=True)
class Guards:
    """What the policy says about guards. `max_failure_rate` 0: the absolute guard is off."""

    alpha: float
    tolerance: float
    max_failure_rate: float
    maturation_s: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Jobs that are spread evenly, and repos that are equal. `repos` 0: each job is of another repo, or a bucket is drawn for
    each job.
    """

    jobs_per_hour: float
    repos: int
    current_failure_rate: float


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """When a release was found. Later ones are greater."""

    after_s: float
    jobs: float
    next_jobs: float


@dataclass(frozen=True, slots=True)
class Chances:
    """The runs with one failure rate of next."""

    failure_rate: float
    runs: int
    found: Sequence[Found]
    """Of the runs in which it was found, the earliest first."""

    def by(self, share: float) -> Found | None:
        """Returns when it was found in this share of the runs; None if it was found in fewer."""
        place = max(math.ceil(share * self.runs) - 1, 0)
        return self.found[place] if place < len(self.found) else None


def chances(stages: Sequence[Stage], guards: Guards, traffic: Traffic, failure_rate: float) -> Chances:
    """Simulates releases with one failure rate."""
    random = Random(f"{_SEED} {failure_rate}")  # noqa: S311 - the same question has the same answer
    found: list[Found] = []
    runs = failures = 0
    while runs < RUNS and failures < _MOST_FAILURES:
        run = _Run(stages, guards, traffic, failure_rate, random)
        ended = run.result()
        runs += 1
        failures += run.failures
        if ended is not None:
            found.append(ended)
    return Chances(failure_rate, runs, sorted(found))


def enough_s(
    stages: Sequence[Stage], guards: Guards, traffic: Traffic, failure_rate: float, share: float
) -> float | None:
    """Returns how long the last stage has to last so that a release is found in this share of the runs. None if that is not known:
    it is found in fewer, also if the stage lasts for 30 days or has many failures.
    """
    *before, last = stages
    weight = last.basis_points / BUCKETS
    failures_per_s = (
        traffic.jobs_per_hour / 3600 * (weight * failure_rate + (1 - weight) * traffic.current_failure_rate)
    )
    tried_s = max(last.lasts_s, min(_TRIED_FAILURES / failures_per_s, _LONGEST_HOLD_S))
    longer = replace(last, ends_s=last.begins_s + tried_s)
    found = chances([*before, longer], guards, traffic, failure_rate).by(share)
    return None if found is None else max(found.after_s - last.begins_s, last.lasts_s)


class _Run:
    """One rollout of one release."""

    def __init__(
        self, stages: Sequence[Stage], guards: Guards, traffic: Traffic, failure_rate: float, random: Random
    ) -> None:
        self._stages = stages
        self._guards = guards
        self._traffic = traffic
        self._rate = failure_rate
        self._random = random
        self._per_s = traffic.jobs_per_hour / 3600
        # 5 % of ten repos is half a repo. So in half of the runs it is one repo, otherwise none.
        self._part = random.random()
        self._failed: set[int] = set()
        self._first_failures: dict[int, Split] = {}
        self._jobs = self._next_jobs = 0.0
        self._next_outcomes = 0.0
        self._failed_outcomes = self._unasked = 0
        self.failures = 0

    def result(self) -> Found | None:
        """Returns when the release was found, None if the plan came to its end before."""
        end_s = self._stages[-1].ends_s
        for stage in self._stages:
            if (found := self._stage(stage)) is not None:
                return found if found.after_s <= end_s else None
        return None

    def _stage(self, stage: Stage) -> Found | None:
        share = stage.basis_points / BUCKETS
        repos = self._traffic.repos
        next_repos = int(repos * share + self._part) if repos else 0
        failed_next = sum(repo < next_repos for repo in self._failed)
        failed_current = len(self._failed) - failed_next
        left = stage.lasts_s * self._per_s
        while True:
            fresh = (
                ((next_repos - failed_next) / repos, (repos - next_repos - failed_current) / repos)
                if repos
                else (share, 1 - share)
            )
            of_next, of_any = (
                fresh[0] * self._rate,
                fresh[0] * self._rate + fresh[1] * self._traffic.current_failure_rate,
            )
            jobs = self._until_failure(of_any)
            passed = min(jobs, left)
            self._pass(passed, next_repos / repos if repos else share)
            left -= passed
            if jobs > passed:
                return None
            is_next = self._random.random() * of_any < of_next
            if repos:
                self._fail(range(next_repos) if is_next else range(next_repos, repos))
                failed_next += is_next
                failed_current += not is_next
            if self._count(stage.basis_points, is_next=is_next):
                after_s = self._jobs / self._per_s + self._guards.maturation_s
                # Jobs go on while the failure waits until it is old enough.
                waiting = self._guards.maturation_s * self._per_s
                return Found(after_s, self._jobs + waiting, self._next_jobs + waiting * share)

    def _until_failure(self, rate: float) -> float:
        """Draws how many jobs there are until the next failure that counts."""
        if rate <= 0:
            return math.inf
        if rate >= 1:
            return 1
        return math.floor(math.log(1 - self._random.random()) / math.log1p(-rate)) + 1

    def _pass(self, jobs: float, share: float) -> None:
        repos = self._traffic.repos
        if repos:
            # How many of these jobs are the first of their repo, on average.
            first = repos * (math.exp(-self._jobs / repos) - math.exp(-(self._jobs + jobs) / repos))
            self._next_outcomes += first * share
        else:
            self._next_outcomes += jobs * share
        self._jobs += jobs
        self._next_jobs += jobs * share

    def _fail(self, repos: range) -> None:
        """Lets a repo fail that has not failed before."""
        repo = self._random.choice(repos)
        while repo in self._failed:
            repo = self._random.choice(repos)
        self._failed.add(repo)

    def _count(self, basis_points: int, *, is_next: bool) -> bool:
        """Counts the first failure of a repo. Returns whether a guard has found the release."""
        self.failures += 1
        counts = self._first_failures
        counts[basis_points] = counts.get(basis_points, Split()) + (Split(0, 1) if is_next else Split(1, 0))
        if not is_next:
            return False
        return self._is_over_relative(basis_points) or self._is_over_absolute()

    def _is_over_relative(self, basis_points: int) -> bool:
        # One failure of next raises the logarithm of E by `greatest` at most, and later steps have greater shares. So E need not
        # be asked after each.
        if self._unasked:
            self._unasked -= 1
            return False
        log = e_process.log_evidence(self._first_failures, tolerance=self._guards.tolerance)
        left = e_process.log_limit(self._guards.alpha) - log
        share = basis_points / BUCKETS
        greatest = math.log(max(ratio / (1 + share * (ratio - 1)) for ratio in e_process.RATIOS))
        self._unasked = max(0, math.ceil(left / greatest) - 1)
        return left <= 0

    def _is_over_absolute(self) -> bool:
        limit = self._guards.max_failure_rate
        if not limit:
            return False
        repos = self._traffic.repos
        # The absolute guard looks at the first job of each repo. So it is drawn whether this repo had a job before that did not fail.
        is_first = not repos or self._random.random() < math.exp(-(self._jobs - 1) * (1 - self._rate) / repos)
        self._failed_outcomes += is_first
        if not is_first:
            return False
        outcomes = max(round(self._next_outcomes), self._failed_outcomes)
        return absolute_guard.log_evidence(self._failed_outcomes, outcomes, limit) >= e_process.log_limit(
            absolute_guard.ALPHA
        )
