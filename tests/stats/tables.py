"""Simulates the figures for the tables about the guards in docs/automation.md."""

from collections.abc import Sequence
from itertools import count, islice
from math import sqrt
from random import Random
from statistics import median
from typing import NamedTuple

from mmh3 import mmh3_32_uintdigest

from rampd._evidence import absolute_guard, e_process
from tests.stats.scenarios import Scenario, slower, worse
from tests.stats.trial import Alarms, detect, watch

JOBS = 10_000
UNIT_BITS = 2**21


class Rates(NamedTuple):
    """For each guard, the share of trials in which it raised its alarm."""

    relative: float
    absolute: float
    assignment: float


class Target(NamedTuple):
    """How many jobs it may take until a regression is found (medians)."""

    weight: int
    current: float
    next: float
    jobs: int
    next_jobs: int


TARGETS = (
    Target(500, 0.01, 0.05, 2771, 140),
    Target(500, 0.01, 0.1, 882, 44),
    Target(500, 0.05, 0.5, 172, 9),
    Target(1000, 0.01, 0.05, 1510, 153),
    Target(1000, 0.01, 0.1, 447, 47),
    Target(1000, 0.05, 0.5, 96, 10),
    Target(1000, 0.0, 1.0, 27, 3),
    Target(5000, 0.01, 0.05, 620, 315),
    Target(5000, 0.01, 0.1, 222, 110),
    Target(5000, 0.05, 0.5, 44, 23),
    Target(5000, 0.0, 1.0, 18, 9),
)
ABSOLUTE_TARGETS = ((0.3, 37), (0.5, 11), (1.0, 4))
DOUBLING_WEIGHTS = (500, 1000, 5000)
SLOWER = (1, 2, 5, 10)
MATURATIONS_MIN = (0, 5, 15)


def false_alarms(scenario: Scenario, runs: int) -> Rates:
    """Returns how often each guard raises a false alarm in trials of 10,000 jobs, with a look after every job."""
    alarms = [
        watch(scenario.jobs(Random(f"{scenario.name} {run}"), JOBS), max_failure_rate=scenario.max_failure_rate)
        for run in range(runs)
    ]
    return _rates(alarms)


def bound(alpha: float, runs: int) -> float:
    """Returns the highest rate that chance explains: alpha plus three standard errors."""
    return alpha + 3 * sqrt(alpha * (1 - alpha) / runs)


def detection(target: Target, runs: int) -> tuple[float, float]:
    """Returns the medians of (jobs, jobs that ran next) until the relative guard's alarm."""
    found = [
        detect(worse(target.weight, target.current, target.next)(Random(f"{target} {run}"))) for run in range(runs)
    ]
    return median(jobs for jobs, _ in found), median(next_jobs for _, next_jobs in found)


def doublings_found(weight: int, runs: int) -> float:
    """Returns how often a release that fails 2 % instead of 1 % is found within 10,000 jobs."""
    trials = (islice(worse(weight, 0.01, 0.02)(Random(f"{weight} {run}")), JOBS) for run in range(runs))
    return sum(detect(jobs) is not None for jobs in trials) / runs


def absolute_detection(rate: float, runs: int) -> float:
    """Returns the median of next's jobs until the alarm of the absolute guard, whose limit is 10 %."""
    limit = e_process.log_limit(absolute_guard.ALPHA)

    def jobs(random: Random) -> int:
        failures = 0
        for number in count(1):
            failures += random.random() < rate
            if absolute_guard.log_evidence(failures, number, 0.1) >= limit:
                return number
        raise AssertionError

    return median(jobs(Random(f"{rate} {run}")) for run in range(runs))


def slower_alarms(times: float, maturation_min: float, runs: int) -> Rates:
    """Returns how often a release that is only slower makes each guard raise its alarm."""
    alarms = [
        watch(slower(Random(f"{times} {run}"), JOBS, times=times, maturation_min=maturation_min)) for run in range(runs)
    ]
    return _rates(alarms)


def _rates(alarms: Sequence[Alarms]) -> Rates:
    return Rates(*(sum(alarm is not None for alarm in guard) / len(alarms) for guard in zip(*alarms, strict=True)))


def units_lost(units: int) -> float:
    """Returns the share of units whose first outcome is taken for a repeat, because another unit has the same bit."""
    bits = {mmh3_32_uintdigest(f"owner-{unit % 997}/repo-{unit}".encode()) % UNIT_BITS for unit in range(units)}
    return 1 - len(bits) / units
