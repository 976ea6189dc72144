"""What a process does with its memory: what it gives back, and what garbage collection does while much comes to stay."""

import ctypes
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from rampd_server.process import memory
from rampd_server.process.memory import growing

# It runs in a process of its own, because the memory of a test's process depends on the tests before it. The C library gives back by
# itself only what lies at the end of its memory, so one small value there keeps all of it.
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
_MUCH = 200_000


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    gc.unfreeze()
    gc.collect()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Ring:
    """Garbage that only garbage collection frees."""

    def __init__(self) -> None:
        self.itself = self


def looks_at_all() -> int:
    return int(gc.get_stats()[2]["collections"])


def test_what_comes_to_stay_is_not_looked_at_again_and_again_and_is_spared_at_the_end() -> None:
    spared = gc.get_freeze_count()
    with growing():
        looks = looks_at_all()
        stays = [[number] for number in range(_MUCH)]
        assert looks_at_all() == looks
    assert gc.get_freeze_count() - spared >= len(stays)
    assert gc.get_threshold() == (700, 10, 10)


def test_if_little_comes_nothing_is_spared() -> None:
    spared = gc.get_freeze_count()
    with growing():
        stays = [[number] for number in range(1_000)]
    assert gc.get_freeze_count() == spared
    assert gc.get_threshold() == (700, 10, 10)
    assert len(stays) == 1_000


def test_new_garbage_is_freed_and_not_spared() -> None:
    with growing():
        stays = [[number] for number in range(_MUCH)]
        ring = Ring()
        lives = weakref.ref(ring)
        del ring
    assert lives() is None
    assert len(stays) == _MUCH


def test_what_becomes_garbage_after_it_was_spared_does_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given many blocks, each with something that only garbage collection frees, expect that those of the last few may stay."""
    monkeypatch.setattr(memory, "_LOOKS_EACH", 5)
    lives = []
    for _ in range(10):
        with growing():
            stays = [[number] for number in range(_MUCH)]
            ring = Ring()
        lives.append(weakref.ref(ring))
        del ring
    assert sum(each() is not None for each in lives) <= 5
    assert len(stays) == _MUCH


def test_after_an_error_garbage_is_looked_for_as_before() -> None:
    with pytest.raises(ZeroDivisionError), growing():
        raise ZeroDivisionError
    assert gc.get_threshold() == (700, 10, 10)


def test_what_came_before_an_error_is_not_spared() -> None:
    spared = gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError), growing():
        _ = [[1 // number] for number in range(_MUCH, -1, -1)]
    assert gc.get_freeze_count() == spared


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps no memory to give back")
def test_freed_memory_is_given_back_to_the_system() -> None:
    """Given 64 MB that were freed below a value that stays, expect that most of them go back."""
    given_back = subprocess.run([sys.executable, "-c", _FREES], check=True, capture_output=True, text=True, timeout=60)
    assert int(given_back.stdout) > 32_000_000
