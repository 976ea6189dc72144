"""Rollouts for the start of a test. The verbs themselves make them."""

from dataclasses import replace

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Absent, Freeze, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition

NOW = 1_700_000_000_000


def after(rollout: Rollout | Absent, *steps: commands.Command, **context: object) -> Rollout:
    """Returns the rollout after these verbs. Fails if a verb is refused."""
    for step in steps:
        rollout = transition(rollout, step, Context(NOW, "ada", **context)).after
    assert isinstance(rollout, Rollout)
    return rollout


def steady() -> Rollout:
    """Current is A (release 3), previous are O and P."""
    rollout = after(Absent("restyler"), commands.Release("P"), commands.Release("O"), commands.Finalize(force=True))
    return after(rollout, commands.Release("A"), commands.Finalize(force=True))


def rolling_out() -> Rollout:
    """Current is A, next is B (release 4) at 10 percent, C (release 5) waits."""
    return after(steady(), commands.Release("B"), commands.Ramp(1000), commands.Release("C"))


def held() -> Rollout:
    """Current is A, next is B and held at 0 percent, C waits."""
    return after(rolling_out(), commands.Rollback())


def frozen(rollout: Rollout) -> Rollout:
    """Returns the rollout with a freeze. If the rollout is steady, C waits."""
    rollout = replace(rollout, freeze=Freeze("ada", "", NOW))
    return after(rollout, commands.Release("C")) if rollout.next is None else rollout
