"""Which primary of a Redis Cluster has which slot, by what its nodes say.

Each failover and each move of a slot has a number in the cluster (`config-epoch`). A node that is cut off from the others knows
the claims of before.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from redis.crc import key_slot

from rampd_server.storage.finding import Node

_SLOTS: Final = 16_384


class Claim(NamedTuple):
    """What a node says of a primary: the slots that it has, and the number of the decision by which it has them."""

    id: str
    number: int
    is_own: bool
    """Whether the primary says so itself."""
    node: Node
    slots: tuple[tuple[int, int], ...]
    """First and last slot of each range."""


def slot_of(key: str) -> int:
    """Returns the slot of a key."""
    return key_slot(key.encode("utf-8", "surrogateescape"))


def merged(views: Sequence[Sequence[Claim]], known: Mapping[str, Claim]) -> dict[str, Claim]:
    """Returns the claim of each primary that counts, by its id, of what nodes have answered. The latest claim counts, and of two with
    the same number, that of the primary itself. `known` are earlier claims that count too.
    """
    found = dict(known)
    for claim in chain.from_iterable(views):
        best = found.get(claim.id)
        if best is None or (claim.number, claim.is_own) >= (best.number, best.is_own):
            found[claim.id] = claim
    return found


def owners_by(claims: Iterable[Claim]) -> list[Node | None]:
    """Returns the primary of each slot. If two claim a slot, the later claim counts."""
    owners: list[Node | None] = [None] * _SLOTS
    for claim in sorted(claims, key=lambda each: each.number):
        for first, last in claim.slots:
            owners[first : last + 1] = [claim.node] * (last + 1 - first)
    return owners


def read_claims(text: str, asked: Node, *, is_tls: bool) -> list[Claim]:
    """Reads what CLUSTER NODES answers. `asked` is the address of the node that answers, which may not know its own. With TLS a
    node has the name that it announces, because that is in its certificate. Raises ValueError, LookupError.
    """
    claims = []
    for line in text.splitlines():
        # 07c3… 10.0.0.1:6379@16379,name myself,master - 0 1426238316232 2 connected 0-5460 [93-<-292f…]
        fields = line.split()
        (node_id, place, flags), number, slots = fields[:3], int(fields[6]), fields[8:]
        if "master" not in flags.split(","):
            continue
        address, _, more = place.partition(",")
        host, _, port = address.partition("@")[0].rpartition(":")
        name = more.partition(",")[0]
        is_own = "myself" in flags.split(",")
        host = (name if is_tls and name and "=" not in name else host) or (asked.host if is_own else "")
        if not host:
            continue  # nobody knows yet where it is
        ranges = [each.partition("-")[::2] for each in slots if not each.startswith("[")]
        bounds = tuple((int(first), int(last or first)) for first, last in ranges)
        claims.append(Claim(node_id, number, is_own, Node(host, int(port)), bounds))
    return claims
