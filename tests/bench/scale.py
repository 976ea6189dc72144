"""How much the benchmarks measure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The full measurement, or with `--quick` only enough to see that every benchmark runs."""

    rounds: int = 12
    """The number of rounds. The measurements of a round take turns."""
    calls: int = 6_000
    """The number of calls in one measurement of throughput. A measurement of latency makes a quarter of that."""
    overrides: int = 1_000_000
    components: int = 1_000


QUICK = Scale(rounds=4, calls=1_000, overrides=20_000, components=50)
WHOLE = Scale()
