"""The commands to a rollout: one class for each verb.

`tag` of Ramp, Confirm, Rollback, Finalize and Abandon is a guard: next must have that tag.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.progress import Cause, Progress


class Command:
    """A verb with its arguments."""

    __slots__ = ()


class Lowering(Command):
    """A command that takes a release away from jobs, or keeps it from more jobs. It goes ahead of other commands."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Release(Command):
    tag: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    expedite: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class CancelRelease(Command):
    release: int


@dataclass(frozen=True, slots=True)
class Ramp(Command):
    basis_points: int
    tag: str = ""
    confirm_within_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Confirm(Command):
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Rollback(Lowering):
    tag: str = ""
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Finalize(Command):
    tag: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Abandon(Lowering):
    tag: str = ""
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Revert(Lowering):
    tag: str = ""
    quarantine: bool = True


@dataclass(frozen=True, slots=True)
class Pause(Lowering):
    cause: Cause | None = None
    """Why automation pauses; None: a person pauses."""


@dataclass(frozen=True, slots=True)
class Resume(Command):
    pass


@dataclass(frozen=True, slots=True)
class Freeze(Lowering):
    expire_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Unfreeze(Command):
    pass


@dataclass(frozen=True, slots=True)
class Quarantine(Lowering):
    tag: str


@dataclass(frozen=True, slots=True)
class Unquarantine(Command):
    tag: str


@dataclass(frozen=True, slots=True)
class SetPolicy(Command):
    changes: Mapping[str, object] = field(default_factory=dict)
    """Fields of Policy by name."""
    automation: Mapping[str, object] = field(default_factory=dict)
    """Fields of its Automation by name."""


@dataclass(frozen=True, slots=True)
class DeleteComponent(Command):
    pass


@dataclass(frozen=True, slots=True)
class Settle(Command):
    """Applies what time alone changes: an ended freeze is removed, and the head of the queue starts."""


@dataclass(frozen=True, slots=True)
class Decide(Command):
    """A decision of automation: `command`, if there is one, runs in the same write that stores `progress`."""

    progress: Progress
    command: Ramp | Rollback | Finalize | Abandon | Pause | None = None


def lowers_exposure(command: Command, rollout: Rollout) -> bool:
    """Whether a command goes ahead of others, as `Lowering` says. A Ramp does if it lowers the percent."""
    if isinstance(command, Decide):
        return command.command is not None and lowers_exposure(command.command, rollout)
    if isinstance(command, Ramp):
        return command.basis_points < rollout.basis_points
    return isinstance(command, Lowering)


def ground_of(rollout: Rollout, command: Command) -> tuple[object, ...]:
    """Returns the values that a decision of automation depends on. They must be the same when the decision is carried out.

    A command that lowers exposure depends on fewer values: evidence against a trial is valid at every percentage.
    """
    # The number of a release does not identify it: a store that went back may give the same number to another tag.
    release = rollout.next_release
    ground = (
        *(rollout.next, release and release.tag, rollout.trial, rollout.unit, rollout.policy, rollout.held_reason),
        rollout.confirm_deadline_ms,
    )
    if lowers_exposure(command, rollout):
        return ground
    return *ground, rollout.basis_points, rollout.progress, rollout.paused, rollout.pause, rollout.freeze
