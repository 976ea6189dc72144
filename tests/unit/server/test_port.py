"""A port is held for several processes, and for no others."""

import socket

import pytest

from rampd_server.process.address import Address
from rampd_server.process.port import check_free, held
from rampd_server.process.startup import StartupError
from tests.ports import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_held_port_is_chosen_once_and_can_be_joined(host):
    with held(Address(host, 0)) as address:
        assert address.port
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", address.port))
            worker.listen()
            with socket.create_connection(("127.0.0.1", address.port), timeout=5):
                pass


def test_a_held_port_is_busy_for_others_and_free_afterwards():
    with held(Address("127.0.0.1", free_port())) as address:
        for take in (lambda: check_free(address), lambda: held(address).__enter__()):
            with pytest.raises(StartupError, match=f"Can't listen on {address}: "):
                take()
    check_free(address)


def test_a_port_that_somebody_listens_on_is_not_held():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(StartupError, match="--listen"), held(address):
            pass
