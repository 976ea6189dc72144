"""What a process does with its memory: gives free memory back that the C library keeps, and spares what stays from garbage collection."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

_NEVER: Final = 1_000_000_000
_LOOKS_EACH: Final = 100
"""In each so many blocks that have brought much, all is looked at, which stops the event loop for some 100 ms."""

_blocks = count(1)


def give_back() -> None:
    """Gives free memory back to the system, if the C library can do that. Takes a while; any thread may call it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def settle() -> None:
    """Spares all that is in memory now from every later garbage collection, because it stays as long as the process. Otherwise each one
    stops the event loop for some 100 ms with a thousand components, and answers with many components cause them.
    """
    gc.freeze()


@contextmanager
def growing() -> Iterator[None]:
    """A block that brings much into memory to stay. Within it, garbage collection looks only at new objects, because each look at all
    of them would stop the event loop, and find nothing. If so much has come by the end that a look at all is due, all is spared in
    place of that, as by `settle`. After an error nothing is spared, because most of what came is garbage.

    What is spared and becomes garbage later stays in memory, if nothing but garbage collection frees it. That is little: some 100 KB
    of calls and streams that were under way. So that it does not add up, all is looked at once in many blocks.
    """
    young, middle, old = before = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    try:
        yield
        if gc.get_count()[2] > old:
            if next(_blocks) % _LOOKS_EACH == 0:
                gc.unfreeze()
                gc.collect()
            else:
                # Most garbage is among new objects.
                gc.collect(1)
            settle()
    finally:
        gc.set_threshold(*before)
