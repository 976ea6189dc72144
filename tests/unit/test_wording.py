"""Numbers as people read them."""

import pytest

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
        (90_000_000, "1 d 1 h"),
        (30 * 86_400_000, "30 d"),
    ],
)
def test_a_span_has_two_units_at_the_most(duration_ms: int, text: str):
    assert wording.span(duration_ms) == text


@pytest.mark.parametrize(
    ("least", "most", "text"), [(None, 1.5, "at most 1.5"), (2.0, None, "at least 2"), (0.0, 1e6, "0 to 1e+06")]
)
def test_bounds(least: float | None, most: float | None, text: str):
    assert wording.bounds(least, most) == text


def test_a_text_becomes_a_sentence_once():
    assert [wording.ended(text) for text in ("so", "so.", "so?")] == ["so.", "so.", "so?"]


def test_a_moment_is_told_to_the_second():
    assert wording.moment(1_700_000_000_999) == "2023-11-14 22:13:20 UTC"


def test_a_rate_shows_what_it_is_made_of():
    assert wording.rate(14, 1600) == "14 of 1,600 (0.9 %)"
    assert wording.rate(0, 0) == "none"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "under 0.1"), (0.25, "0.2"), (9.94, "9.9"), (10, "10"), (1353.6, "1,354"), (1e300, "over a billion")],
)
def test_odds_are_no_more_exact_than_they_need_to_be(value: float, text: str):
    assert wording.odds(value) == text
