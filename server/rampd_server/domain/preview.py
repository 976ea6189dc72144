"""Whom a change would give another version, among some repos. Pure. The code that resolves gives the answers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from rampd._decision.bucketing import BUCKETS
from rampd._decision.resolution import Choice, ComponentSnapshot, Overrides, RolloutState, Unit, resolve
from rampd_server.domain.repo_sample import RepoSample

_SHOWN: Final = 10


class Move(NamedTuple):
    """A repo that would get another version."""

    repo: str
    before: str
    """The tag that it gets now; empty if it gets none."""
    after: str


@dataclass(frozen=True, slots=True)
class Preview:
    """Whom a change would give another version."""

    repos_seen: int
    repos_moved: int
    is_estimated: bool
    moves: tuple[Move, ...]
    """The first ten of the repos in alphabetical order."""


def preview(
    before: ComponentSnapshot | None,
    after: ComponentSnapshot | None,
    *,
    overrides: Overrides,
    changes: Mapping[str, Choice | None],
    sample: RepoSample,
    now_ms: Callable[[], int],
) -> Preview:
    """Returns which repos of the sample get another tag from `after` than from `before`. None: there is no component.

    `overrides` are those before the change, and `changes` what it changes in them; None deletes. A deleted component has no
    overrides. If a bucket belongs to a job, a repo is among the moved ones if any of its jobs gets another tag.
    """
    overrides_after = _changed(overrides, changes, sample.repos) if changes else overrides
    pairs = tuple(_pairs(before, after))

    def move_of(repo: str) -> Move | None:
        for one, other in pairs:
            move = Move(repo, _tag(one, overrides, repo, now_ms), _tag(other, overrides_after, repo, now_ms))
            if move.before != move.after:
                return move
        return None

    moves = [move for move in map(move_of, sorted(sample.repos)) if move]
    return Preview(
        sample.estimate(len(sample.repos)),
        sample.estimate(len(moves)),
        not sample.is_whole,
        tuple(moves[:_SHOWN]),
    )


def _tag(snapshot: ComponentSnapshot | None, overrides: Overrides, repo: str, now_ms: Callable[[], int]) -> str:
    return "" if snapshot is None else resolve(snapshot, overrides, repo, "", now_ms).tag


def _pairs(
    before: ComponentSnapshot | None, after: ComponentSnapshot | None
) -> Iterator[tuple[ComponentSnapshot | None, ComponentSnapshot | None]]:
    """The states before and after that one and the same job may meet. There are several only where a bucket belongs to a job."""
    draws_jobs = [each for each in (before, after) if each and each.next and each.unit is Unit.JOB]
    if len(draws_jobs) == 2 and _buckets_of(draws_jobs[0]) == _buckets_of(draws_jobs[1]):
        one, other = draws_jobs
        low, high = sorted((one.basis_points, other.basis_points))
        for bucket in dict.fromkeys((low, 0, high)):
            # A job of this bucket, and all jobs up to the next limit.
            if bucket < BUCKETS:
                yield _for_bucket(one, bucket), _for_bucket(other, bucket)
    else:
        # A job's bucket before says nothing about its bucket after, so any two may come together.
        for one_state in _states(before):
            for other_state in _states(after):
                yield one_state, other_state


def _buckets_of(snapshot: ComponentSnapshot) -> int:
    return snapshot.next.number if snapshot.next else 0


def _states(snapshot: ComponentSnapshot | None) -> Iterator[ComponentSnapshot | None]:
    """What jobs meet: the state itself, or where a bucket belongs to a job, what jobs of each side of the weight meet."""
    if snapshot is None or snapshot.next is None or snapshot.unit is Unit.REPO:
        yield snapshot
        return
    for bucket in dict.fromkeys((0, snapshot.basis_points)):
        if bucket < BUCKETS:
            yield _for_bucket(snapshot, bucket)


def _for_bucket(snapshot: ComponentSnapshot, bucket: int) -> ComponentSnapshot:
    """Returns a state that gives every repo what `snapshot` gives a job of this bucket."""
    if snapshot.state is not RolloutState.ROLLING_OUT:
        return snapshot
    return replace(snapshot, basis_points=BUCKETS if bucket < snapshot.basis_points else 0)


def _changed(overrides: Overrides, changes: Mapping[str, Choice | None], repos: Iterable[str]) -> Overrides:
    """Returns the overrides that matter to some repos, after the changes. A component may have millions of others."""
    changed = Overrides()
    for repo in repos:
        if (choice := overrides.by_repo.get(repo)) is not None:
            changed.set(repo, choice)
        prefix = repo
        while "/" in prefix:
            prefix = prefix.rpartition("/")[0]
            if (choice := overrides.by_prefix.get(prefix)) is not None:
                changed.set(f"{prefix}/*", choice)
    for repo, change in changes.items():
        if change is None:
            changed.delete(repo)
        else:
            changed.set(repo, change)
    return changed
