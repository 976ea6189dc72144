"""How numbers and durations are written for people. Pure."""

import math
from decimal import Decimal

_DIGITS = 6
_UNITS = (("day", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))


def number(value: float, *others: float) -> str:
    """`1,000,000`: with six digits, or with as many more as tell it from the others, which `exact` writes."""
    if not math.isfinite(value):
        return str(value)
    for digits in range(_DIGITS, 17):
        text = f"{value:.{digits}g}"
        if all(_order(value, other) == _order(float(text), other) for other in others):
            return _plain(text)
    return _plain(repr(float(value)))


def exact(value: float) -> str:
    """`0.05`: all digits that make the number, as somebody typed it."""
    return _plain(repr(float(value))) if math.isfinite(value) else str(value)


def _order(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _plain(text: str) -> str:
    """Without an exponent, where that is short."""
    value = Decimal(text)
    if not value:
        return "0"
    if not 1e-7 <= abs(value) < 1e16:
        return text
    plain = f"{value:,f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def span(duration_ms: int) -> str:
    """`1 h 30 min`: how long something has lasted, in the greatest unit that is not 0 and the next one, rounded down."""
    parts = _parts(duration_ms)[:-1]
    first = next((place for place, (count, _) in enumerate(parts) if count), 0)
    return _joined(parts[first : first + 2])


def whole_span(duration_ms: int) -> str:
    """`1 h 30 min`: how long something is to last, exactly."""
    return _joined(_parts(duration_ms))


def _parts(duration_ms: int) -> list[tuple[int, str]]:
    parts = []
    for unit, unit_ms in _UNITS:
        count, duration_ms = divmod(duration_ms, unit_ms)
        parts.append((count, unit))
    return parts


def _joined(parts: list[tuple[int, str]]) -> str:
    return " ".join(f"{count} {unit}{'s' * (unit == 'day' and count != 1)}" for count, unit in parts if count) or "0 s"
