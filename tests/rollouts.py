"""Rollouts to begin a test with, made by the verbs themselves."""

from dataclasses import replace

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition

NOW = 1_700_000_000_000


def after(rollout: Rollout | Absent, *steps: commands.Command, **context: object) -> Rollout:
    """The rollout after some verbs, each of which must be done."""
    for step in steps:
        rollout = transition(rollout, step, Context(NOW, "ada", **context)).after
    assert isinstance(rollout, Rollout)
    return rollout


def steady() -> Rollout:
    """Current A (release 3), previous O and P."""
    rollout = after(Absent("restyler"), commands.Release("P"), commands.Release("O"), commands.Finalize(force=True))
    return after(rollout, commands.Release("A"), commands.Finalize(force=True))


def rolling_out() -> Rollout:
    """Current A, next B (release 4) at 10 percent, C (release 5) waits."""
    return after(steady(), commands.Release("B"), commands.Ramp(1000), commands.Release("C"))


def held() -> Rollout:
    """Current A, next B held at 0 percent, C waits."""
    return after(rolling_out(), commands.Rollback())


def frozen(rollout: Rollout) -> Rollout:
    """The same with a freeze; where it is steady, C waits."""
    rollout = replace(rollout, freeze=Freeze("ada", "", NOW))
    return after(rollout, commands.Release("C")) if rollout.next is None else rollout
