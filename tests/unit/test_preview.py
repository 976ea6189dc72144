"""A preview names exactly the repos that resolve to another tag after the change."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rampd._decision.resolution import (
    Channel,
    Choice,
    ComponentSnapshot,
    Overrides,
    RolloutState,
    SnapshotRelease,
    Unit,
    resolve,
)
from rampd_server.domain.preview import Move, Preview, preview
from rampd_server.domain.repo_sample import RepoSample

A, B, C = (SnapshotRelease(number, tag) for number, tag in enumerate("abc", 1))
REPOS = [f"acme/app-{number}" for number in range(60)]
STEADY = ComponentSnapshot(component="restyler", revision=1, state=RolloutState.STEADY, current=A)
AT_10 = replace(STEADY, state=RolloutState.ROLLING_OUT, next=B, basis_points=1_000)
AT_50 = replace(AT_10, basis_points=5_000)
HELD = replace(AT_10, state=RolloutState.HELD, basis_points=0)
FINALIZED = replace(STEADY, current=B, previous=(A,))
OF_C = replace(AT_10, next=C)
JOBS = [str(number) for number in range(2_000)]


def now_ms() -> int:
    return 1_000


def pinned(**choices: Choice) -> Overrides:
    made = Overrides()
    for repo, choice in choices.items():
        made.set(repo, choice)
    return made


def moved(
    before: ComponentSnapshot | None,
    after: ComponentSnapshot | None,
    overrides: Overrides | None = None,
    changes: Mapping[str, Choice | None] | None = None,
    sample: RepoSample | None = None,
) -> Preview:
    return preview(
        before,
        after,
        overrides=overrides or Overrides(),
        changes=changes or {},
        sample=sample or RepoSample(REPOS),
        now_ms=now_ms,
    )


def tag(snapshot: ComponentSnapshot | None, overrides: Overrides, repo: str, job_id: str = "") -> str:
    return "" if snapshot is None else resolve(snapshot, overrides, repo, job_id, now_ms).tag


STATES = [None, STEADY, AT_10, AT_50, HELD, FINALIZED, OF_C, replace(AT_10, basis_points=10_000)]
PAIRS = [(before, after) for before in STATES for after in STATES]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_the_moves_are_those_of_resolving_before_and_after(
    before: ComponentSnapshot | None, after: ComponentSnapshot | None
) -> None:
    overrides = pinned(**{REPOS[0]: Choice(Channel.NEXT), REPOS[1]: Choice(tag="x"), REPOS[2]: Choice(Channel.CURRENT)})
    expected = [
        Move(repo, tag(before, overrides, repo), tag(after, overrides, repo))
        for repo in sorted(REPOS)
        if tag(before, overrides, repo) != tag(after, overrides, repo)
    ]

    found = moved(before, after, overrides)
    assert found == Preview(60, len(expected), False, tuple(expected[:10]))
    assert len({move.repo for move in expected}) == len(expected)


def test_a_ramp_moves_some_repos_and_only_from_current_to_next() -> None:
    found = moved(AT_10, AT_50)

    assert 10 < found.repos_moved < 40
    assert len(found.moves) == 10
    assert {move[1:] for move in found.moves} == {("a", "b")}
    assert sorted(move.repo for move in found.moves) == [move.repo for move in found.moves]


def test_a_component_that_begins_or_ends_gives_and_takes_a_version() -> None:
    assert moved(None, STEADY).moves[0] == Move("acme/app-0", "", "a")
    assert moved(STEADY, None).moves[0] == Move("acme/app-0", "a", "")


def test_the_change_of_an_override_moves_its_repos_and_leaves_the_present_ones_in_force() -> None:
    overrides = pinned(**{"acme/*": Choice(tag="x"), REPOS[1]: Choice(tag="y"), "other/app": Choice(tag="z")})

    def after(**changes: Choice | None) -> Mapping[str, tuple[str, str]]:
        found = moved(STEADY, STEADY, overrides, changes, RepoSample([*REPOS[:3], "other/app"]))
        return {move.repo: (move.before, move.after) for move in found.moves}

    assert after(**{"acme/*": None}) == {REPOS[0]: ("x", "a"), REPOS[2]: ("x", "a")}
    assert after(**{REPOS[1]: None, "other/app": None}) == {REPOS[1]: ("y", "x"), "other/app": ("z", "a")}
    assert after(**{REPOS[1]: Choice(tag="q"), "other/*": Choice(tag="r")}) == {REPOS[1]: ("y", "q")}
    assert after(**{REPOS[0]: Choice(tag="x"), "nobody/app": Choice(tag="q")}) == {}
    assert len(overrides) == 3


def test_an_override_that_has_ended_counts_for_nothing() -> None:
    ended, lasting = Choice(tag="x", expire_ms=1_000), Choice(tag="x", expire_ms=1_001)

    assert moved(STEADY, STEADY, pinned(**{REPOS[0]: ended}), {REPOS[0]: None}).repos_moved == 0
    assert moved(STEADY, STEADY, pinned(**{REPOS[0]: lasting}), {REPOS[0]: None}).repos_moved == 1


OF_JOBS = [each and replace(each, unit=Unit.JOB) for each in STATES]
JOB_PAIRS = [(before, after) for before in OF_JOBS for after in [*OF_JOBS, AT_50, OF_C]]


@pytest.mark.parametrize(("before", "after"), JOB_PAIRS)
def test_where_buckets_belong_to_jobs_a_repo_moves_if_some_of_its_jobs_do(
    before: ComponentSnapshot | None, after: ComponentSnapshot | None
) -> None:
    """Of 2,000 jobs, some are in each range of buckets that these states tell apart."""
    overrides = pinned(**{REPOS[0]: Choice(tag="x")})
    found = moved(before, after, overrides, sample=RepoSample(REPOS[:3]))

    for repo in REPOS[:3]:
        met = {(tag(before, overrides, repo, job), tag(after, overrides, repo, job)) for job in JOBS}
        moves = {(each.before, each.after) for each in found.moves if each.repo == repo}
        assert bool(moves) == any(one != other for one, other in met)
        assert moves <= met


def test_a_ramp_of_jobs_moves_every_repo_from_current_to_next() -> None:
    found = moved(*(replace(each, unit=Unit.JOB) for each in (AT_10, AT_50)))

    assert (found.repos_seen, found.repos_moved) == (60, 60)
    assert {move[1:] for move in found.moves} == {("a", "b")}
    assert moved(*(replace(each, unit=Unit.JOB) for each in (AT_50, HELD))).moves[0][1:] == ("b", "a")


def test_numbers_of_a_sample_are_estimates_and_its_repos_are_not_chosen_by_their_buckets() -> None:
    """4,096 repos are drawn of 65,536. Half of them move: the bound is five standard errors, of 0.8 percent each."""
    sample = RepoSample((f"big/app-{number}" for number in range(65_536)), most=5_500)
    found = moved(HELD, AT_50, sample=sample)

    assert found.is_estimated
    assert found.repos_seen == len(sample.repos) << sample.depth
    assert found.repos_moved / found.repos_seen == pytest.approx(0.5, abs=0.04)
    assert {move.repo for move in found.moves} <= sample.repos
