"""How numbers and people's texts are written in a sentence. A number is as short as possible, but two different numbers
never look the same.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction

from rampd._contract.wording import counted, exact, fixed, inside, number, one_line, short, span, whole_span
from rampd._contract.wording import evidence as _of_evidence

__all__ = [
    "against_bounds",
    "apart",
    "bounds",
    "counted",
    "ended",
    "evidence",
    "exact",
    "inside",
    "moment",
    "one_line",
    "percent",
    "rates",
    "share",
    "span",
    "whole_span",
]

_FAR = 50.0
"""A limit is between 2 and a million. e to the power of this number is over a billion times the limit."""


def percent(basis_points: int) -> str:
    """`12.5 %`."""
    return f"{basis_points / 100:g} %"


def rates(*counts: tuple[int, int], limit: float | None = None) -> list[str]:
    """`14 of 1,600 (0.9 %)` for each (part, whole). Different rates, and the limit (a fraction of 1), look different."""
    shares = [Fraction(100 * part, whole) for part, whole in counts if whole]
    decimals = _decimals([*shares, *([100 * Fraction(repr(limit))] if limit is not None else [])], least=1)
    return [
        f"{part:,} of {whole:,} ({fixed(Fraction(100 * part, whole), decimals)} %)" if whole else "none"
        for part, whole in counts
    ]


def apart(one: Fraction, other: Fraction, *, decimals: int = 0) -> tuple[str, str]:
    """Returns two numbers as texts. Both have `decimals`, or more if they would look the same; the second has no zeros at its end."""
    decimals = _decimals([one, other], least=decimals)
    return fixed(one, decimals), short(other, decimals)


def ended(text: str) -> str:
    """Returns a person's text as a sentence: with a full stop if it has none."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def bounds(least: float | None, most: float | None) -> str:
    """`at most 1.5`."""
    if least is not None and most is not None:
        return f"{exact(least)} to {exact(most)}"
    return f"at least {exact(least)}" if least is not None else f"at most {exact(most or 0)}"


def against_bounds(value: float, least: float | None, most: float | None) -> str:
    """Returns a value with enough digits to see whether it is above or below each bound."""
    return number(value, *(bound for bound in (least, most) if bound is not None))


def share(fraction: float) -> str:
    """`7 %` of 0.07, exactly."""
    return f"{(Decimal(repr(float(fraction))) * 100).normalize():f} %"


def evidence(log_over_limit: float, limit: Fraction) -> tuple[str, str]:
    """Returns E and its limit: `1,350` and `100`. `log_over_limit` is the natural logarithm of E minus that of the limit; the
    guards compare this difference with 0.
    """
    if log_over_limit > _FAR or log_over_limit < -_FAR:
        return _of_evidence(math.copysign(math.inf, log_over_limit), limit)
    with localcontext() as context:
        # Logarithms that differ in their last digit have to look different.
        context.prec = 50
        return _of_evidence(limit * Fraction(Decimal(log_over_limit).exp()), limit)


def _decimals(numbers: Sequence[Fraction], *, least: int) -> int:
    decimals = least
    while len({fixed(number, decimals) for number in numbers}) < len(set(numbers)):
        decimals += 1
    return decimals


def moment(time_ms: int) -> str:
    """`2023-11-14 22:13:20 UTC`."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
