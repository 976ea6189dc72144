"""The results of benchmarks: rows, as a table for people and as JSON for programs."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and the quartiles of several rounds."""

    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))

    def text(self, unit: str) -> str:
        if self.lower == self.upper:
            return f"{_short(self.median)} {unit}".rstrip()
        return f"{_short(self.median)} {unit} ({_short(self.lower)} to {_short(self.upper)})".replace("  ", " ")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `target` describes the target, and `is_met` says whether it is met. A figure without a target has neither."""

    name: str
    value: Spread
    unit: str = ""
    target: str = ""
    is_met: bool | None = None


def at_most(name: str, values: Sequence[float], unit: str, limit: float) -> Row:
    """Makes a figure whose median must be at most `limit`."""
    value = Spread.of(values)
    return Row(name, value, unit, f"at most {_short(limit)}", value.median <= limit)


def at_least(name: str, values: Sequence[float], unit: str, limit: float) -> Row:
    """Makes a figure whose median must be at least `limit`."""
    value = Spread.of(values)
    return Row(name, value, unit, f"at least {_short(limit)}", value.median >= limit)


def plain(name: str, values: Sequence[float], unit: str) -> Row:
    """Makes a figure without a target."""
    return Row(name, Spread.of(values), unit)


def table(results: dict[str, list[Row]]) -> str:
    """Returns all rows as text, with a heading for each benchmark."""
    rows = [row for found in results.values() for row in found]
    widths = [max(map(len, column), default=0) for column in zip(*map(_cells, rows), strict=True)]
    lines = []
    for name, found in results.items():
        lines.append(f"\n{name}")
        lines += ["  " + "  ".join(map(str.ljust, _cells(row), widths)) for row in found]
    return "\n".join(line.rstrip() for line in lines).lstrip()


def write_json(results: dict[str, list[Row]], path: Path) -> None:
    """Writes the same figures, unrounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: list(map(asdict, rows)) for name, rows in results.items()}, indent=1) + "\n")


def _cells(row: Row) -> tuple[str, str, str, str]:
    verdict = "" if row.is_met is None else "met" if row.is_met else "MISSED"
    return row.name, row.value.text(row.unit), row.target, verdict


def _short(number: float) -> str:
    if number and abs(number) < 10:
        return f"{number:.3g}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
