"""What a component's policy says about automation, and what it must not say.

Durations are integers, milliseconds; shares are integers, basis points; rates are fractions, 0 to 1.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rampd._contract import placeholders
from rampd_server.domain.wording import exact, percent, whole_span

MAX_STEPS = 50
MAX_CHECKS = 20
MAX_BASIS_POINTS = 9_999
"""The most that automation may give next: one bucket at least stays with current, to compare with."""
MIN_ALPHA, MAX_ALPHA = 1e-6, 0.5
MAX_TOLERANCE = 10.0
MIN_FAILURE_RATE, MAX_FAILURE_RATE = 0.001, 0.8
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
MAX_HOLD_MS = 30 * DAY_MS
MAX_JOBS = 1_000_000_000

TO_EVERYBODY = "Set auto_finalize to make next current after the last step, without a step of 100."
"""What to do where somebody wants a plan to end at 100 percent."""

_CHECK_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


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
    """One step of the plan: at `basis_points` for `hold_ms` at the least, until `min_jobs` outcomes of next are in; with
    `approval` also until a person resumes it.
    """

    basis_points: int
    hold_ms: int = 0
    min_jobs: int = 0
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A Prometheus query whose value must lie within `minimum` and `maximum`, each of them or one.

    More than `failures_allowed` failures in a row count as a regression; more than `errors_allowed` errors in a row
    pause the rollout, because a source that is broken says nothing about the release.
    """

    name: str
    query: str
    interval_ms: int = MINUTE_MS
    minimum: float | None = None
    maximum: float | None = None
    failures_allowed: int = 0
    errors_allowed: int = 4


@dataclass(frozen=True, slots=True)
class Automation:
    """How far a rollout goes by itself, and what makes it come back. docs/automation.md explains every field."""

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
    """What the absolute guard defends; 0: it is off."""
    on_max_failure_rate: OnRegression = OnRegression.PAUSE
    checks: tuple[Check, ...] = ()
    confirm_within_ms: int | None = None
    """The default of Ramp's dead-man switch; None: off."""
    stuck_after_ms: int | None = None
    """How long a rollout may make no progress; None: for ever."""

    @property
    def starts_by_itself(self) -> bool:
        """Whether a new next gets its first step without anybody."""
        return self.auto_start and bool(self.steps)


def violations(automation: Automation) -> list[tuple[str, str]]:
    """Everything that is wrong with a policy: (field of `rampd.v1.SetPolicyRequest`, what is wrong with it)."""
    return [(f"policy.{field}", text) for field, text in _violations(automation)]


def _violations(automation: Automation) -> Iterator[tuple[str, str]]:
    yield from _steps(automation)
    if not 1 <= automation.max_basis_points <= MAX_BASIS_POINTS:
        yield (
            "max_percent",
            (f"must be 0.01 to {percent(MAX_BASIS_POINTS)}: guards compare next with those who stay. {TO_EVERYBODY}"),
        )
    if not MIN_ALPHA <= automation.alpha <= MAX_ALPHA:
        yield "alpha", f"must be {MIN_ALPHA:f} to {MAX_ALPHA}, such as 0.01: 1 in 100 good releases is rolled back"
    if not 1 <= automation.tolerance <= MAX_TOLERANCE:
        yield "tolerance", f"must be 1 to {MAX_TOLERANCE:g}: how many times as often as current next may fail"
    if not 0 <= automation.maturation_ms <= DAY_MS:
        yield "maturation", f"must be 0 to {whole_span(DAY_MS)}"
    rate = automation.max_failure_rate
    if rate != 0 and not MIN_FAILURE_RATE <= rate <= MAX_FAILURE_RATE:
        yield "max_failure_rate", f"must be 0 (off) or {MIN_FAILURE_RATE} to {MAX_FAILURE_RATE}, a fraction of all jobs"
    yield from _checks(automation.checks)
    if automation.confirm_within_ms is not None and not 1_000 <= automation.confirm_within_ms <= MAX_HOLD_MS:
        yield "confirm_within", f"must be 1 s to {whole_span(MAX_HOLD_MS)}, or absent"
    yield from _stuck_after(automation)


def _steps(automation: Automation) -> Iterator[tuple[str, str]]:
    if len(automation.steps) > MAX_STEPS:
        yield "steps", f"are {len(automation.steps)}; {MAX_STEPS} at the most"
    before = 0
    for place, step in enumerate(automation.steps):
        name = f"steps[{place}]"
        if step.basis_points < 1:
            yield f"{name}.percent", "must be over 0"
        elif step.basis_points <= before:
            yield f"{name}.percent", f"must be over {percent(before)}, that of the step before: steps go up"
        if step.basis_points > MAX_BASIS_POINTS:
            yield f"{name}.percent", f"must be {percent(MAX_BASIS_POINTS)} at the most. {TO_EVERYBODY}"
        elif step.basis_points > automation.max_basis_points:
            yield (
                f"{name}.percent",
                f"is over max_percent, {percent(automation.max_basis_points)}: raise max_percent, or leave the step out. "
                f"{TO_EVERYBODY}",
            )
        if not 0 <= step.hold_ms <= MAX_HOLD_MS:
            yield f"{name}.hold", f"must be 0 to {whole_span(MAX_HOLD_MS)}"
        if not 0 <= step.min_jobs <= MAX_JOBS:
            yield f"{name}.min_jobs", f"must be 0 to {MAX_JOBS:,}"
        before = max(before, step.basis_points)


def _checks(checks: tuple[Check, ...]) -> Iterator[tuple[str, str]]:
    if len(checks) > MAX_CHECKS:
        yield "checks", f"are {len(checks)}; {MAX_CHECKS} at the most"
    names = Counter(check.name for check in checks)
    for place, check in enumerate(checks):
        name = f"checks[{place}]"
        if not _CHECK_NAME.fullmatch(check.name):
            yield f"{name}.name", "must be 1 to 63 of a-z 0-9 . _ -, a letter or digit first and last"
        elif names[check.name] > 1:
            yield f"{name}.name", f"{check.name} is there {names[check.name]} times"
        if wrong := placeholders.wrong(check.query):
            yield f"{name}.query", wrong
        if not 1_000 <= check.interval_ms <= DAY_MS:
            yield f"{name}.interval", f"must be 1 s to {whole_span(DAY_MS)}"
        yield from _bounds(name, check)
        if not 0 <= check.failures_allowed <= MAX_JOBS:
            yield f"{name}.failures_allowed", "must be 0 or more"
        if not 0 <= check.errors_allowed <= MAX_JOBS:
            yield f"{name}.errors_allowed", "must be 0 or more"


def _bounds(name: str, check: Check) -> Iterator[tuple[str, str]]:
    bounds = [bound for bound in (check.minimum, check.maximum) if bound is not None]
    if not bounds:
        yield name, "needs min, max or both"
    elif not all(math.isfinite(bound) for bound in bounds):
        yield name, "needs finite numbers for min and max"
    elif check.minimum is not None and check.maximum is not None and check.minimum > check.maximum:
        yield f"{name}.min", f"is over max, {exact(check.maximum)}: no value passes"


def _stuck_after(automation: Automation) -> Iterator[tuple[str, str]]:
    stuck_after_ms = automation.stuck_after_ms
    if stuck_after_ms is None:
        return
    if not MINUTE_MS <= stuck_after_ms <= MAX_HOLD_MS:
        yield "stuck_after", f"must be {whole_span(MINUTE_MS)} to {whole_span(MAX_HOLD_MS)}, or absent"
        return
    longest_ms = max((step.hold_ms for step in automation.steps), default=0)
    if stuck_after_ms <= longest_ms:
        yield "stuck_after", f"must be over the longest hold, {whole_span(longest_ms)}: that step would always be stuck"
