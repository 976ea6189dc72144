"""`pytest tests/rpc --fast-listener`: the same tests, and their calls go over the fast listener.

The first address of each server is that of the fast listener then, and grpcio listens on another one. `DIFFERENT` are the tests that
are about grpcio itself, each with what the fast listener does in its place.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from rampd_server import testing
from rampd_server.fast.server import FastServer
from rampd_server.listeners import Listening
from rampd_server.process.address import Address
from rampd_server.process.config import _addresses
from rampd_server.rpc import server as server_module
from rampd_server.rpc.server import Server

DIFFERENT = {
    "test_server.py::test_a_connection_that_says_nothing_is_closed": "test_fast_hostile.py has a test of the same name",
    "test_server.py::test_a_second_server_on_a_port_gets_an_error_that_the_port_is_taken": "the error names --fast-listen: "
    "tests/e2e/test_fast.py",
    "test_server.py::test_a_server_that_stops_removes_its_socket": "it has no unix socket",
    "test_server.py::test_calls_that_wait_for_longer_than_half_a_minute_are_answered": "it is about an option of grpcio",
    "test_server.py::test_a_call_has_a_bounded_size_of_headers[18000-False]": "the status is that of HTTP, 431, which gRPC calls "
    "UNKNOWN: test_fast_hostile.py",
    "test_access.py::test_an_empty_token_is_refused_and_in_the_log": "h2corn refuses a header that ends with a blank, as HTTP/2 "
    "says: test_fast_hostile.py",
    "test_server_status.py::test_a_server_tells_of_itself_and_of_its_store": "it lists all addresses, and there is one more: "
    "test_fast.py",
    "test_server_status.py::test_each_address_tells_who_gets_in": "it lists all addresses, and there is one more: test_fast.py",
}
"""Tests that are not run, by their files and names, each with the reason, and with the test that there is in their place."""


class ServerOverFast(Server):
    """A server for tests that make one by themselves: its TCP address is that of a fast listener."""

    def __init__(self, handlers: Any, **options: Any) -> None:
        super().__init__(handlers, **options)
        self._make = lambda: FastServer(handlers, **options)
        self._fast: list[FastServer] = []

    def listen(self, address: Address, credentials: grpc.ServerCredentials | None = None) -> Address:
        if credentials is not None:
            return super().listen(address, credentials)
        self._fast.append(self._make())
        return self._fast[-1].listen(address)

    async def start(self) -> None:
        await super().start()
        for each in self._fast:
            await each.start()

    async def set_health(self, **health: bool) -> None:
        await super().set_health(**health)
        for each in self._fast:
            await each.set_health(**health)

    async def stop(self, grace_s: float) -> None:
        await asyncio.gather(super().stop(grace_s), *(each.stop(grace_s) for each in self._fast))


def install() -> None:
    """Lets all servers that tests make from now on listen by h2corn. Call it before the tests are imported."""
    server_module.Server = ServerOverFast  # type: ignore[misc]
    testing.listening = _over_fast(testing.listening)


def _over_fast(listening: Callable[..., Any]) -> Callable[..., Any]:
    @contextlib.contextmanager
    def over_fast(data_dir: Path, redis_url: str | None = None, **settings: Any) -> Iterator[Listening]:
        if "fast_listen" in settings:
            with listening(data_dir, redis_url, **settings) as found:
                yield found
            return
        first, *others = _addresses(settings.get("listen", Address("127.0.0.1", 0)))
        settings |= {"fast_listen": first, "listen": others or [Address("127.0.0.1", 0, first.is_tls)]}
        with listening(data_dir, redis_url, **settings) as found:
            yield found._replace(grpc=found.fast)

    return over_fast


def skip_different(items: list[pytest.Item]) -> None:
    """Marks the tests that are about grpcio itself."""
    for item in items:
        for name in (item.name, getattr(item, "originalname", None)):
            if (reason := DIFFERENT.get(f"{item.path.name}::{name}")) is not None:
                item.add_marker(pytest.mark.skip(reason=f"--fast-listener: {reason}"))
                break
