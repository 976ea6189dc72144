"""How far next has reached: which jobs and repos. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rampd import v1
from rampd._contract.wording import counted, one_line
from rampd._decision.resolution import ComponentSnapshot, Overrides, RolloutState, resolve
from rampd._standing.share import failed, percent
from rampd_server.domain.repo_sample import RepoSample

_SHOWN = 10
_EXACT = 20
"""From here on, the number of repos is an estimate: one of 50 may be missing, and of very many it is about one percent off."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which of the repos that were seen in the last day get next at some percent."""

    seen: int
    reached: int
    is_estimated: bool
    some: tuple[str, ...]
    """The first ten in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Blast:
    """What is said about it."""

    jobs: str
    repos: str
    """Empty: no repo had a job."""
    reach: str
    """Empty: the repos that were seen are not known."""
    failures: str
    some: tuple[str, ...]


def reach(
    snapshot: ComponentSnapshot,
    overrides: Overrides,
    sample: RepoSample,
    highest: float,
    now_ms: Callable[[], int],
) -> Reach:
    """Returns which repos of the sample get next at `highest` percent. Raising a percent moves no repo back, so these are all
    that have had it at any lower percent, too. The snapshot has a next.
    """
    at_highest = replace(snapshot, state=RolloutState.ROLLING_OUT, basis_points=round(highest * 100))
    tag = snapshot.next.tag if snapshot.next else ""
    reached = sorted(repo for repo in sample.repos if resolve(at_highest, overrides, repo, "", now_ms).tag == tag)
    return Reach(
        sample.estimate(len(sample.repos)),
        sample.estimate(len(reached)),
        not sample.is_whole,
        tuple(reached[:_SHOWN]),
    )


def blast(rollout: v1.Rollout, release: v1.Release | None, found: Reach | None, highest: float) -> Blast | None:
    """Returns how far next has reached; None if there is no next.

    `release`: next as GetRelease gives it, with its jobs. `found`: its reach at `highest`, the highest percent that it has had.
    """
    if not rollout.HasField("next"):
        return None
    tag = one_line(rollout.next.tag)
    return Blast(
        jobs="" if release is None else _jobs(tag, release),
        repos=_repos(rollout, tag, release),
        reach=_reach(rollout, tag, found, highest),
        failures=_failures(rollout, tag),
        some=() if found is None or rollout.unit == v1.UNIT_JOB else found.some,
    )


def _jobs(tag: str, release: v1.Release) -> str:
    if not release.jobs:
        return f"No job that ran {tag} was reported."
    return (
        f"Jobs that ran {tag}, in all of its trials: {failed(release.failures, release.jobs)}. Jobs that no launcher has "
        "reported are not counted."
    )


def _repos(rollout: v1.Rollout, tag: str, release: v1.Release | None) -> str:
    repos = next((each.repos for each in rollout.outcomes if each.channel == v1.CHANNEL_NEXT), 0)
    if release is not None:
        # The estimate may be more than the jobs, which are known.
        repos = min(repos, release.jobs)
    about = "about " if repos >= _EXACT else ""
    return f"Of {about}{counted(repos, 'repo')}, a job that ran {tag} was reported." if repos else ""


def _reach(rollout: v1.Rollout, tag: str, found: Reach | None, highest: float) -> str:
    if rollout.unit == v1.UNIT_JOB:
        return f"Each job draws a bucket of its own, so jobs of every repo may have run {tag}." if highest else ""
    if found is None or not found.seen:
        return ""
    about = "about " if found.is_estimated else ""
    now = "" if rollout.next_percent == highest else f", and is at {percent(rollout.next_percent)} now"
    return (
        f"{tag} has been at {percent(highest)} at most{now}. At that percent, {about}{found.reached:,} of {about}"
        f"{counted(found.seen, 'repo')} get it: of those that rampd saw in the last day."
    )


def _failures(rollout: v1.Rollout, tag: str) -> str:
    if not rollout.HasField("evidence"):
        return ""
    units = "jobs" if rollout.unit == v1.UNIT_JOB else "repos"
    found = rollout.evidence
    return (
        f"Of the {units} whose version the percent decides, {found.next_failures:,} had a failure with {tag} in this trial, and "
        f"{found.current_failures:,} with {one_line(rollout.current.tag)}."
    )
