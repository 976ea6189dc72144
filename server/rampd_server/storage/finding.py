"""What finds the node of Redis that takes writes, where that node may change."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

import structlog

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.metrics.counting import Count

_LATELY_S: Final = 60.0
"""How long a failover explains what is missing."""

Leave = Callable[[], Awaitable[None]]
"""Ends the connections to a node that was replaced."""

log = structlog.get_logger()


class Node(NamedTuple):
    """Where a node of Redis listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Finder(Protocol):
    """Knows a node. Connections ask it each time they connect."""

    async def address(self) -> Node:
        """Returns the node. If it is in doubt, looks for it first. Raises StoreUnavailableError if it was never found."""

    def doubt(self, why: str) -> None:
        """Notes that the node may be another one by now, so that the next call of `address` looks."""

    def subscribe(self, leave: Leave) -> None:
        """Calls `leave` each time the node has changed."""


class Primary:
    """The node that takes writes, as a finder knows it, and what is done when it is another one."""

    def __init__(self, who: str, cause: str, monotonic: Callable[[], float]) -> None:
        """For the log: `who` names another node, and `cause` is what has happened then."""
        self.node: Node | None = None
        """None if it was never found."""
        self.changes = Count()
        """How often it was replaced."""
        self._who, self._cause = who, cause
        self._monotonic = monotonic
        self._failover, self._changed_s = "", float("-inf")
        self._listeners: list[Leave] = []

    @property
    def failover(self) -> str:
        """The last change, such as "the failover from 10.0.0.1:6379 to 10.0.0.2:6379"; empty if there was none lately."""
        return self._failover if self._monotonic() - self._changed_s < _LATELY_S else ""

    def subscribe(self, leave: Leave) -> None:
        """As `Finder.subscribe`."""
        self._listeners.append(leave)

    async def found(self, node: Node, why: str) -> None:
        """Takes what a look has found. `why` is the reason of the look; empty if there was none."""
        before, self.node = self.node, node
        if before is None or before == node:
            return
        self.changes.add()
        self._failover, self._changed_s = f"the failover from {before} to {node}", self._monotonic()
        log.warning(
            "store_primary_changed",
            before=str(before),
            after=str(node),
            why=why or self._who,
            what_it_means=f"{self._cause}. What the old primary had not sent to its replicas yet is lost",
            what_to_do="look at the lines writes_lost and freeze_lost, here or in another server's log. If there are none, "
            "nothing was lost",
        )
        for leave in self._listeners:
            await leave()


class PrimaryFinder(Finder, Protocol):
    """A `Finder` of the node that takes writes. A store whose address never changes needs none."""

    primary: Primary
    """The node, as it is known now."""

    async def follow(self) -> None:
        """Looks for the node for ever, also while nothing fails: a node that was replaced may still take writes, which are lost."""

    async def close(self) -> None:
        """Closes the connections of the finder itself."""


def no_answer(sentence: str, errors: Sequence[StoreUnavailableError]) -> StoreUnavailableError:
    """Returns the error if none of those that were asked has answered. `errors` are theirs. If all of them refuse, waiting does not
    help, so it is a refusal.
    """
    if all(isinstance(error, StoreMisconfiguredError) for error in errors):
        return errors[0]
    return StoreUnavailableError(" ".join([sentence, *(error.message for error in errors)]))
