"""What there is to say against next, in sentences that an admin understands, and what the policy wants done about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rampd_server.domain import absolute_guard, assignment_check, evidence, wording
from rampd_server.domain.automation_policy import Automation, OnRegression
from rampd_server.domain.counters import TrialCounters
from rampd_server.domain.model import FULL, Rollout, Unit
from rampd_server.domain.progress import Cause
from rampd_server.domain.reporter_cap import counted_failures


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that speaks against next, or against what is known of it."""

    cause: Cause
    response: OnRegression
    sentence: str


@dataclass(frozen=True, slots=True)
class CheckReading:
    """What is known of one Prometheus check. `failures` and `errors` are in a row, counted anew after a Resume."""

    name: str
    failures: int = 0
    errors: int = 0
    has_passed: bool = False
    """Whether a value passed since the present hold began."""
    value: float | None = None
    """The newest."""
    error: str = ""
    """What was wrong with the source, when last asked."""


def findings(rollout: Rollout, counters: TrialCounters, checks: Sequence[CheckReading]) -> Iterator[Finding]:
    """Everything that speaks against the next of a rollout, the gravest first."""
    automation = rollout.policy.automation
    if log_evidence(automation, counters) >= evidence.log_limit(automation.alpha):
        yield Finding(Cause.RELATIVE_GUARD, automation.on_regression, _relative_sentence(rollout, counters))
    if is_over_max_failure_rate(automation, counters):
        sentence = _absolute_sentence(rollout, counters)
        yield Finding(Cause.ABSOLUTE_GUARD, automation.on_max_failure_rate, sentence)
    yield from _of_checks(rollout, checks)
    if assignment_check.log_evidence(counters.first_outcomes) >= evidence.log_limit(assignment_check.ALPHA):
        yield Finding(Cause.ASSIGNMENT_CHECK, OnRegression.PAUSE, _assignment_sentence(rollout, counters))


def log_evidence(automation: Automation, counters: TrialCounters) -> float:
    """The natural logarithm of E of the relative guard, whose limit is 1/alpha."""
    return evidence.log_evidence(counted_failures(counters), tolerance=automation.tolerance)


def is_over_max_failure_rate(automation: Automation, counters: TrialCounters) -> bool:
    """Whether the absolute guard is on, and raises its alarm."""
    if not automation.max_failure_rate:
        return False
    total = counters.total
    log = absolute_guard.log_evidence(
        total.failed_first_outcomes.next, total.first_outcomes.next, automation.max_failure_rate
    )
    return log >= evidence.log_limit(absolute_guard.ALPHA)


def _relative_sentence(rollout: Rollout, counters: TrialCounters) -> str:
    automation, total, failed = rollout.policy.automation, counters.total, counted_failures(counters)
    expected = sum(split.total * weight for weight, split in failed.items()) / FULL
    next_failed = sum(split.next for split in failed.values())
    all_failed = sum(split.total for split in failed.values())
    next_tag, current_tag = _tags(rollout)
    tolerated = f"{automation.tolerance:g} times as often as" if automation.tolerance > 1 else "more often than"
    return (
        f"{next_tag} fails {tolerated} {current_tag}{' or more' if automation.tolerance > 1 else ''}. "
        f"Of {all_failed:,} {_units(rollout)} with a failure {next_failed:,} ran {next_tag}; {expected:,.1f} were to be "
        f"expected. Jobs that failed: {wording.rate(total.failures.next, total.jobs.next)} of {next_tag}, "
        f"{wording.rate(total.failures.current, total.jobs.current)} of {current_tag}. "
        f"E is {wording.odds(evidence.to_odds(log_evidence(automation, counters)))}, "
        f"its limit {wording.odds(1 / automation.alpha)}."
    )


def _absolute_sentence(rollout: Rollout, counters: TrialCounters) -> str:
    total = counters.total
    next_tag, current_tag = _tags(rollout)
    return (
        f"{next_tag} fails more often than the policy allows, {100 * rollout.policy.automation.max_failure_rate:g} %: for "
        f"{wording.rate(total.failed_first_outcomes.next, total.first_outcomes.next)} {_units(rollout)} the first job "
        f"failed. Jobs that failed: {wording.rate(total.failures.next, total.jobs.next)} of {next_tag}, "
        f"{wording.rate(total.failures.current, total.jobs.current)} of {current_tag}; where both are high, the cause may "
        "be an outage and not the release."
    )


def _assignment_sentence(rollout: Rollout, counters: TrialCounters) -> str:
    first = counters.total.first_outcomes
    expected = sum(split.total * weight for weight, split in counters.first_outcomes.items()) / FULL
    return (
        f"Of {first.total:,} {_units(rollout)} that reported {first.next:,} ran {_tags(rollout)[0]}, where {expected:,.0f} "
        "were to be expected. Reports get lost, or a client does not assign as it should: versions can't be compared."
    )


def _of_checks(rollout: Rollout, readings: Sequence[CheckReading]) -> Iterator[Finding]:
    known = {reading.name: reading for reading in readings}
    for check in rollout.policy.automation.checks:
        reading = known.get(check.name, CheckReading(check.name))
        if reading.failures > check.failures_allowed:
            value = "" if reading.value is None else f" The last value was {reading.value:g}."
            yield Finding(
                Cause.CHECK_FAILED,
                rollout.policy.automation.on_regression,
                f"The check {check.name} failed {reading.failures:,} times in a row; {check.failures_allowed:,} are "
                f"allowed.{value}",
            )
        elif reading.errors > check.errors_allowed:
            yield Finding(
                Cause.CHECK_BROKEN,
                OnRegression.PAUSE,
                f"The check {check.name} got no answer {reading.errors:,} times in a row; {check.errors_allowed:,} are "
                f"allowed. That says nothing of the release. The last error: {reading.error or 'none'}.",
            )


def _tags(rollout: Rollout) -> tuple[str, str]:
    return rollout.next_release.tag if rollout.next_release else "next", rollout.current_release.tag


def _units(rollout: Rollout) -> str:
    return "repos" if rollout.unit is Unit.REPO else "jobs"
