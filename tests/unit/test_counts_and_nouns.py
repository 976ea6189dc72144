"""People read `1 job` and `2 jobs`: a count and its noun agree."""

import re
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "client"
FOR_PEOPLE = ("rampd_cli", "rampd/_standing")
COUNT_AND_PLURAL = re.compile(r"\{[^{}]*(?::,|len\()[^{}]*\} (?:[a-z]+ )?[a-z]{3,}s\b(?! (?:are|than)\b)")
"""A number in a text, and behind it a noun that is always in the plural."""
ALWAYS_MANY = ("_MOST_", "of these rows", "would get another")


def disagreeing(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if not any(each in line for each in ALWAYS_MANY))
    return [found[0] for line in lines for found in COUNT_AND_PLURAL.finditer(line)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('f"{jobs:,} jobs of next"', ["{jobs:,} jobs"]),
        ('f"{len(values)} wrong values"', ["{len(values)} wrong values"]),
        ("f\"{counted(jobs, 'job')} of next\"", []),
        ('f"{more:,} more. All of them: rampd status"', []),
        ("f\"{count:,} override{'s' * (count != 1)}\"", []),
    ],
)
def test_a_noun_that_is_always_in_the_plural_is_found(text: str, found: list[str]) -> None:
    assert disagreeing(text) == found


def test_no_count_has_a_noun_that_is_always_in_the_plural() -> None:
    paths = sorted(path for folder in FOR_PEOPLE for path in (CLIENT / folder).rglob("*.py"))
    found = {path.name: wrong for path in paths if (wrong := disagreeing(path.read_text()))}
    assert found == {}
