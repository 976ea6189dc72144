"""A URL that names nodes of a Redis Cluster: `redis+cluster://user:password@host:port,host:port`."""

from dataclasses import dataclass
from typing import Final, Self

from rampd_server.process.hosts import Kind

CLUSTER: Final = Kind("+cluster", "node of the cluster", port=6379)


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """The parts of the URL."""

    scheme: str
    hosts: tuple[str, ...]
    """`host:port` of each node that the URL names. The cluster may have more."""
    _before: str
    _behind: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with a sentence, if the hosts or the path are wrong. User and options are those of each node, and
        are not checked here.
        """
        scheme, base, login, hosts, path, query = CLUSTER.read(text)
        if path not in {"", "/", "/0"}:
            raise ValueError("a cluster has database 0 only, so nothing else may come after its nodes.")
        return cls(scheme, hosts, f"{base}://{login}", f"?{query}" if query else "")

    def at(self, place: str) -> str:
        """Returns the URL of the node at `host:port`, as redis-py takes it."""
        return f"{self._before}{place}{self._behind}"
