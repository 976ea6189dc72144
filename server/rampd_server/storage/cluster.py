"""Finds the primary of each slot of a Redis Cluster: several nodes are asked at once, and the latest claim counts.

A node that is cut off from the others knows the claims of before, so a single answer is not believed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from redis import exceptions

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.process.cluster_url import ClusterUrl
from rampd_server.process.outage import Outages
from rampd_server.storage.connection import connect
from rampd_server.storage.doubts import ASK_SHARE, Doubts
from rampd_server.storage.finding import Node, no_answer
from rampd_server.storage.redis_errors import URL, redis_errors
from rampd_server.storage.slots import Claim, merged, owners_by, read_claims

_ASKED: Final = 8
"""How many primaries a look asks. If there are more, each look asks others."""


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
        self._owners: Sequence[Node | None] = owners_by([])
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
        self._trouble = None if views else no_answer("No node of the cluster answers.", errors)
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
        if not self._is_well or not self.primaries:
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


def is_most(answered: Sequence[object], asked: Sequence[object]) -> bool:
    """Whether so many nodes have answered that they are not cut off from the others."""
    return len(answered) * 2 > len(asked)


def _node(place: str) -> Node:
    host, _, port = place.rpartition(":")
    return Node(host.strip("[]"), int(port))


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
