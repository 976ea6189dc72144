"""Where a rollout stands in the plan of its policy, and what comes next at what time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rampd import v1
from rampd._contract.wording import counted, whole_span
from rampd._standing.clock import Clock, as_datetime
from rampd._standing.event import is_by_automation
from rampd._standing.share import percent

_BEGIN_A_HOLD: Final = frozenset({"Step", "Hold"})
_MOVE: Final = frozenset({"Ramp", "Resume", "Rollback", "Finalize", "Abandon", "Release", "Revert", "Unfreeze"})
"""What people do that ends a hold of the plan."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A step of the plan, and where the rollout stands."""

    text: str
    is_over: bool
    is_now: bool


def steps_of(rollout: v1.Rollout) -> list[PlanStep]:
    """Returns the steps of the plan. Empty without a plan."""
    steps = rollout.policy.steps
    now = _place(rollout)
    return [PlanStep(_written(step), at < now, at == now) for at, step in enumerate(steps)]


def what_is_next(rollout: v1.Rollout, events: Sequence[v1.Event], clock: Clock) -> str:
    """Says what comes after the present step, and when. Empty if the plan does not say it, or if the plan does not move the
    rollout now.

    `events`: the newest of its history. The present hold began with the newest of them, if that is a Step or a Hold of the plan.
    """
    is_moving = rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT and not rollout.paused and not rollout.frozen
    if rollout.HasField("confirm_deadline"):
        at = rollout.confirm_deadline
        return f"0 % at {clock.time(at)}, in {clock.left(at)}, unless somebody confirms"
    if not rollout.policy.steps or not is_moving:
        return ""
    now = _place(rollout)
    began = _hold_began(events)
    if began is None:
        return ""
    what = _after(rollout, now)
    hold = rollout.policy.steps[now].hold.ToTimedelta() if now >= 0 else timedelta()
    ends = began + hold
    if ends <= clock.now:
        return f"{what}, as soon as the step has what it needs"
    return f"{what} at {clock.time(ends)} at the earliest, in {clock.left(ends)}"


def is_driven(events: Sequence[v1.Event]) -> bool:
    """Whether the plan drives the rollout, as far as the events tell it: the newest of its history. After a Ramp by a person it does
    not, until somebody resumes it.
    """
    for event in events:
        if event.action == "Resume" or (is_by_automation(event) and event.action in _BEGIN_A_HOLD):
            return True
        if event.action == "Ramp" or any(change.field in {"next", "state"} for change in event.changes):
            return False
    return False


def _place(rollout: v1.Rollout) -> int:
    """The index of the present step: the last one at or under the percent. -1 before the first step."""
    if rollout.state != v1.ROLLOUT_STATE_ROLLING_OUT:
        return -1
    return max((at for at, step in enumerate(rollout.policy.steps) if step.percent <= rollout.next_percent), default=-1)


def _after(rollout: v1.Rollout, now: int) -> str:
    steps, policy = rollout.policy.steps, rollout.policy
    if now >= 0 and steps[now].approval:
        return "Approval by a person"
    if now + 1 < len(steps):
        return percent(steps[now + 1].percent)
    return "Current" if policy.auto_finalize else "Finalize by a person"


def _hold_began(events: Sequence[v1.Event]) -> datetime | None:
    for event in events:
        if is_by_automation(event) and event.action in _BEGIN_A_HOLD:
            return as_datetime(event.time)
        if event.action in _MOVE:
            return None
    return None


def _written(step: v1.Step) -> str:
    """Writes `10 % for 1 h and 200 jobs, then approval`."""
    hold = whole_span(step.hold.ToMilliseconds()) if step.hold.ToMilliseconds() else ""
    jobs = counted(step.min_jobs, "job") if step.min_jobs else ""
    needs = " and ".join(filter(None, (hold, jobs)))
    return percent(step.percent) + (f" for {needs}" if needs else "") + (", then approval" if step.approval else "")
