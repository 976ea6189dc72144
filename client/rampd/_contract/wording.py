"""How to write numbers, durations and foreign texts for people. Pure."""

import math
from decimal import Decimal
from fractions import Fraction

_DIGITS = 6
_DIGITS_OF_EVIDENCE = 3
_BILLION = 1_000_000_000
MISLEADING = "".join(
    map(
        chr,
        (
            *(*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029),
            *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
        ),
    )
)
"""Characters that make a text look like another text, or like several lines: control characters, and the characters of
Unicode that end a line or set the direction of reading.
"""
# All of them are valid escapes in JSON too, so that a JSON document stays valid.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in MISLEADING} | {
    ord("\t"): r"\t",
    ord("\n"): r"\n",
    ord("\r"): r"\r",
}
_UNITS = (("day", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))


def one_line(text: str, *, keep: str = "") -> str:
    r"""Returns a text of another person for a sentence or a log line. Line ends become `\n`, characters that set the direction
    of reading become escapes such as `\u202e`. Characters in `keep` stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.translate(
        {code: escape for code, escape in _ESCAPES.items() if chr(code) not in keep} if keep else _ESCAPES
    )


def inside(text: str) -> str:
    """Returns a text for the inside of a sentence: without the full stop at its end."""
    return text.rstrip(" .")


def number(value: float, *others: float) -> str:
    """Writes `1,000,000`: with six digits, or with more if the six digits do not tell it from the others."""
    if not math.isfinite(value):
        return str(value)
    for digits in range(_DIGITS, 17):
        text = f"{value:.{digits}g}"
        if all(_order(value, other) == _order(float(text), other) for other in others):
            return _plain(text)
    return _plain(repr(float(value)))


def exact(value: float) -> str:
    """Writes `0.05`: with all digits, as a person typed it."""
    return _plain(repr(float(value))) if math.isfinite(value) else str(value)


def evidence(e: Fraction | float, limit: Fraction | float) -> tuple[str, str]:
    """Returns E and its limit: `1,350` and `100`. E has three digits, or more if these do not tell it from its limit. Over a billion
    and under 0.1, its exact size does not matter.
    """
    if not math.isfinite(limit):
        return str(e), str(limit)
    limit = Fraction(limit)
    least = max(_decimals_of_evidence(limit), 0)
    if e >= _BILLION:
        return "over a billion", short(limit, least)
    if not e >= Fraction(1, 10):
        return "under 0.1", short(limit, least)
    exactly = Fraction(e)
    decimals = _decimals_of_evidence(exactly)
    while _order(round(exactly, decimals), round(limit, max(decimals, least))) != _order(exactly, limit):
        decimals += 1
    return short(round(exactly, decimals), max(decimals, 0)), short(limit, max(decimals, least))


def _decimals_of_evidence(value: Fraction) -> int:
    return _DIGITS_OF_EVIDENCE - (len(str(int(value))) if value >= 1 else 0)


def fixed(value: Fraction, decimals: int) -> str:
    """Writes `1,000.50`: with so many decimals."""
    whole, part = divmod(round(value * 10**decimals), 10**decimals)
    return f"{whole:,}.{part:0{decimals}d}" if decimals else f"{whole:,}"


def short(value: Fraction, decimals: int) -> str:
    """Writes `1,000.5`: with at most so many decimals."""
    text = fixed(value, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def _order(one: Fraction | float, other: Fraction | float) -> int:
    return (one > other) - (one < other)


def _plain(text: str) -> str:
    """Writes a number without an exponent, if that is short."""
    value = Decimal(text)
    if not value:
        return "0"
    if not 1e-7 <= abs(value) < 1e16:
        return text
    plain = f"{value:,f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def counted(count: int, noun: str) -> str:
    """Writes `1 component` or `1,000 components`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def span(duration_ms: int) -> str:
    """Writes `1 h 30 min`: how long something has lasted, in its largest unit and the next one, rounded down."""
    parts = _parts(duration_ms)[:-1]
    first = next((place for place, (count, _) in enumerate(parts) if count), 0)
    return _joined(parts[first : first + 2])


def whole_span(duration_ms: int) -> str:
    """Writes `1 h 30 min`: how long something will last, exactly."""
    return _joined(_parts(duration_ms))


def _parts(duration_ms: int) -> list[tuple[int, str]]:
    parts = []
    for unit, unit_ms in _UNITS:
        count, duration_ms = divmod(duration_ms, unit_ms)
        parts.append((count, unit))
    return parts


def _joined(parts: list[tuple[int, str]]) -> str:
    return " ".join(f"{count} {unit}{'s' * (unit == 'day' and count != 1)}" for count, unit in parts if count) or "0 s"
