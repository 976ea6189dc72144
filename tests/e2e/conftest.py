"""Fixtures of the tests with real processes."""

from collections.abc import Iterator

import pytest

from tests.stores import REDIS, VALKEY, StoreServer, store_server


@pytest.fixture(params=[VALKEY, REDIS])
def store(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with store_server(request.param) as running:
        yield running
