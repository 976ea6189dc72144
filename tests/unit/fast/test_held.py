"""A connection that h2corn closes stays open until its caller has closed it."""

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rampd_server.fast import held as module
from rampd_server.fast.held import held
from rampd_server.process import open_files
from tests.waiting import PATIENCE_S


@dataclass
class Port:
    """A port of this process, with connections."""

    listening: socket.socket

    @property
    def number(self) -> int:
        return int(self.listening.getsockname()[1])

    @property
    def descriptors(self) -> int:
        """How many descriptors of its connections this process has."""
        numbers = [int(path.name) for path in Path("/dev/fd").iterdir()]
        return sum(module._caller(each, self.number) is not None for each in numbers)

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection: that of the caller, and that of the server."""
        caller = socket.create_connection(self.listening.getsockname())
        return caller, self.listening.accept()[0]


@pytest.fixture
def port() -> Iterator[Port]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Port(listening)


@pytest.fixture(autouse=True)
def _is_not_young_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "YOUNG_S", 0.01)


@pytest.fixture
def _never_lingers_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_S", PATIENCE_S + 30)


def is_open(caller: socket.socket) -> bool:
    """Whether the server has its end of the connection."""
    caller.setblocking(False)
    try:
        return caller.recv(1) != b""
    except BlockingIOError:
        return True


@pytest.mark.usefixtures("_never_lingers_in_vain")
async def test_a_caller_that_sends_on_reads_what_was_said_and_closes_the_connection(port: Port) -> None:
    caller, accepted = port.connected()
    async with asyncio.timeout(PATIENCE_S):
        async with held(port.number):
            accepted.sendall(b"go elsewhere")
            accepted.close()
            for _ in range(3):
                caller.sendall(b"one more call")
                await asyncio.sleep(0.01)
            assert caller.recv(100) == b"go elsewhere"
            assert is_open(caller)
            caller.close()


async def test_a_connection_that_is_young_is_not_kept(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a connection that is opened after the others were taken, expect that it ends when the server ends it."""
    monkeypatch.setattr(module, "YOUNG_S", 0.3)
    (earlier, accepted_earlier), younger = port.connected(), []
    asyncio.get_running_loop().call_later(0.15, lambda: younger.extend(port.connected()))
    async with held(port.number):
        [caller, accepted] = younger
        accepted.close()
        accepted_earlier.close()
        assert not is_open(caller)
        assert is_open(earlier)
        earlier.close()
    caller.close()


async def test_nobody_waits_where_there_is_no_connection(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "YOUNG_S", PATIENCE_S + 30)
    async with asyncio.timeout(PATIENCE_S), held(port.number):
        pass


async def test_a_caller_that_does_not_close_its_connection_is_waited_for_only_so_long(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.2)
    caller, accepted = port.connected()
    async with asyncio.timeout(PATIENCE_S):
        async with held(port.number):
            accepted.close()
        assert not is_open(caller)
    caller.close()


async def test_nothing_but_the_connections_of_the_port_is_taken_and_nothing_about_them_changes(port: Port) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        elsewhere, accepted_elsewhere = Port(other).connected()
        caller, accepted = port.connected()
        accepted.setblocking(False)
        async with held(port.number):
            assert not os.get_blocking(accepted.fileno())
            accepted_elsewhere.close()
            assert not is_open(elsewhere)
            accepted.close()
            caller.close()
        elsewhere.close()


async def test_afterwards_no_connection_has_a_descriptor_that_it_had_not_before(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.1)
    ends = [*port.connected(), *port.connected()]
    async with held(port.number):
        assert port.descriptors == 4
        ends[0].close()
    assert port.descriptors == 2
    for each in ends:
        each.close()


async def test_half_of_the_files_that_may_still_be_opened_are_for_the_new_connections_of_the_same_callers(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_S", 0.1)
    monkeypatch.setattr(open_files, "spare", lambda *_: 3)
    ends = [port.connected() for _ in range(3)]
    async with held(port.number):
        for _, accepted in ends:
            accepted.close()
        assert [is_open(caller) for caller, _ in ends].count(True) == 1
    for caller, _ in ends:
        caller.close()
