"""Sentences in lines that fit."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, chop_cells
from rich.text import Text

from rampd_cli.drawing.screen import print_lines

if TYPE_CHECKING:
    from rich.console import Console

LEAST_WIDTH = 10
_GLUE = "\0"
"""Stands for a space that is no place for the end of a line. `one_line` leaves no such character in a text."""
_COMMAND: Final = ": rampd "


def say(console: "Console", text: str, style: str = "") -> None:
    """Writes sentences, such as the answer of a change. A terminal gets lines that fit, a pipe the text as it is. Spaces at the
    beginning of a line indent it.
    """
    if not console.is_terminal:
        console.print(text, soft_wrap=True, style=style)
        return
    for line in text.split("\n"):
        print_lines(console, _fitting(line, console.width, style) or [Text()])


def _fitting(line: str, width: int, style: str) -> list[Text]:
    """A line as lines that fit. The command at its end is not broken, so that a person can copy it."""
    indent = len(line) - len(line.lstrip(" "))
    label, colon, command = line.rpartition(_COMMAND)
    if colon:
        return labelled(f"{label.strip()}:", f"rampd {command}", width, indent=indent)
    return paragraph(line, width, indent=indent, style=style)


def paragraph(text: str, width: int, *, indent: int = 0, style: str = "") -> list[Text]:
    """Returns a text as lines of at most `width` characters that begin with `indent` spaces. The text is one line: `one_line`
    has made it so.
    """
    return [Text(" " * indent).append(line, style) for line in wrapped(text, width - indent)]


def labelled(label: str, text: str, width: int, *, indent: int = 0, style: str = "") -> list[Text]:
    """Returns a label and a text that must not be broken, such as a command: in one line, or in two if that is too long."""
    line = Text(" " * indent + f"{label} ", no_wrap=True).append(text, style)
    if line.cell_len <= width:
        return [line]
    return [*paragraph(label, width, indent=indent), Text(" " * (indent + 2), no_wrap=True).append(text, style)]


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yields the lines of a text, broken between words. A word that is too long is broken where the line ends."""
    width = max(width, LEAST_WIDTH)
    line = ""
    for word in _words(text):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *full, line = chop_cells(word, width)
        yield from full
    if line:
        yield line


def _words(text: str) -> list[str]:
    """The words of a text. A percent sign stays with its number."""
    return [word.replace(_GLUE, " ") for word in text.replace(" %", f"{_GLUE}%").split()]
