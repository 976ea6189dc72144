"""How numbers are written for people."""

from datetime import UTC, datetime


def percent(basis_points: int) -> str:
    """`12.5 %`."""
    return f"{basis_points / 100:g} %"


def rate(part: int, whole: int) -> str:
    """`14 of 1,600 (0.9 %)`."""
    if not whole:
        return "none"
    return f"{part:,} of {whole:,} ({100 * part / whole:.1f} %)"


def ended(text: str) -> str:
    """A text that somebody gave, as a sentence: with a full stop, where it has none."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def bounds(least: float | None, most: float | None) -> str:
    """`at most 1.5`."""
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    return f"at most {most:g}" if least is None else f"at least {least:g}"


def span(duration_ms: int) -> str:
    """`1 h 30 min`: the two greatest units that are not 0, rounded down."""
    seconds = duration_ms // 1000
    parts = [
        (seconds // 86_400, "d"),
        (seconds // 3_600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "0 s"


def odds(value: float) -> str:
    """`1,354`; small ones with a decimal, great ones cut: nobody needs to know how far over a billion."""
    if value >= 1e9:
        return "over a billion"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else "under 0.1"


def moment(time_ms: int) -> str:
    """`2023-11-14 22:13:20 UTC`."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
