"""How strong the evidence against next is. Pure."""

import math

from rampd import v1
from rampd._standing.tone import Tone


def share_of_limit(found: v1.Evidence) -> float:
    """Returns how far E is on the way to its limit: 0 for no evidence, 1 at the limit. On a logarithmic scale, because evidence
    multiplies with each failure.
    """
    return math.log(found.e) / math.log(found.limit) if found.e > 1 and found.limit > 1 else 0.0


def tone_of(found: v1.Evidence) -> Tone:
    """Returns what this means to a person: `WAITS` from half of the way on."""
    share = share_of_limit(found)
    return Tone.BAD if share >= 1 else Tone.WAITS if share >= 0.5 else Tone.GOOD
