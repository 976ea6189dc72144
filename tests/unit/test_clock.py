"""A jump of the store's clock is found by a comparison with a clock that nobody can set."""

import pytest

from rampd_server.domain.automation.clock import JUMP_MS, Clock, Deadline, Look, first_seen, read

HOUR_MS = 3_600_000


def looks(*pairs: tuple[int, int]) -> Clock:
    clock, last = None, None
    for store_ms, monotonic_ms in pairs:
        look = Look(store_ms, monotonic_ms)
        clock, last = read(clock, last, look), look
    assert clock
    return clock


def test_the_first_look_sees_no_jump():
    assert looks((5_000_000, 7)) == Clock(5_000_000)


def test_any_time_that_passes_does_not_count_as_a_jump():
    assert looks((0, 0), (1_000, 1_000), (1_000 + HOUR_MS, 1_000 + HOUR_MS)).jump_ms is None


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS, JUMP_MS + 1, -JUMP_MS - 1])
def test_a_clock_that_is_set_has_jumped(by_ms: int):
    clock = looks((10 * HOUR_MS, 0), (10 * HOUR_MS + 1_000 + by_ms, 1_000))

    assert (clock.jump_ms, clock.jumped_by_ms) == (10 * HOUR_MS + 1_000 + by_ms, by_ms)


@pytest.mark.parametrize("by_ms", [0, 500, JUMP_MS, -JUMP_MS])
def test_a_slow_answer_does_not_count_as_a_jump(by_ms: int):
    assert looks((HOUR_MS, 0), (HOUR_MS + 1_000 + by_ms, 1_000)).jump_ms is None


def test_slow_drift_never_counts_as_a_jump():
    assert looks(*((place * 1_010, place * 1_000) for place in range(10_000))).jump_ms is None


def test_the_newest_jump_is_remembered():
    clock = looks((0, 0), (HOUR_MS, 0), (HOUR_MS + 1_000, 1_000))
    assert clock == Clock(HOUR_MS + 1_000, HOUR_MS, HOUR_MS)

    clock = looks((0, 0), (HOUR_MS, 0), (3 * HOUR_MS, 1_000))
    assert clock.jump_ms == 3 * HOUR_MS


def test_a_jump_is_never_in_the_future():
    clock = looks((0, 0), (HOUR_MS, 0), (HOUR_MS - JUMP_MS + 1_000, 1_000))

    assert clock.jump_ms == clock.now_ms == HOUR_MS - JUMP_MS + 1_000


@pytest.mark.parametrize(
    ("store_ms", "left_ms"),
    [
        (100_000, 60_000),
        (130_000, 30_000),
        (159_999, 1),
        # The store's clock says that the deadline has passed, and that counts. This is the time left if that clock is wrong.
        (160_000, 60_000),
        (100_000 + HOUR_MS, 60_000),
        (99_999, 60_000),
        (100_000 - HOUR_MS, 60_000),
    ],
)
def test_the_time_left_to_a_deadline_is_never_longer_than_at_its_start(store_ms: int, left_ms: int):
    assert first_seen(160_000, 100_000, Look(store_ms, 7)) == Deadline(160_000, 7 + left_ms)
