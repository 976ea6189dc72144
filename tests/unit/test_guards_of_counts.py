"""The absolute guard, the assignment check and the cap on reporters: pure functions of integers."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._evidence import absolute_guard, assignment_check
from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd._evidence.e_process import log_limit
from rampd._evidence.reporter_cap import ENOUGH_REPORTERS, cap, counted_failures

JOBS = st.integers(0, 200)
RATES = st.floats(0.001, 0.8)


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([Fraction(1, 100), Fraction(1, 10), Fraction(1, 2)]))
def test_the_absolute_guard_equals_its_formula(failures: int, successes: int, p0: Fraction):
    rates = {rate for rate in (p0 * 3 / 2, p0 * 2, p0 * 3, p0 * 5, Fraction(9, 10)) if rate <= Fraction(9, 10)}
    exact = sum((p / p0) ** failures * ((1 - p) / (1 - p0)) ** successes for p in rates) / len(rates)

    log = absolute_guard.log_evidence(failures, failures + successes, float(p0))

    assert log == pytest.approx(math.log(exact.numerator) - math.log(exact.denominator), abs=1e-9)


@given(JOBS, JOBS, RATES)
def test_the_absolute_guard_rises_with_failures_and_falls_with_successes(failures: int, successes: int, rate: float):
    before = absolute_guard.log_evidence(failures, failures + successes, rate)

    assert absolute_guard.log_evidence(failures + 1, failures + successes + 1, rate) > before
    assert absolute_guard.log_evidence(failures, failures + successes + 1, rate) < before


@given(JOBS, JOBS, RATES)
def test_the_absolute_guard_keeps_its_mean_at_the_permitted_rate(failures: int, successes: int, rate: float):
    before = absolute_guard.log_evidence(failures, failures + successes, rate)
    won = math.exp(absolute_guard.log_evidence(failures + 1, failures + successes + 1, rate) - before)
    lost = math.exp(absolute_guard.log_evidence(failures, failures + successes + 1, rate) - before)

    assert rate * won + (1 - rate) * lost == pytest.approx(1)


@given(RATES)
def test_alternative_rates_exist_and_none_is_certain(rate: float):
    alternatives = absolute_guard.alternatives(rate)

    assert alternatives
    assert all(rate < alternative < 1 for alternative in alternatives)


def test_four_failures_in_a_row_are_too_many_at_ten_percent():
    limit = log_limit(absolute_guard.ALPHA)

    assert absolute_guard.log_evidence(3, 3, 0.1) < limit <= absolute_guard.log_evidence(4, 4, 0.1)


@pytest.mark.parametrize("counts", [Split(1000, 20), Split(1000, 220), Split(200, 0), Split(0, 10)])
def test_a_share_that_is_far_off_is_an_alarm(counts: Split):
    assert assignment_check.log_evidence({1000: counts}) >= log_limit(assignment_check.ALPHA)


@pytest.mark.parametrize("counts", [Split(900, 100), Split(920, 80), Split(880, 120), Split(9, 1), Split(20, 0)])
def test_a_share_that_chance_explains_is_not_an_alarm(counts: Split):
    assert assignment_check.log_evidence({1000: counts}) < log_limit(assignment_check.ALPHA)


def greatest_fair(failures: list[int]) -> int:
    """Finds the greatest fair share by trying all."""
    return max(
        most for most in range(max(failures, default=0) + 1) if 3 * most <= sum(min(own, most) for own in failures)
    )


@given(st.lists(st.integers(0, 60), max_size=8))
def test_no_reporter_counts_for_more_than_a_third_and_none_loses_more_than_needed(failures: list[int]):
    assert cap(failures) == greatest_fair(failures)


BY_REPORTER = st.dictionaries(
    st.sampled_from("abcdefgh"), st.dictionaries(st.sampled_from([500, 2500, 9500]), st.integers(0, 30)), max_size=8
)


def counters(by_reporter: dict[str, dict[int, int]], reporters: int) -> TrialCounters:
    weights = (500, 2500, 9500)
    by_weight = {
        weight: Tally(first_failures=Split(40, sum(own.get(weight, 0) for own in by_reporter.values())))
        for weight in weights
    }
    return TrialCounters(by_weight, reporters=reporters, next_failures_by_reporter=by_reporter)


@given(BY_REPORTER)
def test_the_cap_removes_failures_of_next_only(by_reporter: dict[str, dict[int, int]]):
    trial = counters(by_reporter, ENOUGH_REPORTERS)
    most = cap([sum(own.values()) for own in by_reporter.values()])

    counted = counted_failures(trial)

    assert all(
        split.current == 40 and 0 <= split.next <= trial.first_failures[weight].next
        for weight, split in counted.items()
    )
    left = sum(min(sum(own.values()), most) for own in by_reporter.values())
    assert sum(split.next for split in counted.values()) == left


def test_everything_counts_while_few_have_reported():
    trial = counters({"a": {500: 30}}, ENOUGH_REPORTERS - 1)

    assert counted_failures(trial) == trial.first_failures


def test_one_reporter_alone_cannot_roll_back():
    trial = counters({"a": {500: 30}, "b": {}, "c": {}}, ENOUGH_REPORTERS)

    assert sum(split.next for split in counted_failures(trial).values()) == 0


def test_the_cap_removes_the_failures_with_the_most_evidence_first():
    trial = counters({"a": {500: 5, 9500: 5}, "b": {9500: 3}, "c": {9500: 3}}, ENOUGH_REPORTERS)

    counted = counted_failures(trial)

    assert (counted[500].next, counted[9500].next) == (0, 9)


TALLIES = st.builds(Tally, *[st.builds(Split, JOBS, JOBS)] * 5)


@given(TALLIES, TALLIES, TALLIES)
def test_tallies_add_up_in_any_order(one: Tally, two: Tally, three: Tally):
    assert (one + two) + three == three + (two + one)
    assert one + Tally() == one


def test_a_trial_counts_by_weight_and_in_total():
    trial = TrialCounters({500: Tally(jobs=Split(9, 1)), 2500: Tally(jobs=Split(3, 2))})

    assert trial.total.jobs == Split(12, 3)
    assert trial.next_jobs_at(2500) == 2
    assert trial.next_jobs_at(9500) == 0
