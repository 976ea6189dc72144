"""A share as a bar."""

from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_FULL: Final = "█"
_EMPTY: Final = "░"


def bar(share: float, width: int, *, is_ascii: bool = False) -> str:
    """Returns a bar of `width` characters for a share of 0 to 1. A share over 0 is never empty, and only 1 is full."""
    if width <= 0:
        return ""
    share = min(max(share, 0.0), 1.0) if share == share else 0.0  # noqa: PLR0124 - not a number
    if is_ascii:
        full = _whole(share, width)
        return "#" * full + "-" * (width - full)
    eighths = _whole(share, width * 8)
    full, rest = divmod(eighths, 8)
    return (_FULL * full + (_EIGHTHS[rest] if rest else "")).ljust(width, _EMPTY)


def _whole(share: float, parts: int) -> int:
    """The number of parts that are filled: 0 for nothing, all for everything, and otherwise at least one and not all."""
    if share in {0.0, 1.0}:
        return round(share * parts)
    return min(max(round(share * parts), 1), max(parts - 1, 1))
