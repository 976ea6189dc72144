"""Which components have series of their own."""

from bisect import bisect_left, insort
from typing import Final, TypeAlias

from rampd._decision.resolution import ComponentSnapshot
from rampd_server.metrics.families import OTHERS
from rampd_server.ports import FeedEntry
from rampd_server.replica.replica import Replica

LIMIT: Final = 1_000

_Age: TypeAlias = tuple[int, str]
"""When a component was made, and its name."""


class Shown:
    """The oldest components, up to a limit. So a new component takes nobody's series away, and all servers show the same."""

    def __init__(self, replica: Replica, limit: int = LIMIT) -> None:
        self._replica = replica
        self._limit = limit
        self._ages: dict[str, _Age] = {}
        self._oldest_first: list[_Age] = []
        """Of all components. It is kept in order change by change, because Resolve must not wait for all of them."""
        self.reloaded()
        replica.subscribe(self)

    def name_of(self, component: str) -> str:
        """The label for a component: its name, or `_others`. `_others` too if there is no such component."""
        return component if self.has(component) else OTHERS

    def has(self, component: str) -> bool:
        """Whether a component has series of its own."""
        age = self._ages.get(component)
        if age is None:
            return False
        return len(self._oldest_first) <= self._limit or age < self._oldest_first[self._limit]

    @property
    def count(self) -> int:
        """How many components have series of their own."""
        return min(self._limit, len(self._oldest_first))

    def applied(self, entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """A component may have come or gone."""
        if before is not None and after is not None:
            return
        if (age := self._ages.pop(entry.component, None)) is not None:
            del self._oldest_first[bisect_left(self._oldest_first, age)]
        known = self._replica.get(entry.component)
        if known is not None:
            age = self._ages[entry.component] = known.rollout.create_ms, entry.component
            insort(self._oldest_first, age)

    def reloaded(self) -> None:
        """Anything may have changed."""
        rollouts = (known.rollout for known in self._replica.components())
        self._ages = {rollout.component: (rollout.create_ms, rollout.component) for rollout in rollouts}
        self._oldest_first = sorted(self._ages.values())
