"""Samples of counters become jobs over time."""

from dataclasses import replace

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.evidence.samples import Interval, Sample, intervals

NOON = 1_800_000_000_000
FINE, COARSE = 15_000, 600_000


def sample(after_ms: int, current: tuple[int, int], next_: tuple[int, int], *, step_ms: int = FINE) -> Sample:
    return Sample(NOON + after_ms, step_ms, 3, 2, 7, JobCount(*current), JobCount(*next_))


def told(*samples: Sample) -> list[tuple[int, int, JobCount, JobCount]]:
    """Returns start and end of each interval after noon in ms, and its jobs."""
    return [(each.start_ms - NOON, each.end_ms - NOON, each.current, each.next) for each in intervals(samples)]


def test_an_interval_has_the_jobs_between_two_samples_and_the_rollout_at_its_start() -> None:
    before, after = sample(0, (100, 10), (5, 1)), replace(sample(FINE, (130, 12), (9, 4)), release=4, trial=1)

    assert intervals([before, after]) == [
        Interval(
            start_ms=NOON,
            end_ms=NOON + FINE,
            release=3,
            trial=2,
            current_revision=7,
            current=JobCount(30, 2),
            next=JobCount(4, 3),
        )
    ]


def test_an_interval_ends_with_its_step_or_with_the_next_sample() -> None:
    first = sample(0, (0, 0), (0, 0), step_ms=COARSE)
    second = sample(4 * FINE, (8, 0), (0, 0))
    third = sample(100 * FINE, (9, 1), (0, 0))
    now = sample(100 * FINE + 700, (9, 1), (2, 0), step_ms=0)

    assert told(first, second, third, now) == [
        (0, 4 * FINE, JobCount(8, 0), JobCount()),
        (4 * FINE, 5 * FINE, JobCount(1, 1), JobCount()),
        (100 * FINE, 100 * FINE + 700, JobCount(), JobCount(2, 0)),
    ]


def test_no_interval_is_empty_neither_of_jobs_nor_of_time() -> None:
    first, same = sample(0, (3, 1), (1, 0)), sample(FINE, (3, 1), (1, 0))
    now = sample(FINE, (4, 1), (1, 0), step_ms=0)

    assert told(first, same, now) == [(FINE, FINE + 1, JobCount(1, 0), JobCount())]
    assert intervals([]) == intervals([first]) == []


def test_counters_that_are_lower_than_before_have_begun_at_zero() -> None:
    first, second = sample(0, (500, 50), (40, 9)), sample(FINE, (20, 1), (45, 2))

    assert told(first, second) == [(0, FINE, JobCount(20, 1), JobCount(45, 2))]
