"""What holds for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import short_directory

# How long an example takes says more about the machine, and what else it does, than about the code.
settings.register_profile("any machine", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What tests start runs as on a user's machine: with this set, a program that never flushes its output passes here alone.
os.environ.pop("PYTHONUNBUFFERED", None)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder of the test's own, with a path that is short enough for a socket."""
    with short_directory() as path:
        yield path
