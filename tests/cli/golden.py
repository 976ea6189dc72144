"""Views as they look: the lines that a terminal gets, compared with a file in tests/cli/golden/.

After a wanted change, `RAMPD_GOLDEN=write pytest tests/cli` writes the files again. Read the difference before you commit it.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rampd_cli.drawing.screen import print_lines

FOLDER = Path(__file__).parent / "golden"


def printed(lines: Sequence[Text], width: int) -> str:
    """Returns what a terminal without colours shows."""
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False)
    print_lines(console, lines)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def assert_golden(name: str, text: str) -> None:
    """Fails if a view does not look as in its file."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("RAMPD_GOLDEN") == "write":
        path.write_text(text)
    assert path.exists(), f"{path} is missing: RAMPD_GOLDEN=write pytest {Path(__file__).parent}"
    assert text == path.read_text()
