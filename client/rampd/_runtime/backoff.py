"""How long to wait before another try. Each pause is longer than the one before, and each is drawn at random, so that
clients that failed together do not come back together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom

chance = SystemRandom().random
"""Returns a random number from 0 to 1, without 1."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses of one kind of try. The first is `first_s`, each later one is twice as long, none is over `most_s`."""

    first_s: float
    most_s: float
    least: float = 0.5
    """The part of a pause that is always waited. Chance decides on the rest."""

    def pause_s(self, failures: int, chance: Callable[[], float] = chance) -> float:
        """Returns the seconds to wait after a failure that follows `failures` other ones in a row."""
        whole_s = min(self.first_s * 2.0 ** min(failures, 30), self.most_s)
        return whole_s * (self.least + (1 - self.least) * chance())


LONGEST_RETRY_S = 60.0
"""A server that says to come back later than this is asked earlier."""


def after(retry_s: float | None, pause_s: float, chance: Callable[[], float] = chance) -> float:
    """Returns the seconds to wait if a server says when to come back (None: it does not say), instead of `pause_s`."""
    if retry_s is None:
        return pause_s
    # At random up to twice as long, so that those who were refused together do not come back together.
    return max(pause_s, min(retry_s, LONGEST_RETRY_S) * (1 + chance()))


REFUSED = Backoff(first_s=1.0, most_s=30.0)
"""The pauses after credentials were refused: others may come at any time, from a file for instance."""
HOPELESS = Backoff(first_s=30.0, most_s=30.0)
"""The pauses after a refusal that lasts until a person changes something."""
