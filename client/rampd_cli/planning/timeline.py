"""When each step of a plan begins at the earliest, and what it waits for. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rampd import v1

_HOUR_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Stage:
    """The time at one step. Times are in seconds since the first step began."""

    basis_points: int
    begins_s: float
    ends_s: float
    """The earliest end. A step that waits for approval ends when a person resumes it."""
    hold_s: float
    min_jobs: int
    approval: bool

    @property
    def lasts_s(self) -> float:
        return self.ends_s - self.begins_s


def timeline(policy: "v1.Policy", jobs_per_hour: float) -> list[Stage]:
    """Returns the stages of a policy's plan, if jobs are spread evenly and each outcome arrives at once."""
    stages: list[Stage] = []
    begins_s = 0.0
    for step in policy.steps:
        basis_points = round(step.percent * 100)
        hold_s = step.hold.ToMilliseconds() / 1000
        needs_s = step.min_jobs / (jobs_per_hour * basis_points / 10_000) * _HOUR_S
        ends_s = begins_s + max(hold_s, needs_s)
        stages.append(Stage(basis_points, begins_s, ends_s, hold_s, step.min_jobs, step.approval))
        begins_s = ends_s
    return stages


def end_s(stages: Sequence[Stage]) -> float:
    """Returns when the plan has come to its end."""
    return stages[-1].ends_s if stages else 0.0
