"""Placeholders of a query become labels' values, and can't be anything else."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampd_server.domain.queries import fill


def filled(query: str, tag: str = "20200409") -> str:
    return fill(query, component="restyler", tag=tag, channel="next")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up{tag={{tag}}}", 'up{tag="20200409"}'),
        ("up{tag={{ tag }}, c={{component}}}", 'up{tag="20200409", c="restyler"}'),
        ('up{tag="{{tag}}"}', 'up{tag="20200409"}'),
        ("up{tag='{{channel}}'}", "up{tag='next'}"),
        ("up{tag=`{{tag}}`}", 'up{tag="20200409"}'),
        ("up", "up"),
    ],
)
def test_a_placeholder_becomes_a_value_in_quotes(query: str, expected: str):
    assert filled(query) == expected


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1))
def test_no_tag_gets_out_of_its_quotes(tag: str):
    parsed = promql_parser.parse(filled("up{tag={{tag}}}", tag))

    assert isinstance(parsed, promql_parser.VectorSelector)
    assert len(parsed.matchers.matchers) == 1
