"""Simulates one trial: counts as a server counts, and asks rampd's own guards after every job."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from rampd._evidence import absolute_guard, assignment_check, e_process
from rampd._evidence.counters import Split

ALPHA = 0.01
CURRENT, NEXT = Split(1, 0), Split(0, 1)
# One first outcome raises the logarithm of the assignment check's E by this at most.
GREATEST_STEP = math.log(max(assignment_check.RATIOS))


class Job(NamedTuple):
    """One job. Jobs are in the order of their outcomes. `weight` is in basis points, at the time when the job was resolved."""

    unit: int
    weight: int
    is_next: bool
    is_failed: bool


class Alarms(NamedTuple):
    """For each guard, the number of jobs after which it raised its alarm. None: it never did."""

    relative: int | None = None
    absolute: int | None = None
    assignment: int | None = None


def watch(jobs: Iterable[Job], *, max_failure_rate: float = 0.0) -> Alarms:
    """Runs all three guards, each until its alarm. E of the first two rises only with a failure, so a look after each failure
    is enough. The third is not asked while its E can't have reached the limit.
    """
    reported: set[int] = set()
    failed: set[int] = set()
    first_failures: dict[int, Split] = {}
    first_outcomes: dict[int, Split] = {}
    next_outcomes = next_failures = unasked = 0
    relative = absolute = assignment = None
    for number, (unit, weight, is_next, is_failed) in enumerate(jobs, start=1):
        one = NEXT if is_next else CURRENT
        if is_failed and unit not in failed:
            failed.add(unit)
            first_failures[weight] = first_failures.get(weight, Split()) + one
            if relative is None and e_process.log_evidence(first_failures) >= e_process.log_limit(ALPHA):
                relative = number
        if unit in reported:
            continue
        reported.add(unit)
        first_outcomes[weight] = first_outcomes.get(weight, Split()) + one
        if is_next:
            next_outcomes += 1
            next_failures += is_failed
            if absolute is None and is_failed and max_failure_rate:
                log = absolute_guard.log_evidence(next_failures, next_outcomes, max_failure_rate)
                absolute = number if log >= e_process.log_limit(absolute_guard.ALPHA) else None
        if unasked:
            unasked -= 1
        elif assignment is None:
            left = e_process.log_limit(assignment_check.ALPHA) - assignment_check.log_evidence(first_outcomes)
            if left <= 0:
                assignment = number
            unasked = max(0, int(left / GREATEST_STEP) - 1)
    return Alarms(relative, absolute, assignment)


def detect(jobs: Iterable[Job]) -> tuple[int, int] | None:
    """Returns (jobs, jobs that ran next) until the relative guard's alarm. Each job is a unit. None: the alarm never came."""
    counts: dict[int, Split] = {}
    ran_next = 0
    for number, (_, weight, is_next, is_failed) in enumerate(jobs, start=1):
        ran_next += is_next
        if is_failed:
            counts[weight] = counts.get(weight, Split()) + (NEXT if is_next else CURRENT)
            if e_process.log_evidence(counts) >= e_process.log_limit(ALPHA):
                return number, ran_next
    return None
