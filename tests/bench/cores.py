"""Which core does what: the server has one for itself, all else is on the other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_CORES = sorted(os.sched_getaffinity(0))
SERVER = {_CORES[0]}
LOAD = {_CORES[-1]}
ALL = set(_CORES)


@contextmanager
def on(cores: set[int]) -> Iterator[None]:
    """What is started in the block, by this thread, runs on these cores, and so does the block itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
