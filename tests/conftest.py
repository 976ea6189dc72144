"""Settings and fixtures of all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import short_directory

# The time that an example takes depends more on the machine and its load than on the code.
settings.register_profile("any machine", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Programs that tests start must run as on a user's machine. With PYTHONUNBUFFERED, a program that never flushes its output
# passes the tests and fails at the user's. With PYTHONDONTWRITEBYTECODE, each one compiles all its modules again.
for variable in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(variable, None)
# A shell starts what runs in the background without Ctrl-C, and every program inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fast-listener", action="store_true", help="run tests/rpc with its calls over the fast listener (h2corn)"
    )


@pytest.fixture
def directory() -> Iterator[Path]:
    """A new folder for this test. Its path is short enough for a unix socket."""
    with short_directory() as path:
        yield path
