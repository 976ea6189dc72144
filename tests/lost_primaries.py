"""Several stores that belong together, of which a test may lose the primary: fixtures and checks for each way to run Redis."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.nights import by_day
from tests.servers import rampd_server, short_directory
from tests.stores import REDIS, VALKEY
from tests.topologies import Process
from tests.waiting import eventually_async

Make = Callable[[str, Path], AbstractContextManager[Any]]
"""Starts the stores: of a kind, in a folder."""
KINDS = by_day([REDIS, VALKEY], 1)


def mortal(make: Make) -> Any:
    """Returns a fixture: stores of the test's own, because one of them is lost."""

    @pytest.fixture(params=KINDS)
    def found(request: pytest.FixtureRequest) -> Iterator[Any]:
        with short_directory() as folder, make(request.param, folder) as made:
            yield made

    return found


def lasting(make: Make) -> Any:
    """Returns a fixture: stores for all tests of a file that lose none of them."""

    @pytest.fixture(scope="module")
    def found() -> Iterator[Any]:
        with short_directory() as folder, make(REDIS, folder) as made:
            yield made

    return found


def require_refused(directory: Path, url: str, words: str, secret: str) -> None:
    """Fails unless a server on a wrong URL ends its start with a sentence that has the words, and not the secret."""
    with rampd_server(directory, "--namespace", "refused", RAMPD_REDIS_URL=url) as server:
        assert server.process.wait(60) == 2
        server.stop()
    text = " ".join(server.raw)
    assert words in text
    assert secret not in text


async def require_followed(url: str, primary: Process) -> None:
    """Fails unless a store goes on with the next primary after this one is killed."""
    store = RedisStore(Link.connect(url, deadline_s=10.0))
    store.set_epoch(await store.begin_epoch(adopted=False))
    assert await store.head()
    primary.signal(signal.SIGKILL)

    async def is_writable() -> bool:
        with contextlib.suppress(StoreUnavailableError):
            return bool(await store.begin_epoch(adopted=True))
        return False

    await eventually_async(is_writable)
    assert store.link.clients.primary_changes.value == 1
    await store.close()
