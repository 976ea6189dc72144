"""The components that a grant is for. Pure."""

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Final

EVERY_COMPONENT: Final = ("*",)


def matcher(globs: Iterable[str]) -> Callable[[str], object]:
    """What says of a name whether one of the globs matches it. `*` stands for any characters."""
    # A pattern of fnmatch takes no exponential time, however many stars there are.
    return re.compile("|".join(map(fnmatch.translate, globs))).fullmatch
