"""Fixtures of the tests with real processes."""

import shutil
from collections.abc import Iterator

import pytest

from tests.nights import IS_NIGHT, by_day
from tests.stores import REDIS, VALKEY, StoreServer, store_server

# They build clients of other languages, which takes minutes.
collect_ignore = [] if IS_NIGHT else ["test_fast_clients.py"]
KINDS = [REDIS, VALKEY] if shutil.which("redis-server") else [VALKEY, REDIS]


@pytest.fixture(params=by_day(KINDS, 1))
def store(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    """By day, Redis if it is installed, because the embedded store of most tests is Valkey."""
    with store_server(request.param) as running:
        yield running
