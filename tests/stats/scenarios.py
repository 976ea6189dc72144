"""Releases that are no worse than the releases that they replace, in situations where other rules raise false alarms."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from tests.stats.trial import Job

RAMP = (500, 2500, 5000, 9500)
REPOS = 3_000
OUTAGE = (0.4, 0.5)
"""The part of a trial in which both versions fail more often: from 40 % to 50 % of it."""


@dataclass(frozen=True)
class Scenario:
    """A scenario. `jobs(random, number)` yields the jobs of one trial. `max_failure_rate` is the limit of the absolute guard. It
    is 0 (no limit) in a scenario where next rightly fails more often than any such limit.
    """

    name: str
    jobs: Callable[[Random, int], Iterator[Job]]
    max_failure_rate: float


def constant(weight: int) -> Callable[[float], int]:
    return lambda _: weight


def ramp(part: float) -> int:
    """Returns the weight after this part of the trial. The trial has four equal steps."""
    return RAMP[int(part * len(RAMP))]


def steady(base: float) -> Callable[[float], float]:
    return lambda _: base


def rising(part: float) -> float:
    return 0.01 + 0.07 * part


def outage(part: float) -> float:
    return 0.6 if OUTAGE[0] <= part < OUTAGE[1] else 0.01


def single_jobs(
    weight: Callable[[float], int], base: Callable[[float], float]
) -> Callable[[Random, int], Iterator[Job]]:
    """Makes jobs, each of which is a unit."""

    def jobs(random: Random, number: int) -> Iterator[Job]:
        draw = random.random
        for unit in range(number):
            part = unit / number
            at = weight(part)
            yield Job(unit, at, draw() * 10_000 < at, draw() < base(part))

    return jobs


def sticky_repos(*, broken: float = 0.0) -> Callable[[Random, int], Iterator[Job]]:
    """Makes jobs of repos that keep their bucket during a ramp. The busiest repo has a ninth of all jobs. Each repo has its own
    failure rate, 1 % on average. A share of `broken` repos always fails.
    """
    volumes = list(accumulate(1 / rank for rank in range(1, REPOS + 1)))

    def jobs(random: Random, number: int) -> Iterator[Job]:
        buckets = [random.randrange(10_000) for _ in range(REPOS)]
        rates = [1.0 if random.random() < broken else random.expovariate(100) for _ in range(REPOS)]
        draw = random.random
        for place, repo in enumerate(random.choices(range(REPOS), cum_weights=volumes, k=number)):
            at = ramp(place / number)
            yield Job(repo, at, buckets[repo] < at, draw() < rates[repo])

    return jobs


SCENARIOS = (
    Scenario("10 % weight, 1 % fail", single_jobs(constant(1000), steady(0.01)), 0.1),
    Scenario("10 % weight, 20 % fail", single_jobs(constant(1000), steady(0.2)), 0.2),
    Scenario("50 % weight, 1 % fail", single_jobs(constant(5000), steady(0.01)), 0.1),
    Scenario("50 % weight, 20 % fail", single_jobs(constant(5000), steady(0.2)), 0.2),
    Scenario("ramp 5, 25, 50, 95 %, 1 % fail", single_jobs(ramp, steady(0.01)), 0.1),
    Scenario("ramp, failures rise from 1 to 8 %", single_jobs(ramp, rising), 0.1),
    Scenario("ramp, outage: 60 % fail for a tenth of the time", single_jobs(ramp, outage), 0.0),
    Scenario("ramp, sticky repos of Zipf volume", sticky_repos(), 0.1),
    Scenario("the same, 3 % of repos always fail", sticky_repos(broken=0.03), 0.1),
)


def worse(weight: int, base: float, regressed: float) -> Callable[[Random], Iterator[Job]]:
    """Makes endless jobs at a constant weight. Next fails a share of `regressed`, and current a share of `base`."""

    def jobs(random: Random) -> Iterator[Job]:
        draw, share = random.random, weight / 10_000
        while True:
            is_next = draw() < share
            yield Job(0, weight, is_next, draw() < (regressed if is_next else base))

    return jobs


def slower(random: Random, number: int, *, times: float, maturation_min: float = 0.0) -> list[Job]:
    """Makes jobs of a release that fails no more often, but whose jobs take `times` as long. Jobs of current take a minute on
    average, and 120 jobs start each minute, during a ramp. Jobs are in the order in which their outcomes count. With a
    maturation, an outcome counts only when its job is that old.
    """
    counted = []
    for unit in range(number):
        at, start_min = ramp(unit / number), unit / 120
        is_next = random.random() * 10_000 < at
        duration_min = random.expovariate(1) * (times if is_next else 1)
        job = Job(unit, at, is_next, random.random() < 0.01)
        counted.append((start_min + max(duration_min, maturation_min), job))
    return [job for _, job in sorted(counted)]
