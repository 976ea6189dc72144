"""What is remembered of a check from one answer to the next, and when the counting begins again. Pure."""

from dataclasses import dataclass, field
from hashlib import sha256

from rampd._contract.placeholders import fill
from rampd_server.domain.automation.check_answer import Answer
from rampd_server.domain.automation.guards import CheckReading
from rampd_server.domain.rollout.automation_policy import Check
from rampd_server.domain.rollout.model import Rollout


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """The counts of one check after an answer. `failures` and `errors` count in a row: a value ends a row of errors, and a
    value that passes ends both rows. An error says nothing about the release, so it does not change `failures`.
    """

    scope: str
    """Answers of one scope are counted together: see `scope_of`."""
    hold_ms: int | None = None
    """When the hold began that `has_passed` belongs to."""
    failures: int = 0
    errors: int = 0
    has_passed: bool = False
    value: float | None = None
    error: str = ""
    asked_ms: int | None = field(default=None, compare=False)
    """When the check was asked, by the store's clock. Only the store knows it."""


def query_of(check: Check, rollout: Rollout) -> str:
    """Returns the query for the next of a rollout: `{{tag}}` is next's, `{{channel}}` is `next`.

    Raises QueryError for a query that an older rampd accepted and whose placeholders can't be filled.
    """
    tag = rollout.next_release.tag if rollout.next_release else ""
    return fill(check.query, component=rollout.component, tag=tag, channel="next")


def is_asked(rollout: Rollout) -> bool:
    """Whether the checks of a rollout are asked now. At 0 percent nobody runs next, so there is nothing to ask."""
    return rollout.next is not None and not rollout.held_reason and rollout.basis_points > 0


def scope_of(check: Check, rollout: Rollout) -> str:
    """Returns a text that changes when counting must begin again: another next, a new trial, a Resume, another question."""
    question = f"{check.minimum!r} {check.maximum!r} {check.query}"
    digest = sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{rollout.next or 0}:{rollout.trial}:{rollout.progress.resumed_ms or 0}:{digest}"


def passes(check: Check, value: float) -> bool:
    """Whether a value lies within the bounds, or on one."""
    return (check.minimum is None or value >= check.minimum) and (check.maximum is None or value <= check.maximum)


def count(before: CheckCounts | None, answer: Answer, check: Check, rollout: Rollout) -> CheckCounts:
    """Returns the counts after an answer. `rollout` is the rollout at the time of the question."""
    scope, hold_ms = scope_of(check, rollout), rollout.progress.hold_since_ms
    if before is None or before.scope != scope:
        before = CheckCounts(scope, hold_ms)
    has_passed = before.has_passed and before.hold_ms == hold_ms
    if answer.value is None:
        return CheckCounts(
            scope, hold_ms, before.failures, before.errors + 1, has_passed, before.value, answer.error or "no answer"
        )
    if passes(check, answer.value):
        return CheckCounts(scope, hold_ms, has_passed=True, value=answer.value)
    return CheckCounts(scope, hold_ms, before.failures + 1, has_passed=has_passed, value=answer.value)


def reading(check: Check, rollout: Rollout, counts: CheckCounts | None) -> CheckReading:
    """Returns the counts as they apply to a rollout now. Counts of another scope do not apply."""
    if counts is None or counts.scope != scope_of(check, rollout):
        return CheckReading(check.name)
    return CheckReading(
        check.name,
        counts.failures,
        counts.errors,
        counts.has_passed and counts.hold_ms == rollout.progress.hold_since_ms,
        counts.value,
        counts.error,
        counts.asked_ms,
    )
