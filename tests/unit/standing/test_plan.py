"""Where a rollout stands in its plan."""

import pytest

from rampd import v1
from rampd._standing.plan import is_driven
from tests.cli.rollouts import NOW
from tests.unit.server.page.events import event, ramped

RAMP = event("Ramp", NOW, {"next_percent": ("25", "30")})
RESUME = event("Resume", NOW, {})
QUEUED = event("Release", NOW, {"release/5": (None, "2.0 QUEUED")})
NEXT = event("Release", NOW, {"next": (None, "4"), "state": ("STEADY", "ROLLING_OUT")})
HELD = event("Rollback", NOW, {"state": ("ROLLING_OUT", "HELD")})
PRETENDED = event("Step", NOW, {"next_percent": ("25", "30")}, actor="ada")


@pytest.mark.parametrize(
    ("newest", "is_so"),
    [
        ([], True),
        ([QUEUED], True),
        ([RAMP], False),
        ([RESUME, RAMP], True),
        ([HELD], False),
        ([NEXT], False),
    ],
)
def test_the_plan_drives_until_a_person_ramps(newest: list[v1.Event], is_so: bool) -> None:
    assert is_driven([*newest, *ramped()]) == is_so
    assert not is_driven([PRETENDED])
