"""The colours of views, by their meaning. A colour never says more than the words beside it."""

from typing import Final

BAD: Final = "bold red"
"""Something is wrong, and a person must act."""
WAITS: Final = "yellow"
"""Waits for a person, or stands still."""
MOVES: Final = "cyan"
"""Is being rolled out: next."""
GOOD: Final = "green"
"""As it should be: current, steady."""
FAINT: Final = "dim"
"""Less important."""
TITLE: Final = "bold"
