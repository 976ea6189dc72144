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


HOPELESS = Backoff(first_s=30.0, most_s=30.0)
"""The pauses after a refusal that lasts until a person changes something."""
