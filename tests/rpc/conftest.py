"""Fixtures: a real server in this process, on a real store, called over a real channel."""

import itertools
from collections.abc import Iterator

import pytest

from rampd_server import testing
from rampd_server.listeners import Listening
from tests.servers import Stubs, short_directory, stubs
from tests.stores import VALKEY, StoreServer, store_server

_namespaces = itertools.count(1)


@pytest.fixture(scope="session")
def store_process() -> Iterator[StoreServer]:
    with store_server(VALKEY) as running:
        yield running


@pytest.fixture
def namespace() -> str:
    return f"t{next(_namespaces)}"


@pytest.fixture
def listening(store_process: StoreServer, namespace: str) -> Iterator[Listening]:
    with (
        short_directory() as directory,
        testing.listening(directory, store_process.url, namespace=namespace, http="127.0.0.1:0") as found,
    ):
        yield found


@pytest.fixture
def target(listening: Listening) -> str:
    return str(listening.grpc)


@pytest.fixture
def url(listening: Listening) -> str:
    return f"http://{listening.http}"


@pytest.fixture
def call(target: str) -> Iterator[Stubs]:
    with stubs(target) as made:
        yield made


@pytest.fixture
def second(store_process: StoreServer, namespace: str, target: str) -> Iterator[Stubs]:
    """Starts another server on the namespace of `target`, and gives its stubs."""
    with (
        short_directory() as directory,
        testing.run(directory, store_process.url, namespace=namespace) as running,
        stubs(running) as made,
    ):
        yield made
