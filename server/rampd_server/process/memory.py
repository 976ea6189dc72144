"""Gives free memory back that the C library keeps for later."""

import ctypes


def give_back() -> None:
    """Gives free memory back to the system, if the C library can do that. Takes a while; any thread may call it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
