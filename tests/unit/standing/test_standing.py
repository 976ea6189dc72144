"""How a rollout stands, in sentences."""

import pytest

from rampd._standing.clock import Clock
from rampd._standing.standing import said, told
from tests.cli import rollouts
from tests.cli.rollouts import NOW

CLOCK = Clock.of_page(NOW)


@pytest.mark.parametrize(
    ("reason", "sentences"),
    [
        (
            "rolled back by rampd: Nobody confirmed it in time. Everybody gets A.",
            "rolled back by rampd. Nobody confirmed it in time. Everybody gets A.",
        ),
        ("rolled back by rampd: b fails.", "rolled back by rampd: b fails."),
        ("held: Errors", "held: Errors."),
        ("not confirmed", "not confirmed."),
    ],
)
def test_no_sentence_begins_after_a_colon(reason: str, sentences: str) -> None:
    held = rollouts.held()
    held.held_reason = held.held.reason = reason

    assert told(held, CLOCK).endswith(sentences)
    assert said(held, f"B is held: {reason}", CLOCK).rstrip(".") == f"B is held: {sentences}".rstrip(".")
