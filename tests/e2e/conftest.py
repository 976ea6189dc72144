"""Fixtures of the tests with real processes."""

from collections.abc import Iterator

import pytest

from tests.nights import by_day
from tests.stores import REDIS, VALKEY, StoreServer, store_server


@pytest.fixture(params=by_day([REDIS, VALKEY], 1))
def store(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    """By day, Redis: the embedded store of most tests is Valkey."""
    with store_server(request.param) as running:
        yield running
