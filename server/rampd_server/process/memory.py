"""What a process does with its memory: gives free memory back that the C library keeps, and spares what stays from garbage collection."""

import ctypes
import gc


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
