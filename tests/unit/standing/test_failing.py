"""Which currents are said to fail more often than usual."""

import pytest

from rampd import v1
from rampd._standing.clock import Clock
from rampd._standing.failing import failing, failing_one, told
from tests.cli.rollouts import FLEET, NOW, current


def named(*some: v1.Rollout) -> list[str]:
    """The components that are said to fail, in their order."""
    return [each.rollout.component for each in failing([*FLEET, *some])]


def test_what_failed_long_ago_and_what_is_usual_is_not_named() -> None:
    assert named(current("was-bad", (50_000, 5_000), (500, 1))) == []
    assert named(current("two-failures", (50_000, 100), (20, 2))) == []
    assert named(*(current(f"usual{number}", (1_000, 40), (200, 9)) for number in range(20))) == []


@pytest.mark.parametrize(
    ("jobs", "failures", "is_named"),
    [(1_000, 46, False), (1_000, 47, True), (20_000, 672, False), (20_000, 673, True)],
)
def test_a_rate_is_named_once_it_is_surely_half_as_much_again_as_usual(
    jobs: int, failures: int, is_named: bool
) -> None:
    """Given 2 % as usual: among a thousand jobs 4.7 % are named, and among twenty thousand 3.4 %."""
    usual = [current(f"usual{number}", (10_000, 200)) for number in range(9)]
    assert bool(failing([*usual, current("some", (jobs, failures))])) is is_named


def test_among_thousands_of_jobs_a_little_more_than_usual_is_not_named() -> None:
    usual = [current(f"usual{number}", (4_000, 44)) for number in range(9)]
    assert failing([*usual, current("some", (4_287, 73))]) == []
    assert failing_one(current("some", (54_287, 623), (4_287, 73))) is None


@pytest.mark.parametrize(("failures", "is_named"), [(351, False), (352, True)])
def test_a_rate_before_or_elsewhere_counts_as_a_hundredth_at_least(failures: int, is_named: bool) -> None:
    assert bool(named(current("some", (120_000, 200 + failures), (20_000, failures)))) is is_named


def test_few_jobs_are_judged_by_all_jobs_since_current_became_current_and_too_few_not_at_all() -> None:
    assert named(current("slow", (40, 40), (2, 2)), current("new", (3, 3), (3, 3)), current("one", (1, 1), (1, 1))) == [
        *("slow", "new"),
    ]
    [slow] = failing([current("slow", (40, 40), (2, 2))])
    assert told(slow, Clock(NOW)) == "40 of 40 failed (100 %) since it became current"


def test_a_server_that_does_not_count_what_was_lately_gives_all_jobs() -> None:
    assert named(current("bad", (1_000, 120)), current("good", (1_000, 9))) == ["bad"]
