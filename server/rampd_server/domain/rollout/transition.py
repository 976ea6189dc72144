"""The state machine: every verb in every state. docs/state-machine.md is its table, and a test holds the two together.

`transition` is total: for every rollout and command it returns an Effect, or raises RefusedError or InvalidRequestError.
The checks run in the order of the public contract: component, expected revision, state, tag guard, freeze,
quarantine, then the checks of the verb.
"""

from collections.abc import Callable
from typing import Any

from rampd_server.domain.refusals import component_not_found
from rampd_server.domain.rollout import commands, deciding, model, protection, ramping, releasing, reverting
from rampd_server.domain.rollout.effect import Done, Effect
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.domain.rollout.moves import Context, seal, settle
from rampd_server.domain.rollout.requirements import require_revision

_VERBS: dict[type, Callable[[Rollout, Any, Context], Done]] = {
    commands.Release: releasing.release,
    commands.CancelRelease: releasing.cancel_release,
    commands.Finalize: releasing.finalize,
    commands.Abandon: releasing.abandon,
    commands.Revert: reverting.revert,
    commands.Ramp: ramping.ramp,
    commands.Confirm: ramping.confirm,
    commands.Rollback: ramping.rollback,
    commands.Pause: ramping.pause,
    commands.Resume: ramping.resume,
    commands.Freeze: protection.freeze,
    commands.Unfreeze: protection.unfreeze,
    commands.Quarantine: protection.quarantine,
    commands.Unquarantine: protection.unquarantine,
    commands.SetPolicy: protection.set_policy,
    commands.Decide: deciding.decide,
    commands.Settle: lambda rollout, _command, _context: Done(rollout, "Settled."),
}


def transition(before: Rollout | Absent, command: commands.Command, context: Context) -> Effect:
    """Returns the rollout after `command`, at the next revision if anything changed.

    Raises RefusedError with one of the reasons of docs/state-machine.md; InvalidRequestError if a time lies in the past.
    """
    if isinstance(before, Absent):
        if not isinstance(command, commands.Release):
            raise component_not_found(component=before.component)
        require_revision(before, context.expected_revision)
        done = releasing.bootstrap(before, command, context)
        return Effect(seal(before, done.rollout, context), True, done.message, done.disposition, done.release)
    require_revision(before, context.expected_revision)
    if isinstance(command, commands.DeleteComponent):
        gone = Absent(before.component, before.revision + 1, before.last_number)
        return Effect(gone, True, f"{before.component} is deleted. A Release makes it again.")

    settled = settle(before, context)
    done = _VERBS[type(command)](settled, command, context)
    # A verb that changes nothing commits nothing: Settle commits the changes that time alone makes.
    compared_with = before if isinstance(command, commands.Settle) else settled
    if done.rollout == compared_with:
        return Effect(before, False, done.message, done.disposition, done.release)
    message = done.message + _what_made_room(settled, done.rollout)
    return Effect(seal(before, done.rollout, context), True, message, done.disposition, done.release)


def _what_made_room(before: Rollout, after: Rollout) -> str:
    """Says which tag lost its quarantine because the list was full. Begins with a space; is empty if no tag did."""
    went, came = before.quarantine.keys() - after.quarantine.keys(), after.quarantine.keys() - before.quarantine.keys()
    if not (went and came):
        return ""
    tag = next(iter(went))
    return (
        f" {tag} is not quarantined any more, because at most {model.MAX_QUARANTINE:,} tags can be. ListQuarantine shows them: "
        "Unquarantine those that nobody will hand in again."
    )
