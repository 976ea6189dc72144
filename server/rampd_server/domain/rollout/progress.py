"""The progress of automation with a rollout: only what the controller must remember between two looks.

The progress belongs to next. It is committed in the same write as the change that it records. Verbs of people change it
too: with Ramp a person takes over from the plan, with Resume the plan takes over again.
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
    """Why automation stops a rollout, or reports something."""

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
        """Whether it depends on the trial's counters, and so comes again at once unless a new trial begins."""
        return self in {self.RELATIVE_GUARD, self.ABSOLUTE_GUARD, self.ASSIGNMENT_CHECK}

    @property
    def is_regression(self) -> bool:
        """Whether it says that the release fails."""
        return self in {self.RELATIVE_GUARD, self.ABSOLUTE_GUARD, self.CHECK_FAILED}


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one next. The methods return the progress after an event at `now_ms` by the store's clock."""

    driver: Driver = Driver.NOBODY
    hold_since_ms: int | None = None
    """When the present hold began; None: the plan goes on from the step at or above the percent, without waiting."""
    moved_ms: int = 0
    """When the rollout last made progress, from which stuck_after counts."""
    paused_by: Cause | None = None
    """Why automation paused the rollout; None if it did not. A cause that depends on the trial's counters goes before others."""
    said: frozenset[Cause] = frozenset()
    """The causes that were reported in this trial already, and need not be reported again."""
    resumed_ms: int | None = None
    """When the rollout was last resumed. Failures and errors of checks count from then on. None: never."""
    is_approved: bool = False
    """Whether a person let the plan go on from the present step."""

    def stepped(self, now_ms: int) -> "Progress":
        """The plan raised the percent, or begins a hold at the present percent."""
        return replace(self, driver=Driver.PLAN, hold_since_ms=now_ms, moved_ms=now_ms, is_approved=False)

    def hold_restarted(self, now_ms: int) -> "Progress":
        """The clock jumped, so the hold begins again."""
        return replace(self, hold_since_ms=now_ms if self.hold_since_ms is not None else None, moved_ms=now_ms)

    def paused(self, cause: Cause) -> "Progress":
        """A guard paused the rollout, or another guard had paused it already."""
        return replace(self, paused_by=self.paused_by if self.resumes_as_new_trial else cause, said=self.said | {cause})

    def asked(self) -> "Progress":
        """The step has what it needs, and waits for a person."""
        return replace(self, paused_by=Cause.APPROVAL)

    def unasked(self) -> "Progress":
        """Nobody has to approve the step any more."""
        return replace(self, paused_by=None) if self.paused_by is Cause.APPROVAL else self

    def approved(self, now_ms: int) -> "Progress":
        """A person let the plan go on from the present step, whose hold is over and does not begin again."""
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
