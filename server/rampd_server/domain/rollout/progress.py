"""Where automation stands with a rollout: what the controller must remember between two looks, and nothing else.

It belongs to next and is committed with it, in the same write as the change that it remembers. The verbs of people change
it too: Ramp takes over, Resume gives back.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class Driver(StrEnum):
    """Who moves the percent."""

    NOBODY = "NOBODY"
    """A new next, at 0 %: auto_start decides."""
    PLAN = "PLAN"
    PERSON = "PERSON"
    """Somebody ramped by hand: the plan waits until Resume."""


class Cause(StrEnum):
    """What makes automation stop a rollout, or speak up."""

    CONFIRM = "CONFIRM"
    RELATIVE_GUARD = "RELATIVE_GUARD"
    ABSOLUTE_GUARD = "ABSOLUTE_GUARD"
    ASSIGNMENT_CHECK = "ASSIGNMENT_CHECK"
    CHECK_FAILED = "CHECK_FAILED"
    CHECK_BROKEN = "CHECK_BROKEN"
    STUCK = "STUCK"
    APPROVAL = "APPROVAL"
    """Nothing is wrong: the step has what it needs, and its `approval` waits for a person."""

    @property
    def is_of_trial(self) -> bool:
        """Whether it rests on the trial's counters, and so comes again at once unless a new trial begins."""
        return self in {self.RELATIVE_GUARD, self.ABSOLUTE_GUARD, self.ASSIGNMENT_CHECK}


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one next. The methods give the progress after something happened, at `now_ms` by the store's clock."""

    driver: Driver = Driver.NOBODY
    hold_since_ms: int | None = None
    """When the present hold began; None: the plan goes on from the step at or above the percent, without waiting."""
    moved_ms: int = 0
    """When the rollout last made progress, from which stuck_after counts."""
    paused_by: Cause | None = None
    """Why automation paused the rollout; None where it did not. Of several causes one that rests on the trial's counters."""
    said: frozenset[Cause] = frozenset()
    """What was said in this trial already, and need not be said again."""
    resumed_ms: int | None = None
    """When it was last resumed: failures and errors of checks count from then on. None: never."""
    is_approved: bool = False
    """Whether a person let the plan go on from the present step."""

    def stepped(self, now_ms: int) -> "Progress":
        """The plan raised the percent, or begins its hold at the percent that it found."""
        return replace(self, driver=Driver.PLAN, hold_since_ms=now_ms, moved_ms=now_ms, is_approved=False)

    def held_anew(self, now_ms: int) -> "Progress":
        """The clock jumped."""
        return replace(self, hold_since_ms=now_ms if self.hold_since_ms is not None else None, moved_ms=now_ms)

    def paused(self, cause: Cause) -> "Progress":
        """A guard paused the rollout, or would have if another one had not."""
        return replace(self, paused_by=self.paused_by if self.resumes_as_new_trial else cause, said=self.said | {cause})

    def asked(self) -> "Progress":
        """The step has what it needs, and waits for a person."""
        return replace(self, paused_by=Cause.APPROVAL)

    def unasked(self) -> "Progress":
        """Nobody has to approve the step any more."""
        return replace(self, paused_by=None) if self.paused_by is Cause.APPROVAL else self

    def approved(self, now_ms: int) -> "Progress":
        """A person let the plan go on from the present step, which has had its hold and does not hold again."""
        return replace(self, paused_by=None, is_approved=True, moved_ms=now_ms)

    def spoke(self, cause: Cause) -> "Progress":
        return replace(self, said=self.said | {cause})

    def taken_over(self, now_ms: int, *, is_new_trial: bool) -> "Progress":
        """A person ramped: `is_new_trial` out of HELD."""
        said = frozenset[Cause]() if is_new_trial else self.said
        paused_by = None if is_new_trial else self.unasked().paused_by
        return Progress(Driver.PERSON, None, now_ms, paused_by, said, self.resumed_ms)

    def given_back(self, now_ms: int) -> "Progress":
        """A person resumed."""
        said = frozenset[Cause]() if self.resumes_as_new_trial else self.said - {Cause.STUCK, self.paused_by}
        return Progress(Driver.PLAN, None, now_ms, None, said, now_ms)

    @property
    def resumes_as_new_trial(self) -> bool:
        """Whether Resume must begin a new trial: after a guard's pause."""
        return self.paused_by is not None and self.paused_by.is_of_trial
