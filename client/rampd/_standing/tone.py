"""What a word means to the person who reads it. A terminal and a page give each tone a colour of their own."""

from enum import StrEnum


class Tone(StrEnum):
    """The meaning of a word. The word says it, too: not everybody sees colours."""

    BAD = "bad"
    """Something is wrong, and a person must act."""
    WAITS = "waits"
    """Waits for a person, or stands still."""
    MOVES = "moves"
    """Is being rolled out: next."""
    GOOD = "good"
    """As it should be: current, steady."""
    FAINT = "faint"
    """Less important."""
