"""The assignment check: did as many units run next as the weights say?

The label e-process on first outcomes, whatever came of them, and in both directions. Where reports of one channel get
lost, or a client draws buckets in its own way, the relative guard compares what can't be compared; this says so.
"""

from collections.abc import Mapping

from rampd_server.domain.evidence import e_process
from rampd_server.domain.evidence.counters import Split

ALPHA = 0.001
RATIOS = (1 / 5, 1 / 2, 1 / 1.5, 1.5, 2.0, 5.0)
"""How many times as many of next, for each of current, as the weights say."""


def log_evidence(counts: Mapping[int, Split]) -> float:
    """The natural logarithm of E. `counts`: first outcomes by basis points when resolved."""
    return e_process.log_evidence(counts, ratios=RATIOS)
