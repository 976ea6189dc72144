"""Memory that is free and that the C library keeps for later."""

import ctypes


def give_back() -> None:
    """Gives it back to the system, where the C library can. Takes a while, and may be called by any thread."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
