"""Decides from a component's timeline which outcomes count, and in which trial and at which weight.

A job counts in the trial and at the weight that were in force at the revision on which it was *resolved*. The decision
does not trust the reported answer of Resolve: it computes the bucket again.
"""

from bisect import bisect_right
from enum import StrEnum
from typing import Final, NamedTuple

from rampd._decision.bucketing import bucket
from rampd._decision.resolution import Unit
from rampd_server.domain.rollout.model import Assignment, Rollout

BY_WEIGHT: Final = "WEIGHT"
FALLBACK: Final = "FALLBACK"


class IgnoredReason(StrEnum):
    """Why an outcome is not accepted."""

    COMPONENT_NOT_FOUND = "COMPONENT_NOT_FOUND"
    RELEASE_NOT_FOUND = "RELEASE_NOT_FOUND"
    REVISION_TOO_OLD = "REVISION_TOO_OLD"
    REVISION_UNKNOWN = "REVISION_UNKNOWN"
    ROLLOUT_ENDED = "ROLLOUT_ENDED"
    TRIAL_ENDED = "TRIAL_ENDED"
    ASSIGNMENT_MISMATCH = "ASSIGNMENT_MISMATCH"
    SEQUENCE_TOO_OLD = "SEQUENCE_TOO_OLD"
    SEQUENCE_REUSED = "SEQUENCE_REUSED"


EXPLANATIONS: Final = {
    IgnoredReason.COMPONENT_NOT_FOUND: "The component does not exist. ListRollouts shows the components that exist.",
    IgnoredReason.RELEASE_NOT_FOUND: "The component never had a release of this number: report what Resolve answered.",
    IgnoredReason.REVISION_TOO_OLD: "The job was resolved before the component's timeline begins, so its weight is not "
    "known any more.",
    IgnoredReason.REVISION_UNKNOWN: "The component has not reached this revision, or the store has lost this revision: report what Resolve "
    "answered.",
    IgnoredReason.ROLLOUT_ENDED: "The job was resolved in a rollout that has ended: it says nothing about the present rollout.",
    IgnoredReason.TRIAL_ENDED: "The job was resolved in an earlier trial of this release: evidence is gathered again from zero.",
    IgnoredReason.ASSIGNMENT_MISMATCH: "At this revision the weights gave this unit another channel or release: report "
    "what Resolve answered, or correct how the client computes buckets.",
    IgnoredReason.SEQUENCE_TOO_OLD: "A later batch of this client is accepted already, and this batch does not repeat the last one: "
    "raise the sequence with every new batch, and send one at a time.",
    IgnoredReason.SEQUENCE_REUSED: "This client used this sequence for another batch: raise the sequence with every new batch.",
}
"""The explanation of each reason for people."""


class JobOutcome(NamedTuple):
    """The result of one job and its resolution, as its launcher reports them. A NamedTuple, because there are millions."""

    component: str
    release: int
    revision: int
    is_next: bool | None
    """The channel of the job; None if it had no channel."""
    reason: str
    """Of `rampd.v1.ResolveReason`, without the prefix."""
    repo: str
    job_id: str
    is_failed: bool
    duration_ms: int


class Counted(NamedTuple):
    """One outcome of the present trial."""

    weight: int | None
    """Basis points of next when it was resolved; None: it was not randomised; it is counted, but no guard uses it."""
    is_next: bool
    is_failed: bool
    unit: str
    duration_ms: int


class Trial(NamedTuple):
    """The trial that outcomes are counted for. Of two trials, the trial in force at the higher revision is the later one."""

    release: int
    """Next; current if there is no next; 0 if the component does not exist any more."""
    number: int
    revision: int
    """A revision at which the trial is known to be in force."""


def trial_of(rollout: Rollout) -> Trial:
    """Returns the present trial. In STEADY it is trial 0 of current."""
    return Trial(rollout.next or rollout.current, rollout.trial, rollout.revision)


class Admission:
    """The rules for the outcomes of one component, as it is now."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._revisions = [assignment.revision for assignment in rollout.timeline]
        self.trial = trial_of(rollout)

    def admit(self, outcome: JobOutcome) -> Counted | IgnoredReason | None:
        """Returns how an outcome is counted, or why it is ignored; None: it is acknowledged, but not counted in this trial."""
        if outcome.reason == FALLBACK:
            return None
        if outcome.revision > self._rollout.revision or self._rollout.has_lost(outcome.revision):
            return IgnoredReason.REVISION_UNKNOWN
        place = bisect_right(self._revisions, outcome.revision)
        if not place:
            return IgnoredReason.REVISION_TOO_OLD
        is_by_weight = outcome.reason == BY_WEIGHT
        may_be_undeclared = outcome.is_next is None and not is_by_weight
        if not (0 if may_be_undeclared else 1) <= outcome.release <= self._rollout.last_number:
            return IgnoredReason.RELEASE_NOT_FOUND
        assignment = self._rollout.timeline[place - 1]
        return self._by_weight(outcome, assignment) if is_by_weight else self._for_show(outcome, assignment)

    def _by_weight(self, outcome: JobOutcome, assignment: Assignment) -> Counted | IgnoredReason:
        rollout = self._rollout
        if not assignment.release:
            return IgnoredReason.ASSIGNMENT_MISMATCH
        if assignment.release != rollout.next:
            return IgnoredReason.ROLLOUT_ENDED
        if assignment.trial != rollout.trial:
            return IgnoredReason.TRIAL_ENDED
        unit = outcome.job_id if outcome.job_id and assignment.unit is Unit.JOB else outcome.repo
        is_next = bucket(rollout.component, assignment.release, unit) < assignment.basis_points
        if outcome.is_next is not is_next or not self._ran(outcome.release, is_next=is_next):
            return IgnoredReason.ASSIGNMENT_MISMATCH
        return Counted(assignment.basis_points, is_next, outcome.is_failed, unit, outcome.duration_ms)

    def _for_show(self, outcome: JobOutcome, assignment: Assignment) -> Counted | None:
        rollout = self._rollout
        is_of_trial = assignment.release == (rollout.next or 0) and assignment.trial == rollout.trial
        # An override to a tag has no channel. The outcome counts for the channel whose release the job ran.
        is_next = outcome.release == rollout.next if outcome.is_next is None else outcome.is_next
        if not is_of_trial or not self._ran(outcome.release, is_next=is_next):
            return None
        return Counted(None, is_next, outcome.is_failed, "", outcome.duration_ms)

    def _ran(self, release: int, *, is_next: bool) -> bool:
        """Whether a release is what a channel gave in this trial."""
        rollout = self._rollout
        if is_next:
            return release == rollout.next
        # A verb that replaces current during a rollout (Revert, a hotfix) also makes it HELD: Ramp then begins a new trial.
        return release == rollout.current or bool(rollout.held_reason and release in rollout.previous)
