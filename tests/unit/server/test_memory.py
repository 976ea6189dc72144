"""Memory that a process gives back. In a process of its own, because the memory of a test's process depends on the tests before it."""

import ctypes
import subprocess
import sys

import pytest

# The C library gives back only what lies at the end of its memory. So one small value at the end keeps all of it.
_FREES = """
import os
from pathlib import Path
from rampd_server.process import memory

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

freed = [bytes(1_000) for _ in range(64_000)]
at_the_end = bytes(1_000)
del freed
before = resident()
memory.give_back()
print(before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps no memory to give back")
def test_freed_memory_is_given_back_to_the_system() -> None:
    """Given 64 MB that were freed below a value that stays, expect that most of them go back."""
    given_back = subprocess.run([sys.executable, "-c", _FREES], check=True, capture_output=True, text=True, timeout=60)
    assert int(given_back.stdout) > 32_000_000
