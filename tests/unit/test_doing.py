"""What a rollout is doing, and how long."""

from dataclasses import replace

import pytest

from rampd_server.domain.automation.doing import Doing, doing, spent
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Automation, Step
from rampd_server.domain.rollout.model import Freeze, Pause, Rollout
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from tests.rollouts import NOW, after, held, rolling_out, steady

HOLD_MS = 10_000
PLAN = Automation(steps=(Step(1000, HOLD_MS), Step(5000, HOLD_MS)), auto_start=True)
ON_PLAN = Progress(Driver.PLAN, hold_since_ms=NOW, moved_ms=NOW)


def at(basis_points: int = 1000, automation: Automation = PLAN, **changes: object) -> Rollout:
    rollout = after(rolling_out(), commands.SetPolicy({"automation": automation}))
    return replace(rollout, **{"basis_points": basis_points, "progress": ON_PLAN} | changes)


def freeze(expire_ms: int | None = None) -> Freeze:
    return Freeze("ada", "", NOW, expire_ms)


@pytest.mark.parametrize(
    ("rollout", "now_ms", "expected"),
    [
        (steady(), NOW, None),
        (held(), NOW, Doing.HELD),
        (at(), NOW, Doing.RAMPING),
        (at(), NOW + HOLD_MS - 1, Doing.RAMPING),
        (at(), NOW + HOLD_MS, Doing.HOLDING),
        (at(5000), NOW + HOLD_MS, Doing.WAITING),
        (at(5000, replace(PLAN, auto_finalize=True)), NOW + HOLD_MS, Doing.HOLDING),
        (at(0, progress=Progress()), NOW, Doing.RAMPING),
        (at(0, replace(PLAN, auto_start=False), progress=Progress()), NOW, Doing.WAITING),
        (at(1000, progress=Progress()), NOW, Doing.WAITING),
        (at(1000, progress=Progress(Driver.PERSON)), NOW, Doing.WAITING),
        (at(1000, Automation()), NOW, Doing.WAITING),
        (at(confirm_deadline_ms=NOW + 1), NOW, Doing.WAITING),
        (at(paused=True, pause=Pause("ada", "", NOW)), NOW, Doing.PAUSED),
        (at(paused=True, pause=Pause("rampd", "", NOW, Cause.STUCK)), NOW, Doing.PAUSED),
        (at(paused=True, pause=Pause("rampd", "", NOW, Cause.APPROVAL)), NOW, Doing.WAITING),
        (at(paused=True, pause=Pause("ada", "", NOW), freeze=freeze()), NOW, Doing.FROZEN),
        (at(freeze=freeze(NOW + 1)), NOW, Doing.FROZEN),
        (at(freeze=freeze(NOW + 1)), NOW + 1, Doing.RAMPING),
        (replace(held(), freeze=freeze()), NOW, Doing.HELD),
    ],
)
def test_a_rollout_is_doing_one_thing(rollout: Rollout, now_ms: int, expected: Doing | None) -> None:
    assert doing(rollout, None, now_ms) == expected


def test_a_freeze_of_the_namespace_counts_too() -> None:
    assert doing(at(), freeze(), NOW) is Doing.FROZEN


def test_time_is_divided_where_a_freeze_and_a_hold_end() -> None:
    rollout = at(freeze=freeze(NOW + 3_000))
    assert list(spent(rollout, None, NOW, NOW + HOLD_MS + 5_000)) == [
        (Doing.FROZEN, 3_000),
        (Doing.RAMPING, 7_000),
        (Doing.HOLDING, 5_000),
    ]


def test_a_rollout_without_a_next_spends_no_time() -> None:
    assert list(spent(steady(), None, NOW, NOW + 5_000)) == []
