"""The styles of rich for views, by their meaning."""

from typing import Final

from rampd._standing.tone import Tone

BAD: Final = "bold red"
WAITS: Final = "yellow"
MOVES: Final = "cyan"
GOOD: Final = "green"
FAINT: Final = "dim"
TITLE: Final = "bold"

_STYLES: Final = {Tone.BAD: BAD, Tone.WAITS: WAITS, Tone.MOVES: MOVES, Tone.GOOD: GOOD, Tone.FAINT: FAINT}


def style_of(tone: Tone) -> str:
    """Returns the style for what has a tone."""
    return _STYLES[tone]
