"""Opens the clients of a store, by the kind of its URL: one Redis, a primary that Sentinels know, or a cluster."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from rampd_server.metrics.counting import Count
from rampd_server.process.cluster_url import CLUSTER, ClusterUrl
from rampd_server.process.sentinel_url import SENTINELS, SentinelUrl
from rampd_server.storage.cluster import Cluster, SlotFinder, slot_of
from rampd_server.storage.connection import connect
from rampd_server.storage.finding import Finder, Node
from rampd_server.storage.sentinel import SentinelFinder
from rampd_server.storage.shards import Shards

_MAX_CONNECTIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Clients:
    """What a link calls Redis by."""

    client: Redis
    """For the keys of the namespace."""
    feed_client: Redis
    """For reads that wait. They keep their connection, and wait longer than the deadline of other calls."""
    reconnects: Count
    finder: Finder | None = None
    """Knows the node of both; None for a store whose address does not change."""
    shards: Shards | None = None
    """For the other keys; None if they are where those of the namespace are."""


def open_clients(url: str, key: str, *, name: str, deadline_s: float) -> Clients:
    """Returns the clients of a store. They open no connection yet. `key` is a key of the namespace, `name` that of the connections
    in CLIENT LIST. Raises ValueError if the URL is not valid.
    """
    reconnects = Count()
    finder: Finder | None = None
    shards = None
    opened = partial(connect, timeout_s=deadline_s, max_connections=_MAX_CONNECTIONS, name=name, reconnects=reconnects)
    if SENTINELS.fits(url):
        sentinels = SentinelUrl.parse(url)
        url, finder = sentinels.primary, SentinelFinder.of(sentinels, deadline_s=deadline_s)
    elif CLUSTER.fits(url):
        nodes = ClusterUrl.parse(url)
        cluster = Cluster.of(nodes, deadline_s=deadline_s)
        url, finder = nodes.at(nodes.hosts[0]), SlotFinder(cluster, slot_of(key))

        def connect_to(node: Node, member: Finder) -> Any:  # noqa: ANN401 - as redis-py has it
            return opened(nodes.at(str(node)), finder=member)

        shards = Shards(cluster, connect_to)
    return Clients(
        opened(url, finder=finder),
        # A blocking read keeps its connection, and waits longer than the deadline of other calls.
        opened(url, finder=finder, timeout_s=2 * deadline_s, max_connections=2),
        reconnects,
        finder,
        shards,
    )
