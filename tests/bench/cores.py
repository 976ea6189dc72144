"""Which core runs what: the server has one core for itself, and everything else runs on the other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_CORES = sorted(os.sched_getaffinity(0))
SERVER = {_CORES[0]}
LOAD = {_CORES[-1]}
ALL = set(_CORES)


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """Runs the block, and all that this thread starts in it, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
