"""A URL that names nodes of a Redis Cluster: `redis+cluster://user:password@host:port,host:port`."""

from dataclasses import dataclass
from typing import Final, Self

from rampd_server.process.hosts import read_hosts, split

SCHEMES: Final = ("redis+cluster", "rediss+cluster")
_PORT: Final = 6379


def is_cluster_url(text: str) -> bool:
    """Whether a URL names nodes of a cluster."""
    return text.partition("://")[0].lower() in SCHEMES


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
        scheme, authority, path, query, _ = split(text)
        credentials, at, names = authority.rpartition("@")
        hosts = read_hosts(
            names, port=_PORT, what="node of the cluster", example=f"{scheme}://user:password@host:6379,host:6379"
        )
        if path not in {"", "/", "/0"}:
            raise ValueError("a cluster has database 0 only, so nothing else may come after its nodes.")
        base = scheme.removesuffix("+cluster")
        return cls(scheme, hosts, f"{base}://{credentials}{at}", f"?{query}" if query else "")

    def at(self, place: str) -> str:
        """Returns the URL of the node at `host:port`, as redis-py takes it."""
        return f"{self._before}{place}{self._behind}"
