"""Percents and failure rates, as people read them."""

from rampd._contract.wording import exact


def percent(value: float) -> str:
    """Writes `12.5 %`: exactly, as the API gives it."""
    return f"{exact(value)} %"


def failure_rate(failures: int, jobs: int) -> str:
    """Writes `3.5 %`; `-` if there are no jobs. A rate over 0 never reads as 0, and one under 100 never as 100."""
    if not jobs:
        return "-"
    rate = 100 * failures / jobs
    if 0 < rate < 0.1:
        return "<0.1 %"
    if 99.9 < rate < 100:
        return ">99.9 %"
    return f"{rate:.0f} %" if rate in {0, 100} else f"{rate:.1f} %"


def failed(failures: int, jobs: int) -> str:
    """Writes `12 of 340 failed (3.5 %)`; `no jobs` if there are none."""
    if not jobs:
        return "no jobs"
    return f"{failures:,} of {jobs:,} failed ({failure_rate(failures, jobs)})"
