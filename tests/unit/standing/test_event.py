"""What an event did, in a few words."""

import pytest

from rampd._standing.event import about_event
from tests.cli import rollouts


@pytest.mark.parametrize(
    ("action", "note", "changes", "line"),
    [
        (
            "Release",
            "urgent",
            {
                "release/2": ("2.0 CURRENT", "2.0 RETIRED: replaced by the expedited 4.0 by ada: urgent"),
                "release/4": ("", "4.0 CURRENT"),
            },
            '4.0 CURRENT, 2.0 RETIRED "urgent"',
        ),
        (
            "Finalize",
            "",
            {
                "next": ("2", "3"),
                "next_percent": ("10", "0"),
                "queue": ("3", ""),
                "release/1": ("1.0 CURRENT", "1.0 RETIRED: replaced by 2.0, finalized by ada"),
                "release/2": ("2.0 NEXT", "2.0 CURRENT"),
                "release/3": ("3.0 QUEUED", "3.0 NEXT"),
            },
            "2.0 CURRENT, 3.0 NEXT, 1.0 RETIRED",
        ),
        ("Quarantine", "same bug", {"quarantine/new14": ("", "by ada: same bug")}, 'new14 in quarantine "same bug"'),
        ("Unquarantine", "", {"quarantine/new14": ("by ada: same bug", "")}, "new14 out of quarantine"),
        ("Release", "", {"queue": ("", "3"), "release/3": ("", "3 QUEUED")}, "3 QUEUED"),
    ],
)
def test_the_line_of_an_event_says_what_it_did_with_the_new_version_first(
    action: str, note: str, changes: dict[str, tuple[str, str]], line: str
) -> None:
    assert about_event(rollouts.event(action, "ada", note, **changes)) == line
