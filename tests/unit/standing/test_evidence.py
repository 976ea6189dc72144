"""How near evidence is to its limit."""

import math

import pytest

from rampd import v1
from rampd._standing.evidence import share_of_limit, tone_of
from rampd._standing.tone import Tone


@pytest.mark.parametrize(
    ("e", "limit", "share", "tone"),
    [
        (1, 100, 0, Tone.GOOD),
        (0.2, 100, 0, Tone.GOOD),
        (5, 100, 0.349, Tone.GOOD),
        (10, 100, 0.5, Tone.WAITS),
        (99, 100, 0.998, Tone.WAITS),
        (100, 100, 1, Tone.BAD),
        (math.inf, 100, math.inf, Tone.BAD),
        (math.nan, 100, 0, Tone.GOOD),
        (5, 0, 0, Tone.GOOD),
    ],
)
def test_evidence_is_half_of_the_way_to_its_limit_at_the_root_of_it(
    e: float, limit: float, share: float, tone: Tone
) -> None:
    found = v1.Evidence(e=e, limit=limit)

    assert share_of_limit(found) == pytest.approx(share, abs=0.001)
    assert tone_of(found) is tone
