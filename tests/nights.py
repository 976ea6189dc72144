"""What only `make nightly` tests: more of the same, which takes long and finds what the day would find a little later."""

import os
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

_Value = TypeVar("_Value")

IS_NIGHT: Final = os.environ.get("RAMPD_NIGHTLY") == "1"


def by_day(values: Iterable[_Value], number: int) -> Sequence[_Value]:
    """Returns the first of several values, and at night all."""
    found = list(values)
    return found if IS_NIGHT else found[:number]
