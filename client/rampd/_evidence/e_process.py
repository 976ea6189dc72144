"""The label e-process: how strongly failures, counted by channel, say that next fails more often than current.

After Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022, arXiv 2011.03567. If next
is no worse, a failure is next's with probability at most pi, the weight when its job was resolved, whatever the rate of
failures is at that time. So for failure i, with g_i = 1 where it ran next, and an alternative rho ("rho times as bad"):

    L_i(rho) = rho^g_i / (1 - pi_i + pi_i * rho)
    E        = mean over rho of the product over i of L_i(rho) / L_i(tolerance)

is, while next is no worse than `tolerance` times current, a non-negative supermartingale that begins at 1. By Ville's
inequality it ever reaches 1/alpha with probability at most alpha, however often one looks, and however weights and the
rate of failures change.
"""

import math
from collections.abc import Mapping, Sequence

from rampd._decision.bucketing import BUCKETS
from rampd._evidence.counters import Split

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""The alternatives: how many times as bad next may be."""


def log_evidence(counts: Mapping[int, Split], *, ratios: Sequence[float] = RATIOS, tolerance: float = 1.0) -> float:
    """The natural logarithm of E. `counts`: by basis points when resolved.

    Alternatives up to the tolerance are left out: divided by the expression at a greater ratio, they would grow if next
    is *better*. Counts at 0 % and at 100 % say nothing, because there is nothing to compare with.
    """
    alternatives = [ratio for ratio in ratios if tolerance == 1 or ratio > tolerance]
    tolerated = log_likelihood(counts, tolerance)
    return log_mean([log_likelihood(counts, ratio) - tolerated for ratio in alternatives])


def log_likelihood(counts: Mapping[int, Split], ratio: float) -> float:
    """The logarithm of the product of L_i(ratio) over everything counted. The order of weights does not matter."""
    # fsum rounds once, at the end: servers that list weights in different orders find the same number.
    log_ratio = math.log(ratio)
    return math.fsum(
        part
        for weight, split in counts.items()
        if 0 < weight < BUCKETS
        for part in (split.next * log_ratio, -split.total * math.log1p(weight / BUCKETS * (ratio - 1)))
    )


def log_mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of numbers that are given by their logarithms."""
    greatest = max(logs)
    return greatest + math.log(math.fsum(math.exp(log - greatest) for log in logs) / len(logs))


def log_limit(alpha: float) -> float:
    """The logarithm of 1/alpha: E at or over it is an alarm."""
    return -math.log(alpha)


def to_odds(log: float) -> float:
    """E itself, for show; cut at 1e300."""
    return math.exp(min(log, 690.0))
