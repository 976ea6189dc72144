"""Limits of callers that have proven nothing."""

import pytest

from rampd_server.access.peers import PeerRates, host_of, place_of


def test_each_peer_has_a_limit_of_its_own() -> None:
    rates = PeerRates(per_s=1, burst=2)
    assert [rates.take("10.0.0.1", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert rates.take("10.0.0.2", 0.0) == 0.0
    assert rates.take("10.0.0.1", 1.0) == 0.0


def test_only_so_many_peers_are_remembered_and_who_was_quiet_for_longest_is_forgotten() -> None:
    rates = PeerRates(per_s=1, burst=1, most=2)
    for host in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3"):
        rates.take(host, 0.0)
    assert len(rates._of) == 2
    assert rates.take("10.0.0.1", 0.0) > 0
    assert rates.take("10.0.0.2", 0.0) == 0


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_a_caller_has_a_network_of_ipv6_and_one_address_of_ipv4(host: str, place: str) -> None:
    assert place_of(host) == place


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:4711", "10.0.0.7"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("ipv6:[2001:db8::1]:4711", "2001:db8::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", "fe80::1%eth0"),
        ("unix:", "unix"),
        ("unix:/run/rampd.sock", "unix"),
        ("unknown", "unknown"),
    ],
)
def test_a_peer_is_known_by_its_address_and_not_by_its_port(peer: str, host: str) -> None:
    assert host_of(peer) == host
