"""How many servers are connected to a store, by its CLIENT LIST."""

import asyncio
import contextlib

import pytest
from redis import exceptions

from rampd_server.storage.followers import count_servers, name_of_server
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.stores import StoreServer
from tests.waiting import PATIENCE_S, eventually_async


async def test_servers_are_counted_by_namespace_and_database_and_not_by_connections(
    real_server: StoreServer, namespace: str
) -> None:
    url, other = real_server.url, f"{namespace}-other"
    async with contextlib.AsyncExitStack() as stack:

        def connected(url: str, namespace: str, name: str = "") -> RedisStore:
            store = RedisStore(Link.connect(url, namespace=namespace, name=name, deadline_s=PATIENCE_S))
            stack.push_async_callback(store.close)
            return store

        asking = connected(url, namespace)
        first, *others = (connected(url, each, name_of_server(each)) for each in (namespace, namespace, other))
        elsewhere = connected(f"{url}?db=1", namespace, name_of_server(namespace))
        for store in (first, *others, elsewhere):
            assert await store.head() is None
            await store.feed("0-0", block_ms=0)

        assert await count_servers(asking.link) == 2
        assert await count_servers(elsewhere.link) == 1
        assert await count_servers(connected(url, f"{namespace}-none").link) == 0
        await first.close()

        async def is_one() -> bool:
            return await count_servers(asking.link) == 1

        # Redis notices the end of a connection in its own time.
        await eventually_async(is_one)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.NoPermissionError("this user has no permissions to run the 'client|list' command"),
        exceptions.ConnectionError("the link was cut"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
        EOFError(),
        ConnectionResetError("reset by peer"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_to_count_servers_is_no_failure_of_the_caller(
    server: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Given a link that fails after `adopt` has written the new epoch, expect an unknown number and no error."""
    store = server.store(namespace)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    monkeypatch.setattr(store.client, "client_list", fail)
    assert await count_servers(store.link) is None
    await store.close()
