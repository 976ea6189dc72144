"""Clients for the keys of a Redis Cluster that are not in the slot of the namespace: one for each primary."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rampd_server.domain.errors import RampdError
from rampd_server.storage.cluster import Cluster
from rampd_server.storage.cluster_finders import MemberFinder
from rampd_server.storage.finding import Finder, Node
from rampd_server.storage.slots import slot_of

Connect = Callable[[Node, Finder], Any]
"""Returns a client of redis-py for a node. It is typed as Any, because redis-py types each command for two kinds of clients."""
Call = Sequence[Any]
"""The keys and arguments of a script, as EVALSHA takes them: the number of keys is first."""


class Shards:
    """A client is opened when it is needed, and left when its node has no slots any more."""

    def __init__(self, cluster: Cluster, connect: Connect) -> None:
        self._cluster = cluster
        self._connect = connect
        self._clients: dict[Node, Any] = {}
        cluster.subscribe(self._leave_others)

    async def client_of(self, key: str) -> Any:  # noqa: ANN401
        """Returns the client of the node that has a key. Raises StoreUnavailableError if no node has it."""
        return self._client(await self._cluster.primary_of(slot_of(key)))

    async def every_client(self, *, but: Node) -> list[Any]:
        """Returns a client for each primary but one. Raises StoreUnavailableError if no node has ever answered."""
        return [self._client(node) for node in await self._cluster.all_primaries() if node != but]

    async def spread(self, calls: Sequence[Call], send: Callable[[Sequence[Call]], Awaitable[list[Any]]]) -> list[Any]:
        """Has calls sent to the nodes of their keys, to all nodes at once. Returns an answer for each call. If a node can't be asked,
        each of its calls has the error of rampd as its answer.
        """
        places = defaultdict(list)
        for place, given in enumerate(calls):
            places[await self._cluster.primary_of(slot_of(given[1]))].append(place)
        found = await asyncio.gather(*(_kept(send([calls[place] for place in each])) for each in places.values()))
        answers: dict[int, Any] = {}
        for each, replies in zip(places.values(), found, strict=True):
            answers |= zip(each, [replies] * len(each) if isinstance(replies, RampdError) else replies, strict=True)
        return [answers[place] for place in range(len(calls))]

    async def close(self) -> None:
        """Closes all connections."""
        for client in self._clients.values():
            await client.aclose()

    def _client(self, node: Node) -> Any:  # noqa: ANN401
        if node not in self._clients:
            self._clients[node] = self._connect(node, MemberFinder(self._cluster, node))
        return self._clients[node]

    async def _leave_others(self, _why: str) -> None:
        for node in self._clients.keys() - self._cluster.primaries:
            await self._clients.pop(node).connection_pool.leave()


async def _kept(sending: Awaitable[list[Any]]) -> list[Any] | RampdError:
    try:
        return await sending
    except RampdError as error:
        return error
