"""The findings against next, in sentences that an admin understands, and the policy's response to each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from rampd._decision.resolution import Unit
from rampd._evidence import absolute_guard, assignment_check, e_process
from rampd._evidence.counters import Split, TrialCounters
from rampd._evidence.reporter_cap import counted_failures
from rampd_server.domain import wording
from rampd_server.domain.rollout.automation_policy import Automation, Check, OnRegression
from rampd_server.domain.rollout.model import FULL, Rollout
from rampd_server.domain.rollout.progress import Cause


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding against next, or against the data about it."""

    cause: Cause
    response: OnRegression
    sentence: str


@dataclass(frozen=True, slots=True)
class CheckReading:
    """What is known of one Prometheus check. `failures` and `errors` count in a row, and begin again after a Resume."""

    name: str
    failures: int = 0
    errors: int = 0
    has_passed: bool = False
    """Whether a value passed since the present hold began."""
    value: float | None = None
    """The newest."""
    error: str = ""
    """What was wrong with the source at the last question."""
    asked_ms: int | None = field(default=None, compare=False)
    """When the check was last asked, by the store's clock: for show, in no decision."""


def findings(rollout: Rollout, counters: TrialCounters, checks: Sequence[CheckReading]) -> Iterator[Finding]:
    """Yields all findings against the next of a rollout, the most serious first."""
    automation = rollout.policy.automation
    if log_evidence(automation, counters) >= e_process.log_limit(automation.alpha):
        yield Finding(Cause.RELATIVE_GUARD, automation.on_regression, _relative_sentence(rollout, counters))
    if _absolute_log_evidence(automation, counters) >= e_process.log_limit(absolute_guard.ALPHA):
        sentence = _absolute_sentence(rollout, counters)
        yield Finding(Cause.ABSOLUTE_GUARD, automation.on_max_failure_rate, sentence)
    yield from _of_checks(rollout, checks)
    if assignment_check.log_evidence(counters.first_outcomes) >= e_process.log_limit(assignment_check.ALPHA):
        yield Finding(Cause.ASSIGNMENT_CHECK, OnRegression.PAUSE, _assignment_sentence(rollout, counters))


def log_evidence(automation: Automation, counters: TrialCounters) -> float:
    """The natural logarithm of E of the relative guard, whose limit is 1/alpha."""
    return e_process.log_evidence(counted_failures(counters), tolerance=automation.tolerance)


def relative_evidence(automation: Automation, counters: TrialCounters) -> str:
    """E of the relative guard, in a sentence."""
    return _evidence_sentence(log_evidence(automation, counters), automation.alpha)


def failed_jobs(counters: TrialCounters) -> tuple[str, str]:
    """Says how many jobs of next and of current failed. Different rates look different."""
    total = counters.total
    of_next, of_current = wording.rates(
        (total.failures.next, total.jobs.next), (total.failures.current, total.jobs.current)
    )
    return of_next, of_current


def readings_sentence(automation: Automation, readings: Sequence[CheckReading]) -> str:
    """Says the last value of each check. Begins with a space; is empty if there are no checks."""
    known = {reading.name: reading for reading in readings}
    return "".join(_value(check, known.get(check.name)) for check in automation.checks)


def _value(check: Check, reading: CheckReading | None) -> str:
    if reading is None or reading.value is None:
        return f" The check {check.name} has given no value."
    value = wording.against_bounds(reading.value, check.minimum, check.maximum)
    bounds = wording.bounds(check.minimum, check.maximum)
    return f" The last value of the check {check.name} was {value} ({bounds} is allowed)."


def _evidence_sentence(log: float, alpha: float) -> str:
    found, limit = wording.evidence(log - e_process.log_limit(alpha), 1 / Fraction(repr(alpha)))
    return f"The evidence E is {found}, its limit {limit}."


def _absolute_log_evidence(automation: Automation, counters: TrialCounters) -> float:
    """The natural logarithm of E of the absolute guard; negative infinity if the guard is off."""
    if not automation.max_failure_rate:
        return -math.inf
    total = counters.total
    return absolute_guard.log_evidence(
        total.failed_first_outcomes.next, total.first_outcomes.next, automation.max_failure_rate
    )


def _relative_sentence(rollout: Rollout, counters: TrialCounters) -> str:
    automation, failed = rollout.policy.automation, counted_failures(counters)
    expected, next_failed = wording.apart(
        _expected(failed), Fraction(sum(split.next for split in failed.values())), decimals=1
    )
    all_failed = sum(split.total for split in failed.values())
    of_next, of_current = failed_jobs(counters)
    next_tag, current_tag = _tags(rollout)
    tolerated = (
        f"{wording.exact(automation.tolerance)} times as often as" if automation.tolerance > 1 else "more often than"
    )
    return (
        f"{next_tag} fails {tolerated} {current_tag}{' or more' if automation.tolerance > 1 else ''}. "
        f"Of {all_failed:,} {_units(rollout)} with a failure {next_failed} ran {next_tag}; {expected} were to be "
        f"expected. Jobs that failed: {of_next} of {next_tag}, {of_current} of {current_tag}. "
        f"{relative_evidence(automation, counters)}"
    )


def _absolute_sentence(rollout: Rollout, counters: TrialCounters) -> str:
    total, limit = counters.total, rollout.policy.automation.max_failure_rate
    next_tag, current_tag = _tags(rollout)
    of_units, of_next, of_current = wording.rates(
        (total.failed_first_outcomes.next, total.first_outcomes.next),
        (total.failures.next, total.jobs.next),
        (total.failures.current, total.jobs.current),
        limit=limit,
    )
    return (
        f"{next_tag} fails more often than the policy allows, {wording.share(limit)}: for {of_units} {_units(rollout)} the "
        f"first job failed. Jobs that failed: {of_next} of {next_tag}, {of_current} of {current_tag}; if both are high, "
        "the cause may be an outage and not the release. "
        f"{_evidence_sentence(_absolute_log_evidence(rollout.policy.automation, counters), absolute_guard.ALPHA)}"
    )


def _assignment_sentence(rollout: Rollout, counters: TrialCounters) -> str:
    first = counters.total.first_outcomes
    expected, ran_next = wording.apart(_expected(counters.first_outcomes), Fraction(first.next))
    return (
        f"Of {first.total:,} {_units(rollout)} that reported {ran_next} ran {_tags(rollout)[0]}, but {expected} "
        "were to be expected. Reports get lost, or a client does not assign as it should: versions can't be compared. "
        f"{_evidence_sentence(assignment_check.log_evidence(counters.first_outcomes), assignment_check.ALPHA)}"
    )


def _expected(counts: Mapping[int, Split]) -> Fraction:
    """Returns how many of the counted units the weights give to next."""
    return Fraction(sum(split.total * weight for weight, split in counts.items()), FULL)


def _of_checks(rollout: Rollout, readings: Sequence[CheckReading]) -> Iterator[Finding]:
    known = {reading.name: reading for reading in readings}
    for check in rollout.policy.automation.checks:
        reading = known.get(check.name, CheckReading(check.name))
        if reading.failures > check.failures_allowed:
            yield Finding(
                Cause.CHECK_FAILED,
                rollout.policy.automation.on_regression,
                f"The check {check.name} failed {wording.counted(reading.failures, 'time')} in a row (allowed: "
                f"{check.failures_allowed:,}).{_value(check, reading)}",
            )
        elif reading.errors > check.errors_allowed:
            yield Finding(
                Cause.CHECK_BROKEN,
                OnRegression.PAUSE,
                f"The check {check.name} got no answer {wording.counted(reading.errors, 'time')} in a row (allowed: "
                f"{check.errors_allowed:,}). That says nothing about the release. The last error: {wording.ended(reading.error or 'none')}",
            )


def _tags(rollout: Rollout) -> tuple[str, str]:
    return rollout.next_release.tag if rollout.next_release else "next", rollout.current_release.tag


def _units(rollout: Rollout) -> str:
    return "repos" if rollout.unit is Unit.REPO else "jobs"
