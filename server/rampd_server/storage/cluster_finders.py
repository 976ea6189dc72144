"""Finders of nodes of a Redis Cluster: of the primary of a slot, and of a primary that may lose its slots."""

import time
from collections.abc import Callable

from rampd_server.storage.cluster import Cluster
from rampd_server.storage.finding import Leave, Node, Primary
from rampd_server.storage.redis_errors import ElsewhereError


class SlotFinder:
    """A `PrimaryFinder` of the primary of one slot, which may be moved to another node."""

    def __init__(self, cluster: Cluster, slot: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.primary = Primary(
            f"the cluster names another primary of slot {slot}",
            "the namespace's slot was moved, which loses nothing, or there was a failover",
            monotonic,
        )
        self._cluster = cluster
        self._slot = slot
        cluster.subscribe(self._compare)

    async def address(self) -> Node:
        return await self._cluster.primary_of(self._slot)

    def doubt(self, why: str) -> None:
        self._cluster.doubt(why)

    def subscribe(self, leave: Leave) -> None:
        self.primary.subscribe(leave)

    async def follow(self) -> None:
        await self._cluster.follow()

    async def close(self) -> None:
        await self._cluster.close()

    async def _compare(self, why: str) -> None:
        # While no node has the slot, the one of before is all that is known.
        if (node := self._cluster.owner(self._slot)) is not None:
            await self.primary.found(node, why)


class MemberFinder:
    """A `Finder` of a primary that does not change: calls that find out that it is none any more go to another node."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self._cluster = cluster
        self._node = node

    async def address(self) -> Node:
        """Raises ElsewhereError if the node has no slots any more."""
        if self._node not in await self._cluster.all_primaries():
            raise ElsewhereError(f"{self._node} answers MOVED: it has no slots any more")
        return self._node

    def doubt(self, why: str) -> None:
        self._cluster.doubt(why)

    def subscribe(self, leave: Leave) -> None:
        """The node never changes."""
