"""The state machine: every verb in every state. docs/state-machine.md is its table, and a test holds the two together.

`transition` is total: for every rollout and command it gives an Outcome, or raises RefusedError or InvalidRequestError.
Refusals are found in the order of the public contract: component, expected revision, state, tag guard, freeze,
quarantine, then the verb's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rampd_server.domain.errors import Reason, RefusedError
from rampd_server.domain.rollout import commands, deciding, lifecycle, model, protection, ramping, reverting
from rampd_server.domain.rollout.advice import Done, component_not_found
from rampd_server.domain.rollout.model import Absent, Disposition, Rollout
from rampd_server.domain.rollout.moves import Context, seal, settle


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rollout after a command. `after` is sealed where something changed, else it is what was there before."""

    after: Rollout | Absent
    changed: bool
    message: str
    disposition: Disposition | None = None
    release: int = 0

    @property
    def queue_position(self) -> int:
        """The place of `release` in the queue, 1 for the first in line; 0 where it does not wait."""
        queue = self.after.queue if isinstance(self.after, Rollout) else ()
        return queue.index(self.release) + 1 if self.release in queue else 0


_VERBS: dict[type, Callable[[Rollout, Any, Context], Done]] = {
    commands.Release: lifecycle.release,
    commands.CancelRelease: lifecycle.cancel_release,
    commands.Finalize: lifecycle.finalize,
    commands.Abandon: lifecycle.abandon,
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


def transition(before: Rollout | Absent, command: commands.Command, context: Context) -> Outcome:
    """The rollout after `command`, at the next revision where anything changed.

    Raises RefusedError with one of the reasons of docs/state-machine.md; InvalidRequestError where a time lies in the
    past.
    """
    if isinstance(before, Absent):
        if not isinstance(command, commands.Release):
            raise component_not_found(before.component)
        require_revision(before, context.expected_revision)
        done = lifecycle.bootstrap(before, command, context)
        return Outcome(seal(before, done.rollout, context), True, done.message, done.disposition, done.release)
    require_revision(before, context.expected_revision)
    if isinstance(command, commands.DeleteComponent):
        gone = Absent(before.component, before.revision + 1, before.last_number)
        return Outcome(gone, True, f"{before.component} is deleted. A Release makes it again.")

    settled = settle(before, context)
    done = _VERBS[type(command)](settled, command, context)
    # A verb that changes nothing commits nothing: what time has brought about is committed by Settle.
    compared_with = before if isinstance(command, commands.Settle) else settled
    if done.rollout == compared_with:
        return Outcome(before, False, done.message, done.disposition, done.release)
    message = done.message + _what_made_room(settled, done.rollout)
    return Outcome(seal(before, done.rollout, context), True, message, done.disposition, done.release)


def _what_made_room(before: Rollout, after: Rollout) -> str:
    """Whose quarantine went because another tag needed the place; begins with a space, and is empty where none did."""
    went, came = before.quarantine.keys() - after.quarantine.keys(), after.quarantine.keys() - before.quarantine.keys()
    if not (went and came):
        return ""
    tag = next(iter(went))
    return (
        f" {tag} is not quarantined any more, for {model.MAX_QUARANTINE:,} tags are at the most. ListQuarantine shows them: "
        "Unquarantine those that nobody will hand in again."
    )


def require_revision(before: Rollout | Absent, expected: int | None) -> None:
    """Raises REVISION_MISMATCH where a component is not at the revision that a caller expects (None: at any)."""
    if expected is not None and expected != before.revision:
        is_lost = isinstance(before, Rollout) and before.has_lost(expected)
        why = "the store has lost that one" if is_lost else "somebody changed it"
        raise RefusedError(
            Reason.REVISION_MISMATCH,
            f"{before.component} is at revision {before.revision}, not {expected}: {why}. "
            "Look at it with GetRollout and decide again.",
            expected=expected,
            actual=before.revision,
        )
