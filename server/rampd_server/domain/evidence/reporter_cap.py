"""No single reporter may bring a release down.

Once `ENOUGH_REPORTERS` identities have reported in a trial, none counts for more than a third of next's counted failures.
It only ever takes failures of next away, which lowers E: alpha holds. Where everybody shares one credential there is one
identity, and no cap.
"""

from collections.abc import Mapping, Sequence

from rampd_server.domain.evidence.counters import Split, TrialCounters

ENOUGH_REPORTERS = 5
SHARE = 3
"""The greatest part is one in three."""


def counted_failures(counters: TrialCounters) -> Mapping[int, Split]:
    """First failures by weight as the relative guard counts them."""
    if counters.reporters < ENOUGH_REPORTERS:
        return counters.first_failures
    by_reporter = counters.next_failures_by_reporter
    most = cap([sum(by_weight.values()) for by_weight in by_reporter.values()])
    dropped = [_excess(by_weight, most) for by_weight in by_reporter.values()]
    return {
        weight: Split(split.current, split.next - sum(by_weight.get(weight, 0) for by_weight in dropped))
        for weight, split in counters.first_failures.items()
    }


def cap(failures: Sequence[int]) -> int:
    """The greatest count m, such that m is a third at most of what is left when nobody has more than m.

    With one over m, the others must have twice m; with two over it, they must have m; with three, any m will do.
    """
    greatest, second, *others = sorted([*failures, 0, 0], reverse=True)
    with_one_over = (second + sum(others)) // (SHARE - 1)
    return min(greatest, with_one_over) if with_one_over >= second else sum(others)


def _excess(by_weight: Mapping[int, int], most: int) -> dict[int, int]:
    """What one reporter has too many, taken where a failure weighs most: at the smallest weights."""
    left = sum(by_weight.values()) - most
    dropped = {}
    for weight in sorted(by_weight):
        dropped[weight] = max(0, min(left, by_weight[weight]))
        left -= dropped[weight]
    return dropped
