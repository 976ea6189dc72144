"""How a server knows the store's clock out of answers that take a while."""

import pytest

from rampd_server.replica.store_clock import StoreClock

AHEAD_MS = 5_000


def test_each_late_answer_leaves_the_clock_as_a_quick_one_has_told_it():
    clock = StoreClock()
    clock.take(AHEAD_MS, asked_s=0.0, answered_s=0.0)

    for at_s in range(1, 11):
        # The store reads its clock at once, and the answer is under way for 0.9 s.
        clock.take(AHEAD_MS + at_s * 1000, asked_s=at_s, answered_s=at_s + 0.9)

    assert clock.ahead_ms == pytest.approx(AHEAD_MS, abs=11)


@pytest.mark.parametrize("set_by_ms", [-60_000, -1_000, 1_000, 60_000])
def test_a_clock_that_was_set_is_taken_at_once(set_by_ms: int):
    clock = StoreClock()
    clock.take(AHEAD_MS, asked_s=0.0, answered_s=0.0)

    clock.take(AHEAD_MS + 1000 + set_by_ms, asked_s=1.0, answered_s=1.1)

    assert clock.ahead_ms == pytest.approx(AHEAD_MS + set_by_ms, abs=101)


def test_a_clock_that_runs_slower_is_followed():
    clock = StoreClock()
    ahead_ms = float(AHEAD_MS)
    clock.take(AHEAD_MS, asked_s=0.0, answered_s=0.0)

    for at_s in range(1, 3_600):
        ahead_ms -= 0.5
        clock.take(int(ahead_ms + at_s * 1000), asked_s=at_s - 0.05, answered_s=at_s + 0.001)

    assert clock.ahead_ms == pytest.approx(ahead_ms, abs=5)
