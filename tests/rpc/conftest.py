"""Fixtures: a real server in this process, on a real store, called over a real channel."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest

from rampd._decision import staleness
from rampd_server import testing
from rampd_server.access.peers import PeerRates
from rampd_server.access.quotas import Rate
from rampd_server.listeners import Listening
from rampd_server.replica.replica import Replica
from rampd_server.rpc import refused_calls
from tests.patient_clients import make_clients_patient
from tests.rpc import fast_listener
from tests.servers import Stubs, short_directory, stubs
from tests.stores import VALKEY, StoreServer, store_server
from tests.waiting import PATIENCE_S

_namespaces = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast-listener"):
        fast_listener.install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast-listener"):
        fast_listener.skip_different(items)


@pytest.fixture(autouse=True)
def _patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    make_clients_patient(monkeypatch)


@pytest.fixture(autouse=True)
def _no_flood_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that were refused in the tests before are no flood: it would change the next refusals of this process."""
    monkeypatch.setattr(refused_calls, "_at_once", Rate(refused_calls._AT_ONCE_PER_S, refused_calls._AT_ONCE_BURST))
    of_peers = PeerRates(refused_calls._OF_PEER_PER_S, refused_calls._OF_PEER_BURST)
    monkeypatch.setattr(refused_calls, "_at_once_of", of_peers)
    monkeypatch.setattr(refused_calls, "_flooded_until_s", 0.0)


def catch_up_within(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Lets clients and servers wait so long for a revision that is not there yet."""
    of_servers = ("rampd_server.rpc.resolver", "rampd_server.service.outcome_intake")
    for module in ("rampd.resolver", "rampd.aio", *of_servers):
        monkeypatch.setattr(f"{module}.CATCH_UP_S", seconds)
    defaults: Any = Replica.wait_for.__kwdefaults__
    monkeypatch.setitem(defaults, "timeout_s", seconds)


@pytest.fixture
def catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that comes is waited for, also on a busy machine."""
    catch_up_within(monkeypatch, PATIENCE_S)


@pytest.fixture
def never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for seconds makes no answer stale."""
    monkeypatch.setattr(staleness, "STALE_AFTER_S", math.inf)


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
