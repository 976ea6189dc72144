"""A sample has all repos, or a random part of them from which their number is estimated."""

import random

import pytest

from rampd_server.domain import repo_sample
from rampd_server.domain.repo_sample import MOST, RepoSample, depth_of
from rampd_server.storage.limits import MAX_SEEN_REPOS

REPOS = [f"owner-{number % 7}/app-{number}" for number in range(100_000)]
CHANCE = random.Random(14)


def test_a_thousand_repos_are_all_there() -> None:
    sample = RepoSample(REPOS[:1_000])

    assert (sample.repos, sample.is_whole, sample.estimate(23)) == (set(REPOS[:1_000]), True, 23)
    assert MOST == MAX_SEEN_REPOS == 1_000


def test_a_repo_that_is_seen_twice_is_there_once() -> None:
    sample = RepoSample(REPOS[:1_000] * 3)

    assert (len(sample.repos), sample.is_whole) == (1_000, True)


def test_one_repo_more_leaves_about_half() -> None:
    sample = RepoSample(REPOS[:1_001])

    assert (sample.is_whole, sample.depth) == (False, 1)
    assert sample.repos == {repo for repo in REPOS[:1_001] if depth_of(repo) >= 1}
    assert 400 < len(sample.repos) < 600


def test_a_hundred_thousand_repos_are_estimated_to_a_few_percent() -> None:
    """The standard error is 3.8 percent. The bound is five times that for each of 20 draws, and twice that for their mean square."""
    errors = []
    for draw in range(20):
        sample = RepoSample(f"draw-{draw}/{repo}" for repo in REPOS)
        assert MOST / 2.5 < len(sample.repos) <= MOST
        errors.append(sample.estimate(len(sample.repos)) / len(REPOS) - 1)

    assert max(map(abs, errors)) < 5 * 0.038
    assert (sum(error**2 for error in errors) / len(errors)) ** 0.5 < 2 * 0.038


def test_the_order_does_not_matter_and_samples_can_be_put_together() -> None:
    whole = RepoSample(REPOS)
    mixed = CHANCE.sample(REPOS, len(REPOS))
    here, there = RepoSample(mixed[:60_000]), RepoSample(mixed[40_000:])
    together = RepoSample((*here.repos, *there.repos), max(here.depth, there.depth))

    assert (RepoSample(mixed).repos, RepoSample(mixed).depth) == (whole.repos, whole.depth)
    assert (together.repos, together.depth) == (whole.repos, whole.depth)


def test_a_sample_of_equal_hashes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repo_sample, "depth_of", lambda _repo: 32)

    assert RepoSample(REPOS[:2_000]).repos <= set(REPOS)


@pytest.mark.parametrize(("repo", "depth"), [("acme/app", 0), ("acme/a", 4), ("acme/d", 2)])
def test_the_depth_of_a_repo_is_the_same_in_each_process(repo: str, depth: int) -> None:
    assert depth_of(repo) == depth
