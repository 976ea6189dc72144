"""Simulates one run of one rule on one release."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from rampd._decision.bucketing import bucket_after, hash_prefix
from tests.bench.rollout.rules import Rule
from tests.bench.rollout.world import Job, Release

PREFIX = hash_prefix("restyler", 2)


class Ended(NamedTuple):
    """A job's outcome. Outcomes are ordered by the time when the job ended."""

    end_s: float
    weight: int
    repo: str
    is_next: bool
    is_failed: bool


class Result(NamedTuple):
    """The result of a run. Times count from the start of the rollout. None: it did not happen before the horizon."""

    harmed: int
    rollback_s: float | None
    finalize_s: float | None


def run(release: Release, rule: Rule, jobs: Iterable[Job], seed: int) -> Result:
    """Runs the rule. A job is resolved with the share at its start; the rule gets its outcome when it ends."""
    running: list[Ended] = []
    buckets: dict[str, int] = {}
    harmed, look_s, over_s = 0, 0.0, None
    for job in jobs:
        while over_s is None and look_s <= job.start_s:
            while running and running[0].end_s <= look_s:
                rule.see(heapq.heappop(running))
            rule.look(look_s)
            if rule.is_over:
                over_s = look_s
            look_s += rule.look_s
        if over_s is not None and (release.is_good or not rule.basis_points):
            break
        bucket = buckets.get(job.repo)
        if bucket is None:
            bucket = buckets[job.repo] = bucket_after(PREFIX, f"{seed}:{job.repo}")
        is_next = bucket < rule.basis_points
        current_rate, next_rate = release.rates(job.start_s)
        is_failed = job.luck < (next_rate if is_next else current_rate)
        harmed += is_failed and job.luck >= current_rate
        if over_s is None:
            heapq.heappush(running, Ended(job.end_s, rule.basis_points, job.repo, is_next, is_failed))
    is_back = over_s is not None and not rule.basis_points
    return Result(harmed, over_s if is_back else None, None if is_back else over_s)
