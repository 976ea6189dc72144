"""Numbers and texts of people as people read them. Numbers are short, but two different numbers never look the same."""

import json
import math
import sys
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rampd._contract.wording import MISLEADING, exact, number
from rampd._evidence.e_process import log_limit
from rampd_server.domain import wording


@pytest.mark.parametrize(("basis_points", "text"), [(0, "0 %"), (1, "0.01 %"), (1250, "12.5 %"), (10_000, "100 %")])
def test_a_share(basis_points: int, text: str):
    assert wording.percent(basis_points) == text


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 s"),
        (999, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (90_000, "1 min 30 s"),
        (3_600_000, "1 h"),
        (5_430_000, "1 h 30 min"),
        (3_601_000, "1 h"),
        (86_400_000, "1 day"),
        (93_600_000, "1 day 2 h"),
        (2 * 86_400_000 + 60_000, "2 days"),
        (30 * 86_400_000, "30 days"),
    ],
)
def test_a_span_has_two_units_at_the_most(duration_ms: int, text: str):
    assert wording.span(duration_ms) == text


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 s"),
        (500, "500 ms"),
        (1_500, "1 s 500 ms"),
        (3_601_000, "1 h 1 s"),
        (5_400_000, "1 h 30 min"),
        (86_400_000, "1 day"),
        (30 * 86_400_000 + 7_200_000, "30 days 2 h"),
    ],
)
def test_a_requested_duration_is_shown_completely(duration_ms: int, text: str):
    assert wording.whole_span(duration_ms) == text


@given(st.sets(st.integers(0, 2**40), min_size=2, max_size=2))
def test_two_durations_that_differ_look_different(durations: set[int]):
    one, other = durations
    assert wording.whole_span(one) != wording.whole_span(other)


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [
        (None, 1.5, "at most 1.5"),
        (2.0, None, "at least 2"),
        (0.0, 1e6, "0 to 1,000,000"),
        (-0.0, 1234567.5, "0 to 1,234,567.5"),
        (1e-9, 1e300, "1e-09 to 1e+300"),
    ],
)
def test_bounds_are_shown_as_they_were_set(least: float | None, most: float | None, text: str):
    assert wording.bounds(least, most) == text


@pytest.mark.parametrize(
    ("value", "most", "text"),
    [
        (0.4, 0.05, "0.4"),
        (1 / 3, 0.05, "0.333333"),
        (0.05000001, 0.05, "0.05000001"),
        (0.05, 0.05, "0.05"),
        (1234567.5, 1e6, "1,234,570"),
        (1000000.4, 1e6, "1,000,000.4"),
        (1e-12, 0.0, "1e-12"),
    ],
)
def test_a_value_has_as_many_digits_as_its_bound_requires(value: float, most: float, text: str):
    assert wording.against_bounds(value, None, most) == text


FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = FINITE.flatmap(
    lambda bound: st.tuples(st.sampled_from([math.nextafter(bound, math.inf), bound]), st.just(bound))
)


@given(NEAR | st.tuples(FINITE, FINITE))
def test_a_value_never_looks_like_a_bound_that_it_does_not_equal(pair: tuple[float, float]):
    value, bound = pair
    shown, limit = (float(text.replace(",", "")) for text in (number(value, bound), exact(bound)))
    assert (shown < limit, shown == limit, shown > limit) == (value < bound, value == bound, value > bound)


@pytest.mark.parametrize("character", MISLEADING)
def test_no_character_ends_a_line_or_changes_the_direction_of_its_text(character: str):
    shown = wording.one_line(f"a{character}b")
    assert shown != f"a{character}b"
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{character}b"
    assert wording.one_line(f"a{character}b", keep=character) == f"a{character}b"


def test_all_line_ends_and_direction_characters_of_unicode_are_escaped():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        ends_line = len(f"a{character}b".splitlines()) > 1
        sets_direction = unicodedata.bidirectional(character) in {
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        }
        is_mark = unicodedata.name(character, "").endswith(("-TO-LEFT MARK", "-TO-RIGHT MARK", "LETTER MARK"))
        is_control = unicodedata.category(character) == "Cc"
        assert (character in MISLEADING) is (ends_line or sets_direction or is_mark or is_control), hex(code)


def test_a_text_of_several_lines_is_one_line_of_a_sentence():
    assert wording.one_line("a\n\tb\r\nc\u2028d\u2029é 🚀") == r"a\n\tb\r\nc\u2028d\u2029é 🚀"


def test_a_text_becomes_a_sentence_once():
    assert [wording.ended(text) for text in ("so", "so.", "so?")] == ["so.", "so.", "so?"]


def test_a_moment_is_shown_to_the_second():
    assert wording.moment(1_700_000_000_999) == "2023-11-14 22:13:20 UTC"


def test_a_rate_shows_its_two_counts():
    assert wording.rates((14, 1600), (0, 0)) == ["14 of 1,600 (0.9 %)", "none"]


def test_rates_have_as_many_digits_as_needed_to_look_different():
    """Given 1.04 % against a limit of 1 %, expect no sentence with 1.0 % against 1 %."""
    assert wording.rates((104, 10_000), limit=0.01) == ["104 of 10,000 (1.04 %)"]
    assert wording.rates((104, 10_000), (1, 100)) == ["104 of 10,000 (1.04 %)", "1 of 100 (1.00 %)"]
    assert wording.rates((1, 100), (2, 200), limit=0.01) == ["1 of 100 (1.0 %)", "2 of 200 (1.0 %)"]
    assert wording.rates((0, 100), (1, 1_000_000)) == ["0 of 100 (0.0000 %)", "1 of 1,000,000 (0.0001 %)"]


COUNTS = st.integers(1, 10_000_000).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))


def percents(texts: list[str]) -> list[str]:
    return [text.partition("(")[2].removesuffix(" %)") for text in texts]


@given(COUNTS, COUNTS, st.integers(10, 8_000))
@example((1, 3), (333_333, 1_000_000), 3_333)
def test_rates_that_differ_look_different_and_in_their_order(one: tuple[int, int], other: tuple[int, int], limit: int):
    rates = [Fraction(*one), Fraction(*other), Fraction(limit, 10_000)]
    shown = [Fraction(text) for text in percents(wording.rates(one, other, limit=limit / 10_000))]
    shown.append(Fraction(wording.share(limit / 10_000).removesuffix(" %")))
    for left in range(3):
        for right in range(3):
            assert (rates[left] < rates[right]) == (shown[left] < shown[right])


@pytest.mark.parametrize(("fraction", "text"), [(0.07, "7 %"), (0.001, "0.1 %"), (0.8, "80 %"), (0.0725, "7.25 %")])
def test_the_permitted_failure_rate_of_a_policy_is_shown_as_it_was_set(fraction: float, text: str):
    assert wording.share(fraction) == text


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (Fraction(3, 10), Fraction(4), ("0.3", "4")),
        (Fraction(304, 100), Fraction(3), ("3.04", "3")),
        (Fraction(3), Fraction(3), ("3.0", "3")),
        (Fraction(12_345), Fraction(1), ("12,345.0", "1")),
    ],
)
def test_expected_and_actual_shares_look_different(one: Fraction, other: Fraction, texts: tuple[str, str]):
    assert wording.apart(one, other, decimals=1) == texts


def shown_evidence(e: float, alpha: float = 0.01) -> tuple[str, str]:
    return wording.evidence(math.log(e) + math.log(alpha), 1 / Fraction(repr(alpha)))


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (1e-300, "under 0.1"),
        (0.01, "under 0.1"),
        (0.24, "0.24"),
        (1.0, "1"),
        (9.94, "9.94"),
        (3.41236, "3.41"),
        (1353.6, "1,350"),
        (285_606.0, "286,000"),
        (99.6, "99.6"),
        (99.996, "99.996"),
        (100.3, "100.3"),
        (2e9, "over a billion"),
        (1e300, "over a billion"),
    ],
)
def test_evidence_has_three_digits_unless_its_limit_requires_more(e: float, text: str):
    assert shown_evidence(e) == (text, "100")


def test_evidence_that_equals_its_limit_looks_like_it():
    assert wording.evidence(0.0, Fraction(100)) == ("100", "100")


ALPHAS = st.sampled_from([1e-6, 0.001, 0.005, 0.01, 0.03, 0.5])
STEPS = st.integers(-3, 3)


@given(ALPHAS, st.floats(-1e-6, 1e-6) | st.floats(-1e4, 1e4) | st.just(0.0), STEPS)
@example(0.5, 0.0, 1)
@example(1e-6, 0.0, -1)
def test_evidence_never_looks_like_a_limit_that_it_does_not_equal(alpha: float, distance: float, steps: int):
    """Given E and limits whose logarithms differ in the last digit, as in any other, expect both to look different."""
    log = log_limit(alpha) + distance
    for _ in range(abs(steps)):
        log = math.nextafter(log, math.copysign(math.inf, steps))
    log_over_limit = log - log_limit(alpha)

    found, limit = wording.evidence(log_over_limit, 1 / Fraction(repr(alpha)))
    if found in ("over a billion", "under 0.1"):
        assert (found == "over a billion") == (log_over_limit > 0)
        return
    one, other = (Fraction(text.replace(",", "")) for text in (found, limit))
    assert ((one > other) - (one < other)) == ((log_over_limit > 0) - (log_over_limit < 0))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 components"), (1, "1 component"), (2, "2 components"), (1000, "1,000 components")]
)
def test_a_number_of_things(count: int, text: str):
    assert wording.counted(count, "component") == text
