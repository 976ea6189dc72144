"""What can be asked of a rollout, one class for each verb. `tag` of Ramp to Abandon is a guard: next must be that tag."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.progress import Cause, Progress


class Command:
    """What can be asked of a rollout."""

    __slots__ = ()


class Lowering(Command):
    """Takes a release away from jobs, or stops what gives it to more of them: it goes ahead of others."""

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
    """What makes automation pause; None: a person does."""


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
    """What time alone brings about: a freeze that has ended goes, and the head that it kept waiting starts."""


@dataclass(frozen=True, slots=True)
class Decide(Command):
    """What automation decided: `command`, where there is one, in the same write that remembers `progress`."""

    progress: Progress
    command: Ramp | Rollback | Finalize | Abandon | Pause | None = None


def lowers_exposure(command: Command, rollout: Rollout) -> bool:
    """Whether a command goes ahead of others, as `Lowering` says; a Ramp does where it goes down."""
    if isinstance(command, Decide):
        return command.command is not None and lowers_exposure(command.command, rollout)
    if isinstance(command, Ramp):
        return command.basis_points < rollout.basis_points
    return isinstance(command, Lowering)


def ground_of(rollout: Rollout, command: Command) -> tuple[object, ...]:
    """What a decision of automation depends on, to be compared with what is so when it is carried out.

    What lowers exposure depends on less: evidence against a trial holds at whatever percentage it is by now.
    """
    ground = rollout.next, rollout.trial, rollout.unit, rollout.policy, rollout.held_reason, rollout.confirm_deadline_ms
    if lowers_exposure(command, rollout):
        return ground
    return *ground, rollout.basis_points, rollout.progress, rollout.paused, rollout.pause, rollout.freeze
