"""Finds the primary of each slot of a Redis Cluster: several nodes are asked at once, and the latest claim counts.

Each failover and each move of a slot has a number in the cluster (`config-epoch`). A node that is cut off from the others knows
the claims of before, so a single answer is not believed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final, NamedTuple, Protocol

import structlog
from redis import exceptions
from redis.crc import key_slot

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.metrics.counting import Count
from rampd_server.process.cluster_url import ClusterUrl
from rampd_server.process.outage import Outages
from rampd_server.storage.connection import connect
from rampd_server.storage.doubts import ASK_SHARE, Doubts
from rampd_server.storage.finding import LastFailover, Node
from rampd_server.storage.redis_errors import URL, ElsewhereError, redis_errors

_SLOTS: Final = 16_384
_ASKED: Final = 8
"""How many primaries a look asks. If there are more, each look asks others."""

log = structlog.get_logger()


class Claim(NamedTuple):
    """What a node says of a primary: the slots that it has, and the number of the decision by which it has them."""

    id: str
    number: int
    is_own: bool
    """Whether the primary says so itself."""
    node: Node
    slots: tuple[tuple[int, int], ...]
    """First and last slot of each range."""


class ClusterNode(Protocol):
    """A node that can be asked."""

    async def ask(self) -> Sequence[Claim]:
        """Raises StoreUnavailableError, which names the node."""

    async def close(self) -> None:
        """Closes its connection."""


class Cluster:
    """The primary of each slot."""

    def __init__(
        self,
        seeds: Mapping[Node, ClusterNode],
        reach: Callable[[Node], ClusterNode],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seeds` are asked first, and while few known primaries answer. `reach` returns what asks another node."""
        self.primaries: Sequence[Node] = ()
        """The nodes that have slots."""
        self._seeds = seeds
        self._reach = reach
        self._doubts = Doubts(self._look, monotonic)
        self._others: dict[Node, ClusterNode] = {}
        self._claims: Mapping[str, Claim] = {}
        self._owners: Sequence[Node | None] = [None] * _SLOTS
        self._trouble: StoreUnavailableError | None = StoreUnavailableError("No node was asked yet. Try again.")
        """Why the last look found nothing; None if it found something."""
        self._is_well = False
        """Whether most nodes answered the last look."""
        self._turn = 0
        self._listeners: list[Callable[[str], Awaitable[None]]] = []
        self._outages = Outages("cluster_node_lost", "cluster_node_found", ("node",))

    @classmethod
    def of(cls, url: ClusterUrl, *, deadline_s: float) -> "Cluster":
        """Returns the cluster of the nodes in a URL. `deadline_s` is how long a call of the store may take."""

        def reach(node: Node) -> ClusterNode:
            return RedisNode(node, url, timeout_s=deadline_s * ASK_SHARE)

        seeds = [_node(host) for host in url.hosts]
        return cls({node: reach(node) for node in seeds}, reach)

    def owner(self, slot: int) -> Node | None:
        """Returns the primary of a slot, as the last look found it; None if no node has the slot."""
        return self._owners[slot]

    async def primary_of(self, slot: int) -> Node:
        """As `owner`, after a look if there is a doubt. Raises StoreUnavailableError if no node has the slot."""
        await self._doubts.settle()
        node = self._owners[slot]
        if node is None:
            raise self._trouble or StoreUnavailableError(
                f"No node of the cluster has slot {slot}, which rampd needs: look at CLUSTER INFO and CLUSTER NODES."
            )
        return node

    async def all_primaries(self) -> Sequence[Node]:
        """As `primaries`, after a look if there is a doubt. Raises StoreUnavailableError if none was ever found."""
        await self._doubts.settle()
        if not self.primaries and self._trouble is not None:
            raise self._trouble
        return self.primaries

    def doubt(self, why: str) -> None:
        """Notes that what is known may be wrong by now."""
        self._doubts.note(why)

    async def follow(self) -> None:
        """Looks for ever, also while nothing fails."""
        await self._doubts.follow()

    def subscribe(self, listener: Callable[[str], Awaitable[None]]) -> None:
        """Calls `listener` with the reason of the look each time a slot has another primary."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Closes the connections that it asks by."""
        for each in (*self._seeds.values(), *self._others.values()):
            await each.close()

    async def _look(self, why: str) -> bool:
        """Asks some nodes. If none of them answers, what is known stays."""
        asked = self._next_asked()
        answers = await asyncio.gather(*map(self._ask, asked))
        views = [each for each in answers if not isinstance(each, StoreUnavailableError)]
        errors = [each for each in answers if isinstance(each, StoreUnavailableError)]
        self._trouble = None if views else _none_answers(errors)
        self._is_well = is_most(views, asked)
        claims = merged(views, {} if self._is_well else self._claims)
        if claims != self._claims:
            self._claims, self._owners = claims, owners_by(claims.values())
            self.primaries = tuple(dict.fromkeys(filter(None, self._owners)))
            await self._forget(node for node in self._others if node not in self.primaries)
            for listener in self._listeners:
                await listener(why)
        return bool(self.primaries)

    def _next_asked(self) -> Sequence[Node]:
        if not self._is_well:
            return tuple(dict.fromkeys([*self._seeds, *self.primaries]))
        self._turn += _ASKED
        number = len(self.primaries)
        return [self.primaries[(self._turn + place) % number] for place in range(min(number, _ASKED))]

    async def _ask(self, node: Node) -> Sequence[Claim] | StoreUnavailableError:
        one = self._seeds.get(node) or self._others.get(node)
        if one is None:
            one = self._others[node] = self._reach(node)
        try:
            claims = await one.ask()
        except StoreUnavailableError as error:
            self._outages.tell(str(node), error=error.message)
            return error
        self._outages.end(str(node))
        return claims

    async def _forget(self, nodes: Iterable[Node]) -> None:
        for node in tuple(nodes):
            await self._others.pop(node).close()


class SlotFinder:
    """A `Finder` of the primary of one slot, which may be moved to another node."""

    def __init__(self, cluster: Cluster, slot: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.changes = Count()
        self.known: Node | None = None
        self._cluster = cluster
        self._slot = slot
        self._last = LastFailover(monotonic)
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        cluster.subscribe(self._compare)

    @property
    def failover(self) -> str:
        return self._last.name

    async def address(self) -> Node:
        return await self._cluster.primary_of(self._slot)

    def doubt(self, why: str) -> None:
        self._cluster.doubt(why)

    async def follow(self) -> None:
        await self._cluster.follow()

    def subscribe(self, leave: Callable[[], Awaitable[None]]) -> None:
        self._listeners.append(leave)

    async def close(self) -> None:
        await self._cluster.close()

    async def _compare(self, why: str) -> None:
        before, after = self.known, self._cluster.owner(self._slot)
        self.known = after or before
        if before is None or after is None or before == after:
            return
        self.changes.add()
        self._last.note(before, after)
        log.warning(
            "store_primary_changed",
            before=str(before),
            after=str(after),
            why=why or f"the cluster names another primary of slot {self._slot}",
            what_it_means="the namespace's slot was moved, which loses nothing, or there was a failover. What the old primary had "
            "not sent to its replicas yet is lost",
            what_to_do="look at the lines writes_lost and freeze_lost, here or in another server's log. If there are none, "
            "nothing was lost",
        )
        for leave in self._listeners:
            await leave()


class MemberFinder:
    """A `Finder` of a primary that does not change: calls that find out that it is none any more go to another node."""

    failover = ""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.changes = Count()
        self.known: Node | None = node
        self._cluster = cluster
        self._node = node

    async def address(self) -> Node:
        """Raises ElsewhereError if the node has no slots any more."""
        if self._node not in await self._cluster.all_primaries():
            raise ElsewhereError(f"{self._node} answers MOVED: it has no slots any more")
        return self._node

    def doubt(self, why: str) -> None:
        self._cluster.doubt(why)

    async def follow(self) -> None:
        """The cluster is followed once, for all finders."""

    def subscribe(self, leave: Callable[[], Awaitable[None]]) -> None:
        """The node never changes."""

    async def close(self) -> None:
        """Nothing is open."""


def slot_of(key: str) -> int:
    """Returns the slot of a key."""
    return key_slot(key.encode("utf-8", "surrogateescape"))


def is_most(answered: Sequence[object], asked: Sequence[object]) -> bool:
    """Whether so many nodes have answered that they are not cut off from the others."""
    return len(answered) * 2 > len(asked)


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


def _node(place: str) -> Node:
    host, _, port = place.rpartition(":")
    return Node(host.strip("[]"), int(port))


def _none_answers(errors: Sequence[StoreUnavailableError]) -> StoreUnavailableError:
    if all(isinstance(error, StoreMisconfiguredError) for error in errors):
        return errors[0]
    return StoreUnavailableError(f"No node of the cluster answers. {' '.join(error.message for error in errors)}")


class RedisNode:
    """A `ClusterNode` over the network. Its connection stays open."""

    def __init__(self, node: Node, url: ClusterUrl, *, timeout_s: float) -> None:
        self._node = node
        self._is_tls = url.scheme.startswith("rediss")
        self._timeout_s = timeout_s
        # Connecting may take all of the time, which `ask` limits.
        self._client = connect(url.at(str(node)), timeout_s=2 * timeout_s, max_connections=1)

    async def ask(self) -> Sequence[Claim]:
        try:
            with redis_errors():
                async with asyncio.timeout(self._timeout_s):
                    text = await self._client.execute_command("CLUSTER", "NODES")  # type: ignore[no-untyped-call]
            return read_claims(text, self._node, is_tls=self._is_tls)
        except StoreUnavailableError as error:
            if "cluster support disabled" in error.message:
                raise StoreMisconfiguredError(
                    f"{self._node} is a Redis without a cluster: write redis:// in place of redis+cluster:// in {URL}."
                ) from error
            raise type(error)(f"Node {self._node}: {error.message}") from error
        except (AttributeError, LookupError, ValueError) as error:
            raise StoreMisconfiguredError(
                f"{self._node} answers, but not as a node of a cluster does: name the nodes of one in {URL}."
            ) from error

    async def close(self) -> None:
        with suppress(exceptions.RedisError, OSError):
            await self._client.aclose()
