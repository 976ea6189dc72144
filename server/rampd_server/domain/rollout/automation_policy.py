"""What a component's policy says about automation, and which of its settings contradict each other.

Durations are integers, milliseconds; shares are integers, basis points; rates are fractions, 0 to 1.
"""

from dataclasses import dataclass
from enum import StrEnum

from rampd._contract.policy_rules import contradictions


class OnRegression(StrEnum):
    """What a guard does when it finds that next is bad."""

    ROLLBACK = "ROLLBACK"
    PAUSE = "PAUSE"
    NOTIFY = "NOTIFY"


class AfterRollback(StrEnum):
    """What follows an automatic rollback."""

    HOLD = "HOLD"
    CONTINUE = "CONTINUE"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the plan. Next stays at `basis_points` for at least `hold_ms`, and until `min_jobs` outcomes of next are in.
    With `approval`, it also waits until a person resumes it.
    """

    basis_points: int
    hold_ms: int = 0
    min_jobs: int = 0
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A Prometheus query whose value must lie within `minimum` and `maximum`. At least one of the two is set.

    More than `failures_allowed` failures in a row count as a regression; more than `errors_allowed` errors in a row
    pause the rollout, because a source that is broken says nothing about the release.
    """

    name: str
    query: str
    interval_ms: int = 60_000
    minimum: float | None = None
    maximum: float | None = None
    failures_allowed: int = 0
    errors_allowed: int = 4


@dataclass(frozen=True, slots=True)
class Automation:
    """How far a rollout goes by itself, and what rolls it back. docs/automation.md explains every field."""

    steps: tuple[Step, ...] = ()
    max_basis_points: int = 9_500
    auto_start: bool = False
    auto_finalize: bool = False
    on_regression: OnRegression = OnRegression.ROLLBACK
    after_rollback: AfterRollback = AfterRollback.HOLD
    alpha: float = 0.01
    """Chance of ever rolling back a release that is no worse."""
    tolerance: float = 1.0
    """How many times as often as current next may fail."""
    maturation_ms: int = 0
    """How old a job must be before its failure counts."""
    max_failure_rate: float = 0.0
    """The failure rate above which the absolute guard acts; 0: the guard is off."""
    on_max_failure_rate: OnRegression = OnRegression.PAUSE
    checks: tuple[Check, ...] = ()
    confirm_within_ms: int | None = None
    """The default of Ramp's dead-man switch; None: off."""
    stuck_after_ms: int | None = None
    """How long a rollout may make no progress; None: for ever."""

    @property
    def starts_by_itself(self) -> bool:
        """Whether a new next gets its first step without a person."""
        return self.auto_start and bool(self.steps)


def violations(automation: Automation) -> list[tuple[str, str]]:
    """Returns the settings that contradict each other, even if they came with different requests: (field of
    `rampd.v1.SetPolicyRequest`, what is wrong with it). `rampd._contract.field_rules` has the limits of each setting.
    """
    steps = [(step.basis_points / 100, step.hold_ms) for step in automation.steps]
    found = contradictions(steps, automation.max_basis_points / 100, automation.stuck_after_ms)
    return [(f"policy.{field}", text) for field, text in found]
