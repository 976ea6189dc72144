"""Draws harmed jobs as a bar chart, in SVG."""

from collections.abc import Sequence
from html import escape
from math import log10

WIDTH, LEFT, TOP, BAR, GAP, DECADE = 760, 190, 40, 16, 26, 135
COLOURS = ("#1a7f5a", "#8a8f98", "#b9bec6", "#5d636d", "#d3a24c")
STYLE = "text{font:13px sans-serif;fill:#222}.value{font-size:11px}line{stroke:#ddd}"


def bars(title: str, groups: Sequence[str], series: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """Draws `values[group][series]` on a logarithmic scale that begins at 1."""
    height = TOP + len(groups) * (len(series) * BAR + GAP) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 20, title),
    ]
    for power in range(4):
        x = LEFT + power * DECADE
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 50}"/>')
        parts.append(_text(x, height - 34, f"{10**power:,}", anchor="middle"))
    y = TOP
    for group, row in zip(groups, values, strict=True):
        parts.append(_text(LEFT - 10, y + len(series) * BAR / 2 + 4, group, anchor="end"))
        for value, colour in zip(row, COLOURS, strict=False):
            width = DECADE * log10(max(value, 1.02))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 3}" fill="{colour}"/>')
            parts.append(_text(LEFT + width + 5, y + 11, f"{value:,.0f}", style="value"))
            y += BAR
        y += GAP
    for place, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        x = 20 + place * (WIDTH - 40) / len(series)
        parts.append(f'<rect x="{x:.0f}" y="{height - 20}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 17, height - 9, name))
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, *, anchor: str = "start", style: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{style}">{escape(text)}</text>'
