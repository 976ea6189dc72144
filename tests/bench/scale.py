"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The whole, or with `--quick` enough to see that it runs."""

    rounds: int = 12
    """Of alternated measurements."""
    calls: int = 6_000
    """Of one measurement of throughput; one of latency has a quarter of it."""
    overrides: int = 1_000_000
    components: int = 1_000


QUICK = Scale(rounds=4, calls=1_000, overrides=20_000, components=50)
WHOLE = Scale()
