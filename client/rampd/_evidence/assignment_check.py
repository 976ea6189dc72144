"""The assignment check: did as many units run next as the weights say?

The label e-process on first outcomes, succeeded or failed, in both directions. If reports of one channel get lost, or a
client computes buckets in another way, the relative guard can't compare the channels. This check finds that.
"""

from collections.abc import Mapping

from rampd._evidence import e_process
from rampd._evidence.counters import Split

ALPHA = 0.001
RATIOS = (1 / 5, 1 / 2, 1 / 1.5, 1.5, 2.0, 5.0)
"""The alternatives: the odds of next against current, as multiples of the odds that the weights give."""


def log_evidence(counts: Mapping[int, Split]) -> float:
    """The natural logarithm of E. `counts`: first outcomes by basis points when resolved."""
    return e_process.log_evidence(counts, ratios=RATIOS)
