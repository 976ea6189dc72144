"""Which components have series of their own."""

from bisect import bisect_left, insort
from collections.abc import Iterator
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
        for _ in self.reloaded():
            pass
        replica.subscribe(self)

    def name_of(self, component: str) -> str:
        """The label for a component: its name, or `_others`. `_others` too if there is no such component."""
        return component if self.has(component) else OTHERS

    def has(self, component: str) -> bool:
        """Whether a component has series of its own."""
        if component not in self._ages:
            # A reading of everything may have brought it just now.
            self._place(component)
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
        self._place(entry.component)

    def reloaded(self) -> Iterator[None]:
        """Anything may have changed."""
        for component in [*self._ages, *(known.rollout.component for known in self._replica.components())]:
            self._place(component)
            yield

    def _place(self, component: str) -> None:
        """Puts a component where it belongs by its age, or takes it out if it is gone."""
        known, before = self._replica.get(component), self._ages.get(component)
        age = None if known is None else (known.rollout.create_ms, component)
        if age == before:
            return
        if before is not None:
            del self._ages[component]
            del self._oldest_first[bisect_left(self._oldest_first, before)]
        if age is not None:
            self._ages[component] = age
            insort(self._oldest_first, age)
