"""Which version a job runs: takes a snapshot, the overrides and a repo, and returns a `Resolution`.

Pure, and the only copy of the rules: the server uses it, and so does a client that resolves in its own process.
`resolve` does no I/O and takes no lock, so any thread may call it while another thread writes.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Self

from mmh3 import mmh3_32_uintdigest

from rampd._decision.bucketing import BUCKETS, bucket_of, first_digest, hash_prefix, unit_bytes
from rampd._decision.overrides import Channel, Choice, Overrides
from rampd._decision.staleness import NEXT_MAX_STALE_S, is_stale

__all__ = [
    "Channel",
    "Choice",
    "ComponentSnapshot",
    "Decision",
    "Overrides",
    "Resolution",
    "ResolveReason",
    "RolloutState",
    "SnapshotRelease",
    "Unit",
    "is_among",
    "resolve",
]

_MOST_S = timedelta.max.total_seconds()


class ResolveReason(StrEnum):
    """Why a version was chosen."""

    STEADY = "STEADY"
    """There is no rollout: everybody gets current."""
    WEIGHT = "WEIGHT"
    """The bucket of the repo or job decided, by the weights."""
    OVERRIDE_CHANNEL = "OVERRIDE_CHANNEL"
    """An override to a channel is in force for the repo, or for a prefix of it such as its owner."""
    OVERRIDE_TAG = "OVERRIDE_TAG"
    """An override to a tag is in force for the repo, or for a prefix of it such as its owner."""
    STALE = "STALE"
    """The job had to get next, but the snapshot is too old to trust. It gets current."""
    FALLBACK = "FALLBACK"
    """There was no snapshot. The job gets the fallback tag of the caller. Only the client library gives this reason."""


class RolloutState(StrEnum):
    """What a rollout is doing."""

    STEADY = "STEADY"
    ROLLING_OUT = "ROLLING_OUT"
    HELD = "HELD"


class Unit(StrEnum):
    """Whether a bucket is drawn for a repo or for a job."""

    REPO = "REPO"
    JOB = "JOB"


@dataclass(frozen=True, slots=True)
class SnapshotRelease:
    """The part of a release that resolving needs."""

    number: int
    tag: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Decision:
    """The part that many answers share. Made once for each state of a rollout, so that it can be the key of a cache."""

    tag: str
    channel: Channel | None
    reason: ResolveReason
    release: int
    attributes: Mapping[str, str] = field(default_factory=dict)


class Resolution:
    """The version for one job. Read-only."""

    __slots__ = ("_decision", "_digest", "_revision", "_snapshot_age_s")

    def __init__(
        self, decision: Decision, revision: int, bucket: int | None = None, snapshot_age_s: float = 0.0
    ) -> None:
        self._decision = decision
        self._revision = revision
        self._digest = None if bucket is None else first_digest(bucket)
        self._snapshot_age_s = snapshot_age_s

    @property
    def tag(self) -> str:
        """The version string to run."""
        return self._decision.tag

    @property
    def channel(self) -> Channel | None:
        """The channel that the version comes from; None for a tag override and for a fallback."""
        return self._decision.channel

    @property
    def reason(self) -> ResolveReason:
        """Why the version was chosen."""
        return self._decision.reason

    @property
    def release(self) -> int:
        """The number of the release; 0 for a tag that is neither current, next, queued nor previous."""
        return self._decision.release

    @property
    def attributes(self) -> Mapping[str, str]:
        """What CI said about the release. Read-only."""
        return MappingProxyType(self._decision.attributes)

    @property
    def bucket(self) -> int | None:
        """The bucket of the repo or job, 0 to 9999; None if there is no next."""
        return None if self._digest is None else bucket_of(self._digest)

    @property
    def revision(self) -> int:
        """The revision of the component from which this answer was made; 0 for a fallback."""
        return self._revision

    @property
    def stale(self) -> bool:
        """True if the store has not confirmed the state for 5 s."""
        return is_stale(self._snapshot_age_s)

    @property
    def snapshot_age(self) -> timedelta:
        """The time since the store last confirmed the state; `timedelta.max` if it never did."""
        return timedelta(seconds=self._snapshot_age_s) if self._snapshot_age_s < _MOST_S else timedelta.max

    @property
    def snapshot_age_s(self) -> float:
        """`snapshot_age` in seconds; infinite if the store never confirmed a state."""
        return self._snapshot_age_s

    @property
    def decision(self) -> Decision:
        """The part that this answer shares with others: the same object for all of them."""
        return self._decision

    def __repr__(self) -> str:
        return (
            f"Resolution(tag={self.tag!r}, channel={self.channel and self.channel.value}, reason={self.reason.value}, "
            f"release={self.release}, bucket={self.bucket}, revision={self.revision}, stale={self.stale}, "
            f"snapshot_age_s={self._snapshot_age_s:.3f})"
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Every decision that is possible in one state of a rollout."""

    prefix: bytes | None
    """None: there is no next, so there are no buckets."""
    threshold: int
    """A digest below this has a bucket below the basis points of next. A comparison is faster than a division."""
    draws_jobs: bool
    below: Decision
    """For a digest below `threshold`."""
    above: Decision
    """For every other digest, and for everybody if there are no buckets."""
    to_current: Decision
    to_next: Decision
    too_old: Decision
    by_tag: Mapping[str, Decision]


def is_among(lost: Iterable[tuple[int, int]], revision: int) -> bool:
    """Whether a revision is among those that a store has lost: the first and the last of each loss."""
    return any(first <= revision <= last for first, last in lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSnapshot:
    """All that resolving needs of a component at one revision, except its overrides. Each change makes a new one.

    `queued` has the first in line first, `previous` the newest first. Raises ValueError if the fields contradict each other.
    """

    component: str
    revision: int
    state: RolloutState
    current: SnapshotRelease
    next: SnapshotRelease | None = None
    basis_points: int = 0
    unit: Unit = Unit.REPO
    queued: tuple[SnapshotRelease, ...] = ()
    previous: tuple[SnapshotRelease, ...] = ()
    lost: tuple[tuple[int, int], ...] = ()
    """Revisions that the store has lost: the first and the last of each loss."""
    plan: _Plan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.state is RolloutState.STEADY) != (self.next is None):
            raise ValueError(f"{self.component} is {self.state} {'with' if self.next else 'without'} a next")
        if not 0 <= self.basis_points <= (BUCKETS if self.state is RolloutState.ROLLING_OUT else 0):
            raise ValueError(f"{self.component} is {self.state} at {self.basis_points} basis points")
        object.__setattr__(self, "plan", _plan(self))

    def at_revision(self, revision: int) -> Self:
        """Returns the same at another revision, without a new plan. For a change of only overrides."""
        snapshot = copy(self)
        object.__setattr__(snapshot, "revision", revision)
        return snapshot

    def has_lost(self, revision: int) -> bool:
        """Whether the store has lost a revision, so that it never comes."""
        return is_among(self.lost, revision)

    def reaches(self, revision: int) -> bool:
        """Whether this state has what a revision brought."""
        return self.revision >= revision and not self.has_lost(revision)


def _plan(snapshot: ComponentSnapshot) -> _Plan:
    current, next_ = snapshot.current, snapshot.next
    to_current = _decision(current, Channel.CURRENT, ResolveReason.OVERRIDE_CHANNEL)
    to_next = to_current
    below = above = _decision(current, Channel.CURRENT, ResolveReason.WEIGHT if next_ else ResolveReason.STEADY)
    if next_ and snapshot.state is RolloutState.ROLLING_OUT:
        below = _decision(next_, Channel.NEXT, ResolveReason.WEIGHT)
        to_next = _decision(next_, Channel.NEXT, ResolveReason.OVERRIDE_CHANNEL)
    # If several releases have the same tag, the first of them counts.
    by_precedence = (current, *((next_,) if next_ else ()), *snapshot.queued, *snapshot.previous)
    return _Plan(
        prefix=hash_prefix(snapshot.component, next_.number) if next_ else None,
        threshold=first_digest(snapshot.basis_points),
        draws_jobs=snapshot.unit is Unit.JOB,
        below=below,
        above=above,
        to_current=to_current,
        to_next=to_next,
        too_old=_decision(current, Channel.CURRENT, ResolveReason.STALE),
        by_tag={
            release.tag: _decision(release, None, ResolveReason.OVERRIDE_TAG) for release in reversed(by_precedence)
        },
    )


def _decision(release: SnapshotRelease, channel: Channel | None, reason: ResolveReason) -> Decision:
    return Decision(release.tag, channel, reason, release.number, release.attributes)


@lru_cache(maxsize=1024)
def _undeclared(tag: str) -> Decision:
    return Decision(tag, None, ResolveReason.OVERRIDE_TAG, 0)


# Names of the module, because looking up a member on its enum costs as much as a dict look-up.
_NEXT = Channel.NEXT
_new = object.__new__


def resolve(  # noqa: PLR0917 - a keyword costs the hot path a twentieth
    snapshot: ComponentSnapshot,
    overrides: Overrides,
    repo: str,
    job_id: str,
    now_ms: Callable[[], int],
    age_s: float = 0.0,
    next_max_stale_s: float = NEXT_MAX_STALE_S,
    encoded: bytes | None = None,
) -> Resolution:
    """Returns the version for one job.

    The override of the repo itself wins, then that of its longest prefix, then the weights. `now_ms` is the store's
    clock, called only for an override with an expiry. `age_s` is the time since the store last confirmed the snapshot.
    If it is over `next_max_stale_s`, a job that would get next gets current (STALE), because this process may have
    missed a rollback. A tag override is not affected, even if it names the tag of next. `repo` may be any str: one that
    is not a valid repo has no override. `encoded` is the repo in UTF-8, if the caller has it.
    """
    plan = snapshot.plan
    prefix = plan.prefix
    if prefix is None:
        digest = None
        decision = plan.above
    else:
        # The same as `bucket`, without its calls, which would add a fifth to the time.
        if job_id and plan.draws_jobs:
            digest = mmh3_32_uintdigest(prefix + unit_bytes(job_id))
        else:
            digest = mmh3_32_uintdigest(prefix + (encoded or unit_bytes(repo)))
        decision = plan.below if digest < plan.threshold else plan.above
    if repo in overrides.by_repo or overrides.by_prefix:
        choice = overrides.find(repo, now_ms)
        if choice is not None:
            if choice.tag:
                decision = plan.by_tag.get(choice.tag) or _undeclared(choice.tag)
            else:
                decision = plan.to_next if choice.channel is _NEXT else plan.to_current
    # The same as `withholds_next`, without its call.
    if age_s > next_max_stale_s and decision.channel is _NEXT:
        decision = plan.too_old
    # The same as Resolution(), without the call of __init__, which would add a fifth to the time.
    resolution = _new(Resolution)
    resolution._decision = decision
    resolution._revision = snapshot.revision
    resolution._digest = digest
    resolution._snapshot_age_s = age_s
    return resolution
