"""Limits how much one reporter counts in the relative guard, so that no single reporter can cause a rollback by it.

Once `ENOUGH_REPORTERS` identities have reported in a trial, each counts for at most a third of next's counted failures.
The cap only removes failures of next. That lowers E, so alpha still holds. If everybody shares one credential, there is
one identity and no cap. The absolute guard and the assignment check have no cap: first outcomes are not counted by reporter.
"""

from collections.abc import Mapping, Sequence

from rampd._evidence.counters import Split, TrialCounters

ENOUGH_REPORTERS = 5
SHARE = 3
"""One reporter counts for at most one part in three."""


def counted_failures(counters: TrialCounters) -> Mapping[int, Split]:
    """Returns the first failures by weight, as the relative guard counts them."""
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
    """Returns the greatest m that is at most a third of all failures after every reporter is cut to m.

    If one reporter has more than m, the others together must have at least 2 m. If two have more than m, the others must
    have at least m. If three have more, every m is valid.
    """
    greatest, second, *others = sorted([*failures, 0, 0], reverse=True)
    with_one_over = (second + sum(others)) // (SHARE - 1)
    return min(greatest, with_one_over) if with_one_over >= second else sum(others)


def _excess(by_weight: Mapping[int, int], most: int) -> dict[int, int]:
    """Returns the failures of one reporter over the cap. They are removed where a failure weighs most: at the smallest weights."""
    left = sum(by_weight.values()) - most
    dropped = {}
    for weight in sorted(by_weight):
        dropped[weight] = max(0, min(left, by_weight[weight]))
        left -= dropped[weight]
    return dropped
