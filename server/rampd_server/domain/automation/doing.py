"""What a rollout is doing: how the time of rollouts is spent. Pure."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise

from rampd_server.domain.automation.decision import step_at
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context, freezes
from rampd_server.domain.rollout.progress import Cause, Driver


class Doing(StrEnum):
    """What a rollout with a next is doing."""

    RAMPING = "ramping"
    """The plan moves it: the hold of the present step is not over."""
    HOLDING = "holding"
    """The hold of the present step is over, but jobs or checks that the step needs are missing."""
    WAITING = "waiting"
    """It waits for a person."""
    PAUSED = "paused"
    FROZEN = "frozen"
    HELD = "held"


def doing(rollout: Rollout, freeze_all: Freeze | None, now_ms: int) -> Doing | None:
    """What a rollout is doing at a time; None without a next."""
    if rollout.next is None:
        return None
    if rollout.held_reason:
        return Doing.HELD
    if freezes(rollout, Context(now_ms, freeze_all=freeze_all)):
        return Doing.FROZEN
    if rollout.paused:
        return Doing.WAITING if rollout.pause_cause is Cause.APPROVAL else Doing.PAUSED
    if _needs_person(rollout):
        return Doing.WAITING
    hold_since_ms, automation = rollout.progress.hold_since_ms, rollout.policy.automation
    if hold_since_ms is None or now_ms < hold_since_ms + step_at(automation, rollout.basis_points).hold_ms:
        return Doing.RAMPING
    is_at_end = all(step.basis_points <= rollout.basis_points for step in automation.steps)
    return Doing.WAITING if is_at_end and not automation.auto_finalize else Doing.HOLDING


def _needs_person(rollout: Rollout) -> bool:
    """Whether no plan moves the rollout until a person has done something."""
    automation, driver = rollout.policy.automation, rollout.progress.driver
    if not automation.steps or rollout.confirm_deadline_ms is not None or driver is Driver.PERSON:
        return True
    return driver is Driver.NOBODY and (rollout.basis_points > 0 or not automation.auto_start)


def spent(rollout: Rollout, freeze_all: Freeze | None, since_ms: int, until_ms: int) -> Iterator[tuple[Doing, int]]:
    """How a rollout that did not change has spent the time between two moments: what, and how many milliseconds."""
    moments = [at_ms for at_ms in _moments(rollout, freeze_all) if since_ms < at_ms < until_ms]
    for begin_ms, end_ms in pairwise([since_ms, *sorted(moments), until_ms]):
        what = doing(rollout, freeze_all, begin_ms)
        if what is not None and end_ms > begin_ms:
            yield what, end_ms - begin_ms


def _moments(rollout: Rollout, freeze_all: Freeze | None) -> Iterator[int]:
    """When time alone changes what the rollout is doing."""
    for freeze in (rollout.freeze, freeze_all):
        if freeze is not None and freeze.expire_ms is not None:
            yield freeze.expire_ms
    if rollout.progress.hold_since_ms is not None:
        yield rollout.progress.hold_since_ms + step_at(rollout.policy.automation, rollout.basis_points).hold_ms
