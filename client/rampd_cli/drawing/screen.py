"""The place where a view is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


@dataclass(frozen=True, slots=True)
class Screen:
    """The size of the place, and what it can show."""

    width: int
    height: int | None = None
    """The number of lines after which a view leaves out what matters least. None: it leaves nothing out."""
    is_ascii: bool = False
    """Whether it has no characters for bars."""


def screen_of(console: "Console", height: int | None = None) -> Screen:
    """Returns the place that a console writes to."""
    return Screen(console.width, height, is_ascii=console.options.ascii_only)


def print_lines(console: "Console", lines: "Sequence[Text]") -> None:
    """Writes lines that fit the width already. It does not cut a longer line: the terminal continues it."""
    from rich.text import Text  # noqa: PLC0415 - a module that only names a Screen needs no rich

    console.print(Text("\n").join(lines), no_wrap=True, overflow="ignore", crop=False)
