"""Which jobs of current are those of lately."""

from rampd._evidence.release_counters import ENOUGH_JOBS, INTERVAL_MS, INTERVALS, Interval, JobCount, ReleaseCounters

NOON = 1_800_000_000_000
NOW = NOON + INTERVAL_MS // 3


def lately(*counts: JobCount, revision: int = 7) -> tuple[int, JobCount]:
    """Returns how many intervals were counted, and the jobs. `counts`: of the present interval and of those before."""
    intervals = tuple(Interval(NOON - back * INTERVAL_MS, 7, count) for back, count in enumerate(counts))
    start_ms, count = ReleaseCounters(intervals=intervals).lately(revision, NOW)
    return (NOON - start_ms) // INTERVAL_MS + 1, count


def test_the_present_interval_and_the_one_before_are_lately_if_they_have_enough_jobs() -> None:
    good = JobCount(1_000, 0)

    assert lately(JobCount(1, 1), JobCount(ENOUGH_JOBS, 5), good, good) == (2, JobCount(ENOUGH_JOBS + 1, 6))
    assert lately(JobCount(500, 250), JobCount(), good) == (2, JobCount(500, 250))


def test_with_few_jobs_earlier_intervals_are_added_until_there_are_enough() -> None:
    some = JobCount(5, 1)

    assert lately(some, some, some, some, some) == (4, JobCount(20, 4))
    assert lately(*[JobCount(1, 0)] * 20) == (INTERVALS, JobCount(INTERVALS, 0))
    assert lately() == (INTERVALS, JobCount())


def test_jobs_of_another_current_are_not_counted() -> None:
    assert lately(JobCount(100, 100), revision=8) == (INTERVALS, JobCount())
