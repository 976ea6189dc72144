"""The verb of automation: carries out a decision and stores the progress in one change."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rampd_server.domain.rollout import commands, ramping, releasing
from rampd_server.domain.rollout.effect import Done
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.requirements import require_next

_VERBS: dict[type, Callable[[Rollout, Any, Context], Done]] = {
    commands.Ramp: ramping.ramp_to,
    commands.Rollback: ramping.rollback,
    commands.Pause: ramping.pause,
    commands.Finalize: releasing.finalize,
    commands.Abandon: releasing.abandon,
}


def decide(rollout: Rollout, command: commands.Decide, context: Context) -> Done:
    """Stores the progress of the present next. If the command ends this next, the new next begins with its own progress."""
    require_next(rollout, unless_held="Automation is off meanwhile.")
    done = Done(rollout, "Remembered.")
    if command.command is not None:
        done = _VERBS[type(command.command)](rollout, command.command, context)
    if done.rollout.next != rollout.next:
        return done
    return replace(done, rollout=replace(done.rollout, progress=command.progress))
