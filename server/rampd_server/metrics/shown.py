"""Which components have series of their own."""

from heapq import nsmallest
from typing import Final

from rampd._decision.resolution import ComponentSnapshot
from rampd_server.metrics.families import OTHERS
from rampd_server.ports import FeedEntry
from rampd_server.replica.replica import Replica

LIMIT: Final = 1_000


class Shown:
    """The oldest components, up to a limit. So a new component takes nobody's series away, and all servers show the same."""

    def __init__(self, replica: Replica, limit: int = LIMIT) -> None:
        self._replica = replica
        self._limit = limit
        self._names: frozenset[str] | None = None
        replica.subscribe(self)

    def name_of(self, component: str) -> str:
        """The label for a component: its name, or `_others`. `_others` too if there is no such component."""
        return component if component in self.names else OTHERS

    @property
    def names(self) -> frozenset[str]:
        """The components that have series of their own."""
        if self._names is None:
            rollouts = [known.rollout for known in self._replica.components()]
            if len(rollouts) > self._limit:
                rollouts = nsmallest(self._limit, rollouts, key=lambda rollout: (rollout.create_ms, rollout.component))
            self._names = frozenset(rollout.component for rollout in rollouts)
        return self._names

    def applied(self, _entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """A component may have come or gone."""
        if before is None or after is None:
            self._names = None

    def reloaded(self) -> None:
        """Anything may have changed."""
        self._names = None
