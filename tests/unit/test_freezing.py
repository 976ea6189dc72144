"""What people read about a freeze: who made it and why, until when it lasts, and which freeze it replaces."""

from dataclasses import replace

import pytest

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.domain.wording import moment
from tests.rollouts import NOW, after, steady

LATER, LATEST = NOW + 600_000, NOW + 3_600_000
GOING_BACK = "releases wait, and no percent rises. Going back still works."


def said(rollout: Rollout, expire_ms: int | None, *, now_ms: int = NOW) -> str:
    return transition(rollout, commands.Freeze(expire_ms), Context(now_ms, "bob")).message


@pytest.mark.parametrize(
    ("expire_ms", "end"), [(None, ""), (LATER, f" until {moment(LATER)}")], ids=["no end", "an end"]
)
def test_a_freeze_says_until_when_it_lasts(expire_ms: int | None, end: str) -> None:
    name = steady().component

    assert said(steady(), expire_ms) == f"{name} is frozen{end}: {GOING_BACK}"
    assert said(after(steady(), commands.Freeze(expire_ms)), expire_ms) == f"{name} was frozen already{end}."


@pytest.mark.parametrize(
    ("present", "lasted"),
    [(Freeze("ada", "", NOW, LATEST), f" until {moment(LATEST)}"), (Freeze("ada", "", NOW, None), " without an end")],
    ids=["an end", "no end"],
)
def test_a_freeze_says_which_freeze_it_replaces(present: Freeze, lasted: str) -> None:
    message = said(replace(steady(), freeze=present), LATER)

    assert message.endswith(f"{GOING_BACK} This replaces the freeze by ada{lasted}.")


def test_a_freeze_that_is_over_is_not_replaced() -> None:
    assert said(after(steady(), commands.Freeze(LATER)), LATEST, now_ms=LATER).endswith(GOING_BACK)


@pytest.mark.parametrize(("note", "why"), [("", ""), ("holidays", " (holidays)")])
def test_the_end_of_one_freeze_says_who_made_that_of_all_and_why(note: str, why: str) -> None:
    context = Context(NOW, "bob", freeze_all=Freeze("ada", note, NOW, LATER))

    message = transition(after(steady(), commands.Freeze()), commands.Unfreeze(), context).message

    assert message.endswith(f" All components are still frozen by ada{why} until {moment(LATER)}.")


def test_a_release_that_waits_for_a_freeze_says_who_made_it_and_why() -> None:
    context = Context(NOW, "bob", freeze_all=Freeze("ada", "holidays", NOW))

    assert ": frozen by ada (holidays). " in transition(steady(), commands.Release("D"), context).message
