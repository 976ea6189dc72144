"""Why a repo gets its version, computed from the state of the component: by the same code as on a server. Pure."""

from dataclasses import dataclass
from functools import cached_property

from rampd import v1
from rampd._contract.component_state import CHANNELS
from rampd._contract.wording import inside, one_line
from rampd._decision.bucketing import BUCKETS
from rampd._decision.overrides import Choice, Overrides
from rampd._decision.resolution import (
    Channel,
    ComponentSnapshot,
    Resolution,
    RolloutState,
    SnapshotRelease,
    Unit,
    resolve,
)
from rampd._standing.clock import Clock
from rampd._standing.share import percent


@dataclass(frozen=True)
class Explanation:
    """The state of a component, and what it means for one repo or job."""

    rollout: v1.Rollout
    override: v1.Override | None
    """The override that decides, if there is one."""
    repo: str
    job_id: str = ""

    @cached_property
    def answer(self) -> Resolution:
        """What a server with this state answers."""
        return self._resolved(self.override)

    @cached_property
    def without_override(self) -> Resolution:
        """What the weights alone give."""
        return self._resolved(None)

    @property
    def draws_jobs(self) -> bool:
        """Whether each job has a bucket of its own."""
        return self.rollout.unit == v1.UNIT_JOB

    @property
    def are_jobs_apart(self) -> bool:
        """Whether the question is about all jobs of a repo, and they get different versions."""
        is_moving = self.rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT
        return self.draws_jobs and is_moving and not self.job_id and self.override is None

    @property
    def is_of_repo(self) -> bool:
        """Whether the override is that of the repo itself, not of a prefix."""
        return self.override is not None and self.override.repo == self.repo and not self.repo.endswith("/*")

    @property
    def next_from_percent(self) -> float | None:
        """The smallest percent at which the weights give next. None: there is no next."""
        bucket = self.without_override.bucket
        return None if bucket is None else (bucket + 1) / 100

    def _resolved(self, override: v1.Override | None) -> Resolution:
        overrides = Overrides()
        if override is not None:
            channel = None if override.tag else CHANNELS.get(override.channel, Channel.CURRENT)
            # No expiry: the server has left out those that have ended, by its own clock.
            overrides.set(override.repo, Choice(channel, override.tag))
        return resolve(_snapshot(self.rollout), overrides, self.repo, self.job_id, lambda: 0)


def _snapshot(rollout: v1.Rollout) -> ComponentSnapshot:
    """Raises ValueError for a state that makes no sense."""
    state = RolloutState(str(v1.RolloutState(rollout.state)).removeprefix("ROLLOUT_STATE_"))
    return ComponentSnapshot(
        component=rollout.component,
        revision=rollout.revision,
        state=state,
        current=_release(rollout.current),
        next=_release(rollout.next) if rollout.HasField("next") else None,
        basis_points=round(rollout.next_percent * 100),
        unit=Unit.JOB if rollout.unit == v1.UNIT_JOB else Unit.REPO,
        queued=tuple(map(_release, rollout.queue)),
        previous=tuple(map(_release, rollout.previous)),
    )


def _release(release: v1.Release) -> SnapshotRelease:
    return SnapshotRelease(release.number, release.tag, dict(release.attributes))


def outcome(known: Explanation) -> str:
    """Says which version the repo or the job gets."""
    rollout, answer = known.rollout, known.answer
    component = one_line(rollout.component)
    if known.are_jobs_apart:
        share, tags = rollout.next_percent, (one_line(rollout.next.tag), one_line(rollout.current.tag))
        return (
            f"{percent(share)} of the jobs of {one_line(known.repo)} get {tags[0]}, next of {component}. The others get "
            f"{tags[1]}, current."
        )
    who = f"The job {one_line(known.job_id)} of {one_line(known.repo)}" if known.job_id else one_line(known.repo)
    channel = f", {answer.channel.lower()}" if answer.channel else ", a fixed tag"
    return f"{who} gets {one_line(answer.tag)}{channel} of {component}."


def why(known: Explanation, clock: Clock) -> str:
    """Says which rule gives the version."""
    if known.override is not None:
        return _why_override(known, known.override, clock)
    rollout, answer = known.rollout, known.answer
    if answer.bucket is None:
        return f"There is no rollout: everybody gets current, {one_line(rollout.current.tag)}."
    if rollout.state == v1.ROLLOUT_STATE_HELD:
        held = inside(one_line(rollout.held_reason))
        return f"Next is HELD, so everybody gets current{f': {held}' if held else ''}."
    if known.are_jobs_apart:
        share = percent(rollout.next_percent)
        return (
            f"Each job draws a bucket of its own: {share} of the jobs get next, {one_line(rollout.next.tag)}. A job "
            f"without an id has the bucket of the repo: {_compared(known)}."
        )
    is_idle = known.job_id and not known.draws_jobs
    told = " The id of the job has no effect, because a bucket belongs to a repo." if is_idle else ""
    return f"{_compared(known, is_first=True)}.{told}"


def _why_override(known: Explanation, override: v1.Override, clock: Clock) -> str:
    whose = "the repo itself" if known.is_of_repo else f"the prefix {one_line(override.repo)}"
    to = f"the tag {one_line(override.tag)}" if override.tag else _channel(known.override)
    text = f"An override of {whose} gives {to}"
    if override.channel == v1.CHANNEL_NEXT and known.answer.channel is Channel.CURRENT:
        is_held = known.rollout.state == v1.ROLLOUT_STATE_HELD
        text += ", and next is HELD, so it gives current" if is_held else ", and there is no next, so it gives current"
    if override.actor:
        text += f". Set by {one_line(override.actor)}{' (claimed)' if override.actor_claimed else ''}"
        if override.HasField("create_time"):
            text += f" {clock.ago(override.create_time)} ({clock.time(override.create_time)})"
    elif override.HasField("create_time"):
        text += f". Set {clock.ago(override.create_time)} ({clock.time(override.create_time)})"
    if override.note:
        text += f": “{one_line(override.note)}”"
    if override.HasField("expire_time"):
        ends = f"ends {clock.time(override.expire_time)} (in {clock.left(override.expire_time)})"
        return f"{text}. It {ends}."
    return f"{text}. It has no end."


def _channel(override: v1.Override | None) -> str:
    return "next" if override is not None and override.channel == v1.CHANNEL_NEXT else "current"


def _compared(known: Explanation, *, is_first: bool = False) -> str:
    """Writes `Bucket 551 < 1,000 (10 %): next`."""
    points, bucket = round(known.rollout.next_percent * 100), known.answer.bucket or 0
    is_next = bucket < points
    of = f" of the job {one_line(known.job_id)}" if known.draws_jobs and known.job_id else ""
    return (
        f"{'Bucket' if is_first else 'bucket'} {bucket:,}{of} {'<' if is_next else '>='} {points:,} "
        f"({percent(known.rollout.next_percent)} of {BUCKETS:,}): {'next' if is_next else 'current'}"
    )


def would(known: Explanation) -> str:
    """Says what would change the version. Empty if nothing simple does."""
    rollout, from_percent = known.rollout, known.next_from_percent
    if from_percent is None:
        if known.override is not None:
            return f"Without the override: {one_line(known.without_override.tag)}."
        return "The next release draws new buckets."
    next_tag, current_tag = one_line(rollout.next.tag), one_line(rollout.current.tag)
    if known.override is not None:
        if known.draws_jobs and not known.job_id:
            return "Without the override, each job draws a bucket of its own."
        if known.without_override.channel is Channel.NEXT:
            return f"Without the override: {next_tag} (below {percent(from_percent)}: {current_tag})."
        return f"Without the override: {current_tag} (from {percent(from_percent)} on: {next_tag})."
    if known.are_jobs_apart:
        return f"A job without an id gets {next_tag} from {percent(from_percent)} on."
    if rollout.state == v1.ROLLOUT_STATE_HELD:
        return f"After a Ramp: {next_tag} from {percent(from_percent)} on."
    if known.answer.channel is Channel.NEXT:
        return f"Below {percent(from_percent)}: {current_tag}."
    return f"From {percent(from_percent)} on: {next_tag}."
