"""Which currents fail more often than usual, by how their jobs went lately. Pure.

A rate since current became current hides a current that turned bad yesterday. So what counts is `CurrentOutcomes.recent`. If lately
there were few jobs, or if the server does not count them, all jobs since then count.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._standing.clock import Clock
from rampd._standing.outcomes import Count
from rampd._standing.share import failed, failure_rate

FAILS: Final = "Jobs of current fail more often than usual"
"""What is wrong with each of them."""
_ENOUGH_JOBS: Final = 20
"""With fewer jobs, a rate is not known."""
_FEWEST_FAILURES: Final = 3
_FLEET: Final = 5
"""With fewer components, there is no rate that is usual among them."""
LEAST_RATE: Final = 0.01
"""A lower rate counts as this one, before and elsewhere: it is never too high."""
_TIMES: Final = 1.5
"""How many times as high as usual a rate has to be. With thousands of jobs, also a difference that matters to nobody is sure."""
_SURE: Final = 3.0
"""How sure it is that the rate is too high, in standard errors: among a thousand components as usual, about one is named."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A component whose current fails more often than usual."""

    rollout: v1.Rollout
    count: Count
    since: Timestamp | None
    """Since when these jobs are counted. None: since current became current."""
    before: Count | None
    """The jobs before. None: too few."""
    times: float
    """How many times as often as before it fails at least; without jobs before, as often as is usual."""


def failing(rollouts: Sequence[v1.Rollout]) -> list[Failing]:
    """Returns the components whose current fails clearly more often than before, or than is usual among them. The one whose current
    has turned bad most is the first.
    """
    usual = usual_rate(rollouts)
    found = [judged for each in rollouts if (judged := failing_one(each, usual)) is not None]
    return sorted(found, key=lambda each: (-each.times, each.rollout.component))


def usual_rate(rollouts: Sequence[v1.Rollout]) -> float:
    """Returns the failure rate that is usual among components, or `LEAST_RATE` if they are too few."""
    totals = [count for each in rollouts if (count := whole(each)) is not None and count.jobs >= _ENOUGH_JOBS]
    rates = [count.failures / count.jobs for count in totals]
    return max(median(rates), LEAST_RATE) if len(rates) >= _FLEET else LEAST_RATE


def whole(rollout: v1.Rollout) -> Count | None:
    """Returns the jobs of current since it became current. None: not known."""
    if not rollout.HasField("current_outcomes"):
        return None
    return Count(rollout.current_outcomes.jobs, rollout.current_outcomes.failures)


def recent(rollout: v1.Rollout) -> Count | None:
    """Returns the jobs of current lately. None: not known."""
    outcomes = rollout.current_outcomes
    return Count(outcomes.recent.jobs, outcomes.recent.failures) if outcomes.HasField("recent") else None


def failing_one(rollout: v1.Rollout, usual: float = LEAST_RATE) -> Failing | None:
    """Returns how current fails clearly more often than before, or than is usual. None: it does not. What does not fail by
    `LEAST_RATE` fails by no other usual rate.
    """
    total, lately = whole(rollout), recent(rollout)
    if total is None:
        return None
    for count in (lately, total if lately is None or lately.jobs < _ENOUGH_JOBS else None):
        if count is None or count.failures < _FEWEST_FAILURES:
            continue
        before = Count(max(total.jobs - count.jobs, 0), max(total.failures - count.failures, 0))
        is_known = before.jobs >= _ENOUGH_JOBS
        own = max(before.failures / before.jobs, LEAST_RATE) if is_known else usual
        rate = _at_least(count)
        if rate > _TIMES * min(own, usual):
            since = rollout.current_outcomes.recent.since if count is lately else None
            return Failing(rollout, count, since, before if is_known else None, rate / own)
    return None


def _at_least(count: Count) -> float:
    """Returns the rate that the jobs prove: the lower end of Wilson's interval."""
    rate, square = count.failures / count.jobs, _SURE**2 / count.jobs
    margin = _SURE * math.sqrt(rate * (1 - rate) / count.jobs + square / (4 * count.jobs))
    return (rate + square / 2 - margin) / (1 + square)


def told_of_failing(found: Failing, clock: Clock) -> str:
    """Says of one component that its current fails, in a sentence."""
    return f"{FAILS}: {told(found, clock)}."


def told(found: Failing, clock: Clock) -> str:
    """Writes `12 of 60 failed (20.0 %) since 02:40, before 0.3 %`."""
    since = f"since {clock.time(found.since)}" if found.since is not None else "since it became current"
    before = f", before {failure_rate(found.before.failures, found.before.jobs)}" if found.before is not None else ""
    return f"{failed(found.count.failures, found.count.jobs)} {since}{before}"


def told_of_current(rollout: v1.Rollout, clock: Clock) -> Iterator[str]:
    """Says how the jobs of current went lately, and with a next also since current became current, because `jobs_of` then has the
    jobs of the trial.
    """
    lately, total, outcomes = recent(rollout), whole(rollout), rollout.current_outcomes
    if total is None or not total.jobs:
        return
    if lately is not None and lately.jobs < total.jobs:
        yield f"{failed(lately.failures, lately.jobs)} since {clock.time(outcomes.recent.since)}"
    if rollout.HasField("next"):
        yield f"{failed(total.failures, total.jobs)} since it became current, {clock.when(outcomes.since)}"
