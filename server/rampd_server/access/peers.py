"""Limits of callers that have proven nothing: one for each place from which they come. Pure: the time is passed in."""

import ipaddress
from collections import OrderedDict
from typing import Final
from urllib.parse import unquote

from rampd_server.access.quotas import Rate

_MOST: Final = 10_000
"""How many places are remembered, so that strangers can't fill the memory."""
_OWN_BITS: Final = 64
"""One caller has all addresses of a network of IPv6."""


class PeerRates:
    """A limit for each second and each peer, with a burst after a pause."""

    def __init__(self, per_s: float, burst: float, *, most: int = _MOST) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._of: OrderedDict[str, Rate] = OrderedDict()
        """The peer that was quiet for longest is the first."""

    def take(self, host: str, now_s: float) -> float:
        """Counts an event of a peer and returns 0 if its limit allows it now. Otherwise returns the seconds until it does. `host` is
        its address.
        """
        place = place_of(host)
        rate = self._of.setdefault(place, Rate(self._per_s, self._burst))
        self._of.move_to_end(place)
        if len(self._of) > self._most:
            self._of.popitem(last=False)
        return rate.take(1, now_s)


def host_of(peer: str) -> str:
    """Returns the address of a peer as gRPC writes it: `ipv4:10.0.0.7:4711`, `ipv6:%5B::1%5D:4711`. Callers of a unix socket have
    none, so all of them are one peer.
    """
    kind, _, address = peer.partition(":")
    return unquote(address).rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else kind


def place_of(host: str) -> str:
    """Returns what counts as one peer: an address of IPv4, or a network of IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> _OWN_BITS << _OWN_BITS))
