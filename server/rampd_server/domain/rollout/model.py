"""The nouns: what a rollout is made of. Frozen values, no I/O, no clock.

Times are integers, milliseconds since 1970 by the store's clock. Shares are integers, basis points (hundredths of a
percent, 0 to 10,000).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from rampd._decision.bucketing import BUCKETS
from rampd._decision.resolution import RolloutState, Unit
from rampd_server.domain.rollout.automation_policy import Automation
from rampd_server.domain.rollout.progress import Cause, Progress

FULL = BUCKETS
"""All units, in basis points: each bucket is one."""
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
    """How a release became current: by what, who did it and why, when, and instead of which tag."""

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
        """Whether it ends after another one, or there is no other."""
        if other is None or other.expire_ms is None:
            return other is None
        return self.expire_ms is None or self.expire_ms > other.expire_ms


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a rollout, why, and since when. `cause`: what made automation pause it; None: a person did."""

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
    """Who said of a tag that it must not be rolled out, and why."""

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
    """Revisions, `first` to `last`, that somebody has seen and that the store has lost. What is said of them is not known."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Absent:
    """A component that is not there. One that was deleted goes on with its numbers when it is made again."""

    component: str
    revision: int = 0
    last_number: int = 0
    entry: str = ""
    """As of `Rollout`; so is the next one."""
    state_entry: str = ""
    quarantine: Mapping[str, Quarantine] = field(default_factory=dict)
    """What a component had that the store has lost whole: it outlives it, so that nobody gets one of these tags again. Who
    deletes a component deletes this, too.
    """


@dataclass(frozen=True, slots=True)
class Rollout:
    """A component's whole state, without its overrides.

    `current`, `next`, `queue` (first in line first) and `previous` (newest first, quarantined ones included) are
    numbers of `releases`. `held_reason` is what makes a rollout HELD: it is empty in every other state.

    `revision` counts changes, and is no identity: where a failover has lost writes, two histories have the same numbers.
    `entry` names the last change beyond doubt, and `state_entry` the last one that was not of overrides only: a decision
    rests on that. The store gives both; the state machine leaves them alone.
    """

    component: str
    revision: int
    last_number: int
    current: int
    releases: Mapping[int, Release]
    create_ms: int
    update_ms: int
    arrival: Arrival | None = None
    """Of current; None where it became current before rampd kept this."""
    next: int | None = None
    basis_points: int = 0
    held_reason: str = ""
    hold: Hold | None = None
    """None where it is not HELD, or was so before rampd kept this."""
    paused: bool = False
    pause: Pause | None = None
    """None where it is not paused, or was paused before rampd kept this."""
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
    """At which current became current; 0 where it did before rampd kept this."""
    lost: tuple[LostRevisions, ...] = ()
    """Oldest first."""
    entry: str = ""
    """Of the feed. Empty, as the next one, where no change was committed since rampd keeps this."""
    state_entry: str = ""
    progress: Progress = field(default_factory=Progress)
    """Of next; the default where there is none."""

    @property
    def state(self) -> RolloutState:
        if self.next is None:
            return RolloutState.STEADY
        return RolloutState.HELD if self.held_reason else RolloutState.ROLLING_OUT

    def has_lost(self, revision: int) -> bool:
        """Whether it is not known what was so at a revision, since the store has lost it."""
        return any(first <= revision <= last for first, last in self.lost)

    @property
    def pause_cause(self) -> Cause | None:
        """What made automation pause it; None where it is not paused, or a person did."""
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
        """What Revert may go back to: without quarantined tags."""
        releases = (self.releases[number] for number in self.previous)
        return tuple(release for release in releases if release.tag not in self.quarantine)


def numbered(after: Absent | Rollout, revision: int, entry: str) -> Absent | Rollout:
    """A sealed change as it was committed: at the revision and under the entry that the store gave it. Changes of overrides
    may have taken revisions before it.
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
