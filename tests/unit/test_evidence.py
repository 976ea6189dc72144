"""E agrees with the paper and with other implementations, and it keeps the promise about false alarms."""

import json
import math
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd._evidence.counters import Split
from rampd._evidence.e_process import RATIOS, log_evidence, log_likelihood, log_limit, log_mean, to_odds
from rampd_server.domain.rollout.model import FULL

WEIGHTS = st.integers(1, FULL - 1)
SPLITS = st.builds(Split, st.integers(0, 60), st.integers(0, 60))
COUNTS = st.dictionaries(WEIGHTS, SPLITS, max_size=6)
TOLERANCES = st.sampled_from([1.0, 1.25, 1.5, 2.0, 3.0, 10.0])
SAVVI = json.loads((Path(__file__).parent / "savvi_vectors.json").read_text())["vectors"]


def as_published(failures: list[tuple[int, int]], tolerance: Fraction = Fraction(1)) -> Fraction:
    """E of failures one by one, (basis points, 1 where it ran next), exactly: the plain formula."""

    def factor(weight: int, g: int, rho: Fraction) -> Fraction:
        pi = Fraction(weight, 10_000)
        return rho**g / (1 - pi + pi * rho)

    products = []
    for rho in (Fraction(3, 2), Fraction(2), Fraction(3), Fraction(5), Fraction(10), Fraction(30)):
        if rho > tolerance:
            product = Fraction(1)
            for weight, g in failures:
                product *= factor(weight, g, rho) / factor(weight, g, tolerance)
            products.append(product)
    return sum(products, Fraction(0)) / len(products)


def one_by_one(counts: dict[int, Split]) -> list[tuple[int, int]]:
    return [(weight, g) for weight, split in counts.items() for g in [0] * split.current + [1] * split.next]


def log_of(fraction: Fraction) -> float:
    return math.log(fraction.numerator) - math.log(fraction.denominator)


@given(st.dictionaries(WEIGHTS, st.builds(Split, st.integers(0, 20), st.integers(0, 20)), max_size=4), TOLERANCES)
def test_e_equals_the_published_formula(counts: dict[int, Split], tolerance: float):
    exact = as_published(one_by_one(counts), Fraction(tolerance))

    assert log_evidence(counts, tolerance=tolerance) == pytest.approx(log_of(exact), abs=1e-9)


def test_a_worked_example():
    # 20 repos failed while next had 10 %; 8 of them ran it.
    counts = {1000: Split(12, 8)}

    e = sum(rho**8 / (0.9 + 0.1 * rho) ** 20 for rho in RATIOS) / 6

    assert to_odds(log_evidence(counts)) == pytest.approx(e)
    assert e == pytest.approx(158.8, abs=0.05)


@pytest.mark.parametrize("vector", SAVVI, ids=lambda vector: "{weight}-{prior}-{current}-{next}".format(**vector))
def test_each_alternative_is_weighed_as_savvi_weighs_it(vector: dict):
    # savvi mixes over all alternatives with a Beta prior of next's share of failures. This integral does the same with ours.
    share, prior = vector["weight"] / FULL, vector["prior"]
    a, b = prior * share, prior * (1 - share)
    counts = {vector["weight"]: Split(vector["current"], vector["next"])}
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    def integrand(logit: float) -> float:
        q = 1 / (1 + math.exp(-logit))
        ratio = math.exp(logit) * (1 - share) / share
        return math.exp(a * math.log(q) + b * math.log1p(-q) - log_beta + log_likelihood(counts, ratio))

    step = 0.01
    e = step * math.fsum(integrand(step * place) for place in range(-1600, 1601))

    assert e == pytest.approx(vector["e"], rel=1e-6)


@given(COUNTS, st.randoms(use_true_random=False), TOLERANCES)
def test_the_order_of_weights_changes_nothing(counts: dict[int, Split], random: Random, tolerance: float):
    items = list(counts.items())
    random.shuffle(items)

    assert log_evidence(dict(items), tolerance=tolerance) == log_evidence(counts, tolerance=tolerance)


@given(COUNTS, COUNTS)
def test_the_counts_of_two_servers_together_give_the_product_of_their_e(one: dict[int, Split], other: dict[int, Split]):
    both = {weight: one.get(weight, Split()) + other.get(weight, Split()) for weight in one | other}

    for ratio in RATIOS:
        apart = log_likelihood(one, ratio) + log_likelihood(other, ratio)
        assert log_likelihood(both, ratio) == pytest.approx(apart, abs=1e-9)


@given(COUNTS, WEIGHTS, TOLERANCES)
def test_a_failure_of_next_raises_e_and_one_of_current_lowers_it(
    counts: dict[int, Split], weight: int, tolerance: float
):
    before = log_evidence(counts, tolerance=tolerance)
    split = counts.get(weight, Split())

    assert log_evidence(counts | {weight: split + Split(0, 1)}, tolerance=tolerance) > before - 1e-12
    assert log_evidence(counts | {weight: split + Split(1, 0)}, tolerance=tolerance) < before + 1e-12


@given(st.integers(1, 60), st.integers(0, 60), WEIGHTS, WEIGHTS)
def test_a_failure_of_next_raises_e_more_at_a_smaller_weight(next_: int, current: int, one: int, other: int):
    low, high = sorted((one, other))

    assert log_evidence({low: Split(current, next_)}) >= log_evidence({high: Split(current, next_)}) - 1e-12


@given(COUNTS)
def test_e_rises_less_with_a_higher_tolerance(counts: dict[int, Split]):
    with_next = {weight: Split(0, split.next) for weight, split in counts.items()}

    for ratio in RATIOS:
        gains = [log_likelihood(with_next, ratio) - log_likelihood(with_next, tolerance) for tolerance in (1, 1.25, 2)]
        assert gains == sorted(gains, reverse=True)


@given(COUNTS, TOLERANCES)
def test_e_keeps_its_mean_at_the_tolerated_rate(counts: dict[int, Split], tolerance: float):
    # The next failure belongs to next with the greatest probability that is still tolerated: E keeps its mean.
    for weight in (100, 1000, 5000):
        share = weight / FULL * tolerance / (1 - weight / FULL + weight / FULL * tolerance)
        split = counts.get(weight, Split())
        outcomes = (
            (share, counts | {weight: split + Split(0, 1)}),
            (1 - share, counts | {weight: split + Split(1, 0)}),
        )
        before = log_evidence(counts, tolerance=tolerance)
        mean = sum(
            probability * math.exp(log_evidence(after, tolerance=tolerance) - before) for probability, after in outcomes
        )
        assert mean == pytest.approx(1)


@given(COUNTS, TOLERANCES, st.floats(0.01, 0.999))
def test_a_better_release_lowers_e(counts: dict[int, Split], tolerance: float, part: float):
    weight = 1000
    greatest = weight / FULL * tolerance / (1 - weight / FULL + weight / FULL * tolerance)
    share, split = greatest * part, counts.get(1000, Split())
    before = log_evidence(counts, tolerance=tolerance)
    won = math.exp(log_evidence(counts | {weight: split + Split(0, 1)}, tolerance=tolerance) - before)
    lost = math.exp(log_evidence(counts | {weight: split + Split(1, 0)}, tolerance=tolerance) - before)

    assert share * won + (1 - share) * lost < 1 + 1e-9


@pytest.mark.parametrize("tolerance", [1.5, 2.0, 5.0, 10.0])
def test_a_release_that_never_fails_is_never_a_regression(tolerance: float):
    assert log_evidence({5000: Split(10_000, 0)}, tolerance=tolerance) < 0


def test_there_is_no_evidence_without_outcomes():
    assert log_evidence({}) == 0
    assert to_odds(0) == 1


@pytest.mark.parametrize("weight", [0, FULL])
def test_nothing_counts_without_a_control_group(weight: int):
    assert log_evidence({weight: Split(50, 50)}) == 0


def test_a_million_failures_do_not_overflow():
    log = log_evidence({1: Split(0, 1_000_000), 9999: Split(1_000_000, 0)})

    assert math.isfinite(log)
    assert to_odds(1e6) == to_odds(690)
    assert math.isfinite(log_evidence({5000: Split(1_000_000, 1_000_000)}))


def test_the_limit_is_one_over_alpha():
    assert to_odds(log_limit(0.01)) == pytest.approx(100)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8))
def test_the_mean_of_logarithms_is_the_logarithm_of_the_mean(logs: list[float]):
    assert log_mean(logs) == pytest.approx(math.log(sum(map(math.exp, logs)) / len(logs)), abs=1e-9)
