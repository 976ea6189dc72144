"""The clients of a store, by the kind of its URL: of one Redis, of a primary that Sentinels know, or of a cluster."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

from rampd_server.metrics.counting import Count
from rampd_server.ports import Topology
from rampd_server.process.cluster_url import CLUSTER, ClusterUrl
from rampd_server.process.sentinel_url import SENTINELS, SentinelUrl
from rampd_server.storage.cluster import Cluster
from rampd_server.storage.cluster_finders import SlotFinder
from rampd_server.storage.connection import connect
from rampd_server.storage.finding import Finder, Node, PrimaryFinder
from rampd_server.storage.sentinel import SentinelFinder
from rampd_server.storage.shards import Shards
from rampd_server.storage.slots import slot_of

_MAX_CONNECTIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Clients:
    """What a link calls Redis by. All clients decode replies as text. They are typed as Any, because redis-py types each command for
    its blocking and its asyncio client at once.
    """

    main: Any
    """For the keys of the namespace."""
    feed: Any
    """For reads that wait."""
    reconnects: Count = field(default_factory=Count)
    """Connections that were lost and opened again."""
    finder: PrimaryFinder | None = None
    """Knows the node of both; None for a store whose address does not change."""
    shards: Shards | None = None
    """For the other keys; None if they are where those of the namespace are."""

    @classmethod
    def open(cls, url: str, key: str, *, name: str, deadline_s: float) -> Self:
        """Returns the clients of a store. They open no connection yet. `key` is a key of the namespace, `name` that of the connections
        in CLIENT LIST. Raises ValueError if the URL is not valid.
        """
        reconnects = Count()
        finder: PrimaryFinder | None = None
        shards = None
        opened = partial(
            connect, timeout_s=deadline_s, max_connections=_MAX_CONNECTIONS, name=name, reconnects=reconnects
        )
        if SENTINELS.fits(url):
            sentinels = SentinelUrl.parse(url)
            url, finder = sentinels.primary, SentinelFinder.of(sentinels, deadline_s=deadline_s)
        elif CLUSTER.fits(url):
            nodes = ClusterUrl.parse(url)
            cluster = Cluster.of(nodes, deadline_s=deadline_s)
            url, finder = nodes.at(nodes.hosts[0]), SlotFinder(cluster, slot_of(key))

            def connect_to(node: Node, member: Finder) -> Any:  # noqa: ANN401 - as above
                return opened(nodes.at(str(node)), finder=member)

            shards = Shards(cluster, connect_to)
        return cls(
            opened(url, finder=finder),
            # A blocking read keeps its connection, and waits longer than the deadline of other calls.
            opened(url, finder=finder, timeout_s=2 * deadline_s, max_connections=2),
            reconnects,
            finder,
            shards,
        )

    @property
    def topology(self) -> Topology:
        """How the store is found."""
        if self.shards is not None:
            return Topology.CLUSTER
        return Topology.SINGLE if self.finder is None else Topology.SENTINEL

    @property
    def primary(self) -> str:
        """Where the store listens, without credentials: `host:port`, or `unix:///path`. Empty while it is not known."""
        return place_of(self.main) if self.finder is None else str(self.finder.primary.node or "")

    @property
    def failover(self) -> str:
        """As `Store.failover`."""
        return self.finder.primary.failover if self.finder else ""

    @property
    def primary_changes(self) -> Count:
        """How often the store's primary has changed."""
        return self.finder.primary.changes if self.finder else Count()

    async def follow(self) -> None:
        """Follows the store to its primary, for ever. Ends at once for a store whose address does not change."""
        if self.finder is not None:
            await self.finder.follow()

    async def every(self) -> list[Any]:
        """Returns a client for each primary of the store, that of the namespace first. Raises StoreUnavailableError."""
        if self.finder is None or self.shards is None:
            return [self.main]
        return [self.main, *await self.shards.every_client(but=await self.finder.address())]

    async def close(self) -> None:
        """Closes all connections."""
        await self.main.aclose()
        await self.feed.aclose()
        if self.shards is not None:
            await self.shards.close()
        if self.finder is not None:
            await self.finder.close()


def place_of(client: Any) -> str:  # noqa: ANN401 - as above
    """Returns where the node of a client's URL listens, without credentials: `host:port`, or `unix:///path`."""
    options = client.connection_pool.connection_kwargs
    path = options.get("path")
    return f"unix://{path}" if path else str(Node(options.get("host", "localhost"), options.get("port", 6379)))
