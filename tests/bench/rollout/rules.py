"""The rules that rampd is compared with. They look at intervals at failure rates over a window."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Protocol

FINALIZED = 10_000


class Outcome(Protocol):
    """How a job ended."""

    end_s: float
    weight: int
    repo: str
    is_next: bool
    is_failed: bool


class Rule(Protocol):
    """Moves next's share. New jobs are resolved with `basis_points`. When the rule `is_over`, `basis_points` stays at 10,000
    (finalized) or at 0 (rolled back).
    """

    basis_points: int
    is_over: bool
    look_s: float

    def see(self, outcome: Outcome) -> None:
        """Takes the outcome of a job. Called in the order in which jobs end."""

    def look(self, now_s: float) -> None:
        """Decides. Called at the start, and then every `look_s` seconds."""


@dataclass
class Graph:
    """The graph of one version on a dashboard: how many of the jobs that ended in a window failed."""

    ends_s: list[float] = field(default_factory=list)
    failures: list[int] = field(default_factory=lambda: [0])

    def add(self, outcome: Outcome) -> None:
        self.ends_s.append(outcome.end_s)
        self.failures.append(self.failures[-1] + outcome.is_failed)

    def window(self, from_s: float) -> tuple[int, int]:
        """Returns (failures, jobs) since `from_s`."""
        first = bisect_left(self.ends_s, from_s)
        return self.failures[-1] - self.failures[first], len(self.ends_s) - first


class WindowRule:
    """The common part of the three rules: two graphs, a share, an end."""

    def __init__(self, look_s: float) -> None:
        self.look_s = look_s
        self.basis_points = 0
        self.is_over = False
        self.next = Graph()
        self.current = Graph()

    def see(self, outcome: Outcome) -> None:
        (self.next if outcome.is_next else self.current).add(outcome)

    def end(self, basis_points: int) -> None:
        self.basis_points = basis_points
        self.is_over = True


class FlaggerLike(WindowRule):
    """Checks the success rate every interval. Rolls back after `threshold` failed checks, and finalizes after `max_weight`."""

    def __init__(
        self,
        *,
        interval_min: float,
        threshold: int,
        max_weight: int,
        step_weight: int,
        min_success_rate: float,
        window_min: float,
    ) -> None:
        super().__init__(interval_min * 60)
        self.threshold = threshold
        self.max_weight = max_weight
        self.step_weight = step_weight
        self.min_success_rate = min_success_rate
        self.window_s = window_min * 60
        self.failed_checks = 0

    def look(self, now_s: float) -> None:
        if self.failed_checks >= self.threshold:
            return self.end(0)
        if self.basis_points:
            failures, jobs = self.next.window(now_s - self.window_s)
            if not jobs:
                return None
            if 100 * (jobs - failures) / jobs < self.min_success_rate:
                self.failed_checks += 1
                return None
        if self.basis_points >= self.max_weight * 100:
            return self.end(FINALIZED)
        self.basis_points += self.step_weight * 100
        return None


class ArgoLike(WindowRule):
    """Measures once after each pause. Rolls back if the success rate is too low; otherwise goes on."""

    def __init__(self, weights: list[int], pause_min: float, min_success_rate: float, window_min: float) -> None:
        super().__init__(pause_min * 60)
        self.weights = list(weights)
        self.min_success_rate = min_success_rate
        self.window_s = window_min * 60

    def look(self, now_s: float) -> None:
        failures, jobs = self.next.window(now_s - self.window_s)
        if jobs and 100 * (jobs - failures) / jobs < self.min_success_rate:
            return self.end(0)
        if not self.weights:
            return self.end(FINALIZED)
        self.basis_points = self.weights.pop(0) * 100
        return None


class Person(WindowRule):
    """Compares the two graphs every `look_min` minutes."""

    def __init__(self, look_min: float, percents: list[int], least_failures: int, times_as_bad: float) -> None:
        super().__init__(look_min * 60)
        self.percents = list(percents)
        self.least_failures = least_failures
        self.times_as_bad = times_as_bad

    def look(self, now_s: float) -> None:
        failures, jobs = self.next.window(now_s - self.look_s)
        current_failures, current_jobs = self.current.window(now_s - self.look_s)
        if failures >= self.least_failures and failures * current_jobs > self.times_as_bad * current_failures * jobs:
            return self.end(0)
        if not self.percents:
            return self.end(FINALIZED)
        self.basis_points = self.percents.pop(0) * 100
        return None
