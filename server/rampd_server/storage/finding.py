"""What finds the node of Redis that takes writes, where that node may change."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from rampd_server.metrics.counting import Count

_LATELY_S: Final = 60.0
"""How long a failover explains what is missing."""


class Node(NamedTuple):
    """Where a node of Redis listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Finder(Protocol):
    """Knows the node. Connections ask it each time they connect. A store whose address never changes needs no finder."""

    changes: Count
    """How often the node has changed."""

    @property
    def known(self) -> Node | None:
        """The node as it is known now; None if it was never found."""

    @property
    def failover(self) -> str:
        """The last change of the node, such as "the failover from 10.0.0.1:6379 to 10.0.0.2:6379"; empty if there was none lately."""

    async def address(self) -> Node:
        """Returns the node. If it is in doubt, looks for it first. Raises StoreUnavailableError if it was never found."""

    def doubt(self, why: str) -> None:
        """Notes that the node may be another one by now, so that the next call of `address` looks."""

    async def follow(self) -> None:
        """Looks for the node for ever, also while nothing fails: a node that was replaced may still take writes, which are lost."""

    def subscribe(self, leave: Callable[[], Awaitable[None]]) -> None:
        """Calls `leave` each time the node has changed."""

    async def close(self) -> None:
        """Closes the connections of the finder itself."""


class LastFailover:
    """The last change of a node."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._name, self._noted_s = "", float("-inf")

    def note(self, before: Node, after: Node) -> None:
        """Notes that the node is another one now."""
        self._name, self._noted_s = f"the failover from {before} to {after}", self._monotonic()

    @property
    def name(self) -> str:
        """As `Finder.failover`."""
        return self._name if self._monotonic() - self._noted_s < _LATELY_S else ""
