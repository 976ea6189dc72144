"""The absolute guard: does next fail more often than the policy allows, whatever current does?

A one-sample e-process on first outcomes of next against the highest allowed rate p0:

    E = mean over p in {1.5, 2, 3, 5} * p0 and 0.9 of (p / p0)^failures * ((1 - p) / (1 - p0))^successes

It needs no control group, so it also works at 100 %. It can't distinguish an outage for everybody from a bad release.
"""

import math

from rampd._evidence.e_process import log_mean

ALPHA = 0.005
FACTORS = (1.5, 2.0, 3.0, 5.0)
GREATEST = 0.9


def log_evidence(failures: int, outcomes: int, max_failure_rate: float) -> float:
    """The natural logarithm of E for `failures` among `outcomes`. `max_failure_rate`: over 0, under 0.9."""
    successes = outcomes - failures
    return log_mean(
        [
            failures * math.log(rate / max_failure_rate)
            + successes * (math.log1p(-rate) - math.log1p(-max_failure_rate))
            for rate in alternatives(max_failure_rate)
        ]
    )


def alternatives(max_failure_rate: float) -> list[float]:
    """Returns the alternatives: the rates of the formula that are over p0 and at most 0.9, each once."""
    rates = {factor * max_failure_rate for factor in FACTORS} | {GREATEST}
    return sorted(rate for rate in rates if max_failure_rate < rate <= GREATEST)
