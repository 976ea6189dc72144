"""Which hosts are this machine: one rule for client, server and command line."""

import pytest

from rampd._contract.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1"])
def test_this_machine_is_known_by_its_names_and_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.example.com", "LOCALHOST", "0.0.0.0", "::", "10.0.0.1", "[::1]"])
def test_every_other_host_is_another_machine(host: str) -> None:
    assert not is_loopback(host)
