"""The data of a rollout: frozen values, no I/O, no clock.

Times are integers, milliseconds since 1970 by the store's clock. Shares are integers, basis points (hundredths of a
percent, 0 to 10,000).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from rampd._decision.bucketing import BUCKETS
from rampd._decision.resolution import RolloutState, Unit, is_among
from rampd_server.domain.rollout.automation_policy import Automation
from rampd_server.domain.rollout.progress import Cause, Progress

FULL = BUCKETS
"""All units, in basis points: one bucket is one basis point."""
MAX_QUEUE = 100
MAX_PREVIOUS = 10
MAX_ENDED_RELEASES = 100
MAX_TIMELINE = 256
MAX_LOST = 16
MAX_QUARANTINE = 1000


class ReleaseState(StrEnum):
    QUEUED = "QUEUED"
    NEXT = "NEXT"
    CURRENT = "CURRENT"
    RETIRED = "RETIRED"
    ABANDONED = "ABANDONED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"

    @property
    def is_ended(self) -> bool:
        return self in {self.RETIRED, self.ABANDONED, self.CANCELLED, self.SUPERSEDED}


class QueueMode(StrEnum):
    FIFO = "FIFO"
    LATEST = "LATEST"
    REJECT = "REJECT"


class Disposition(StrEnum):
    BOOTSTRAPPED = "BOOTSTRAPPED"
    STARTED = "STARTED"
    QUEUED = "QUEUED"
    UNCHANGED = "UNCHANGED"
    PROMOTED = "PROMOTED"


@dataclass(frozen=True, slots=True)
class Release:
    """One tag handed in by CI, numbered within its component."""

    number: int
    tag: str
    state: ReleaseState
    actor: str
    note: str
    create_ms: int
    update_ms: int
    end_reason: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


class Means(StrEnum):
    """The verbs by which a release becomes current."""

    BOOTSTRAP = "BOOTSTRAP"
    FINALIZE = "FINALIZE"
    PROMOTE = "PROMOTE"
    REVERT = "REVERT"


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a release became current: by which verb, who did it, why, when, and which tag it replaced."""

    means: Means
    actor: str
    note: str
    time_ms: int
    from_tag: str = ""
    """Empty for BOOTSTRAP."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze of a component or of the namespace; with `expire_ms` it ends by itself."""

    actor: str
    note: str
    create_ms: int
    expire_ms: int | None = None

    def is_in_force(self, now_ms: int) -> bool:
        return self.expire_ms is None or now_ms < self.expire_ms

    def outlasts(self, other: "Freeze | None") -> bool:
        """Whether it ends after `other`, or `other` is None."""
        if other is None or other.expire_ms is None:
            return other is None
        return self.expire_ms is None or self.expire_ms > other.expire_ms


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a rollout, why, and since when. `cause`: why automation paused it; None: a person paused it."""

    actor: str
    note: str
    create_ms: int
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """Who made a rollout HELD, and since when; the reason is `Rollout.held_reason`."""

    actor: str
    create_ms: int


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Who quarantined a tag, and why: the tag must not be rolled out."""

    actor: str
    note: str
    create_ms: int


@dataclass(frozen=True, slots=True)
class Policy:
    """A component's settings. `unit` is in force from the next release on."""

    queue_mode: QueueMode = QueueMode.FIFO
    unit: Unit = Unit.REPO
    automation: Automation = field(default_factory=Automation)


@dataclass(frozen=True, slots=True)
class Assignment:
    """From `revision` on, release `release` (0: none) got `basis_points` of the units, in trial `trial`."""

    revision: int
    release: int
    basis_points: int
    unit: Unit
    trial: int


class LostRevisions(NamedTuple):
    """Revisions, `first` to `last`, that somebody has seen and that the store has lost. Their state is not known."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Absent:
    """A component that does not exist. A deleted component continues its numbers if it is created again."""

    component: str
    revision: int = 0
    last_number: int = 0
    entry: str = ""
    """The same as in `Rollout`; so is `state_entry`."""
    state_entry: str = ""
    quarantine: Mapping[str, Quarantine] = field(default_factory=dict)
    """The quarantine of a component that the store has lost completely. It outlives the component, so that nobody gets one of
    these tags again. DeleteComponent deletes it too.
    """


@dataclass(frozen=True, slots=True)
class Rollout:
    """A component's whole state, without its overrides.

    `current`, `next`, `queue` (first in line first) and `previous` (newest first, quarantined ones included) are
    numbers of `releases`. A rollout is HELD if and only if `held_reason` is not empty.

    `revision` counts changes and does not identify a change: after a failover that lost writes, two histories have the same
    numbers. `entry` identifies the last change. `state_entry` identifies the last change that was not only of overrides;
    decisions depend on it. The store sets both; the state machine does not change them.
    """

    component: str
    revision: int
    last_number: int
    current: int
    releases: Mapping[int, Release]
    create_ms: int
    update_ms: int
    arrival: Arrival | None = None
    """Of current; None if it became current before rampd stored this."""
    next: int | None = None
    basis_points: int = 0
    held_reason: str = ""
    hold: Hold | None = None
    """None if the rollout is not HELD, or became HELD before rampd stored this."""
    paused: bool = False
    pause: Pause | None = None
    """None if the rollout is not paused, or was paused before rampd stored this."""
    trial: int = 0
    confirm_deadline_ms: int | None = None
    unit: Unit = Unit.REPO
    queue: tuple[int, ...] = ()
    previous: tuple[int, ...] = ()
    quarantine: Mapping[str, Quarantine] = field(default_factory=dict)
    freeze: Freeze | None = None
    policy: Policy = Policy()
    timeline: tuple[Assignment, ...] = ()
    current_revision: int = 0
    """The revision at which current became current; 0 if that was before rampd stored this."""
    lost: tuple[LostRevisions, ...] = ()
    """Oldest first."""
    entry: str = ""
    """An entry of the feed. This and `state_entry` are empty if no change was committed since rampd stores them."""
    state_entry: str = ""
    progress: Progress = field(default_factory=Progress)
    """Of next; the default if there is no next."""

    @property
    def state(self) -> RolloutState:
        if self.next is None:
            return RolloutState.STEADY
        return RolloutState.HELD if self.held_reason else RolloutState.ROLLING_OUT

    def has_lost(self, revision: int) -> bool:
        """Whether the store has lost a revision, so that its state is not known."""
        return is_among(self.lost, revision)

    @property
    def pause_cause(self) -> Cause | None:
        """Why automation paused the rollout; None if it is not paused, or if a person paused it."""
        if not self.paused:
            return None
        return self.pause.cause if self.pause else self.progress.paused_by

    @property
    def current_release(self) -> Release:
        return self.releases[self.current]

    @property
    def next_release(self) -> Release | None:
        return None if self.next is None else self.releases[self.next]

    @property
    def queued_releases(self) -> tuple[Release, ...]:
        return tuple(self.releases[number] for number in self.queue)

    @property
    def previous_releases(self) -> tuple[Release, ...]:
        """The releases that Revert may go back to: those without a quarantined tag."""
        releases = (self.releases[number] for number in self.previous)
        return tuple(release for release in releases if release.tag not in self.quarantine)


def numbered(after: Absent | Rollout, revision: int, entry: str) -> Absent | Rollout:
    """Returns a sealed change with the revision and the entry that the store gave it. The revision may be higher than the
    sealed one, because changes of overrides take revisions too.
    """
    if isinstance(after, Absent):
        return replace(after, revision=revision, entry=entry, state_entry=entry)
    timeline = after.timeline
    if timeline and timeline[-1].revision == after.revision:
        timeline = (*timeline[:-1], replace(timeline[-1], revision=revision))
    is_new_current = after.current_revision == after.revision
    return replace(
        after,
        revision=revision,
        timeline=timeline,
        current_revision=revision if is_new_current else after.current_revision,
        entry=entry,
        state_entry=entry,
    )
