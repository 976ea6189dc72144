"""Cells under each other."""

from collections.abc import Callable, Collection, Sequence

from rich.text import Text

GAP = 2


def total(widths: Sequence[int], gap: int = GAP) -> int:
    """Returns the width of a line with such columns. A column without text takes no place."""
    shown = [width for width in widths if width]
    return sum(shown) + gap * max(len(shown) - 1, 0)


def widest(fits: Callable[[int], bool], least: int, most: int) -> int | None:
    """Returns the largest size, from `least` to `most`, that fits. None if none does."""
    return next((size for size in range(most, least - 1, -1) if fits(size)), None)


def aligned(rows: Sequence[Sequence[Text]], *, right: Collection[int] = (), gap: int = GAP) -> list[Text]:
    """Returns a line for each row, with its cells under each other. `right` are the columns that end under each other."""
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    return [_line(row, widths, right, gap) for row in rows]


def _line(row: Sequence[Text], widths: Sequence[int], right: Collection[int], gap: int) -> Text:
    line = Text(no_wrap=True, overflow="ignore", end="\n")
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        if not width:
            continue
        if line.plain:
            line.append(" " * gap)
        space = " " * (width - cell.cell_len)
        if number in right:
            line.append(space)
        line.append_text(cell)
        if number not in right:
            line.append(space)
    line.rstrip()
    return line
