"""Where an override of a repo can be."""

import pytest

from rampd._standing.candidates import candidates


@pytest.mark.parametrize(
    ("repo", "places"),
    [
        ("acme/app", ["acme/app", "acme/*"]),
        ("a/b/c", ["a/b/c", "a/b/*", "a/*"]),
        ("alone", ["alone"]),
        ("acme/*", ["acme/*"]),
        ("acme/", ["acme/", "acme/*"]),
    ],
)
def test_an_override_is_looked_for_from_the_repo_to_the_shortest_prefix(repo: str, places: list[str]) -> None:
    assert list(candidates(repo)) == places
