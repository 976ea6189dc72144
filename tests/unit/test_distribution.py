"""Buckets are as even and as independent as random ones. The repos are fixed, so every run has the same result."""

from itertools import pairwise
from math import sqrt

import pytest

from rampd._decision.bucketing import BUCKETS, bucket

REPOS = [f"owner-{number % 977}/repo-{number}" for number in range(100_000)]
STANDARD_ERRORS = 4


def buckets(release: int, component: str = "restyler") -> list[int]:
    return [bucket(component, release, repo) for repo in REPOS]


def below(basis_points: int, drawn: list[int]) -> set[int]:
    """Returns the repos that get next, by their index."""
    return {place for place, number in enumerate(drawn) if number < basis_points}


def is_by_chance(hits: int, chance: float) -> bool:
    expected = len(REPOS) * chance
    return abs(hits - expected) <= STANDARD_ERRORS * sqrt(expected * (1 - chance))


@pytest.mark.parametrize("release", [1, 2, 12, 2**31 + 1])
@pytest.mark.parametrize("basis_points", [10, 1000, 5000, 9000])
def test_the_requested_share_of_the_repos_gets_next(release: int, basis_points: int) -> None:
    assert is_by_chance(len(below(basis_points, buckets(release))), basis_points / BUCKETS)


def test_0_percent_is_nobody_and_100_percent_is_everybody() -> None:
    drawn = buckets(12)
    assert below(0, drawn) == set()
    assert len(below(BUCKETS, drawn)) == len(REPOS)


def test_raising_the_percentage_moves_no_repo_back_to_current() -> None:
    drawn = buckets(12)
    shares = [below(basis_points, drawn) for basis_points in (1000, 2500, 6000)]
    assert all(before < after for before, after in pairwise(shares))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("restyler", 12), ("restyler", 13)),
        (("restyler", 1), ("restyler", 11)),
        (("restyler", 9), ("restyler", 10)),
        (("restyler", 12), ("builder", 12)),
    ],
)
def test_the_early_repos_of_two_rollouts_are_independent(one: tuple[str, int], other: tuple[str, int]) -> None:
    both = below(1000, buckets(one[1], one[0])) & below(1000, buckets(other[1], other[0]))
    assert is_by_chance(len(both), 0.1 * 0.1)


def test_the_independence_test_notices_a_formula_without_the_release() -> None:
    early = below(1000, buckets(12))
    assert not is_by_chance(len(early & early), 0.1 * 0.1)


def test_buckets_are_filled_evenly() -> None:
    """Chi-square over 100 cells of 100 buckets: its standard deviation is sqrt(2 * 99)."""
    cells = [0] * 100
    for number in buckets(12):
        cells[number // 100] += 1
    expected = len(REPOS) / 100
    chi_square = sum((count - expected) ** 2 / expected for count in cells)
    assert abs(chi_square - 99) <= STANDARD_ERRORS * sqrt(2 * 99)
