"""How the jobs of a rollout went, as far as a message tells it."""

from collections.abc import Callable
from dataclasses import dataclass

from rampd import v1
from rampd._standing.share import failure_rate


@dataclass(frozen=True, slots=True)
class Count:
    """The jobs of one channel."""

    jobs: int
    failures: int
    other_jobs: int = 0
    """Jobs that got the channel in another way than by the weights."""
    other_failures: int = 0


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of both channels in the present trial. In STEADY, those of current since it became current."""

    current: Count | None = None
    """None: not known, because the message does not have it."""
    next: Count | None = None

    @property
    def is_known(self) -> bool:
        """Whether the message has anything about jobs."""
        return self.current is not None


def jobs_of(rollout: v1.Rollout) -> Jobs:
    """Returns the jobs of a rollout: of GetRollout. ListRollouts does not have them."""
    if rollout.state == v1.ROLLOUT_STATE_STEADY and rollout.HasField("current_outcomes"):
        return Jobs(Count(rollout.current_outcomes.jobs, rollout.current_outcomes.failures))
    found = {each.channel: each for each in rollout.outcomes}
    return Jobs(_count(found.get(v1.CHANNEL_CURRENT)), _count(found.get(v1.CHANNEL_NEXT)))


def _count(outcomes: v1.ChannelOutcomes | None) -> Count | None:
    if outcomes is None:
        return None
    return Count(outcomes.jobs, outcomes.failures, outcomes.other_jobs, outcomes.other_failures)


def failure_rates(jobs: Jobs) -> str:
    """Writes the failure rates of current and of next: `0.3 % → 12.1 %`. Empty if no jobs are known."""
    return _both(jobs, lambda count: failure_rate(count.failures, count.jobs))


def job_counts(jobs: Jobs) -> str:
    """Writes the number of jobs of current and of next: `1,200 → 60`. Empty if no jobs are known."""
    return _both(jobs, lambda count: f"{count.jobs:,}")


def _both(jobs: Jobs, written: Callable[[Count], str]) -> str:
    if not any(count.jobs for count in (jobs.current, jobs.next) if count is not None):
        return ""
    return " → ".join(written(count) for count in (jobs.current, jobs.next) if count is not None)
