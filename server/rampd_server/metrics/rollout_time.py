"""How rollouts spend their time, as long as this server has watched."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.automation.doing import spent
from rampd_server.domain.rollout.model import Freeze, Rollout
from rampd_server.metrics.counting import ByComponent
from rampd_server.ports import FeedEntry, entry_order
from rampd_server.replica.replica import Replica

_KEPT: Final = 100
"""How many changes of the namespace's freeze are remembered."""


class RolloutTime:
    """Counts seconds by component and by what its rollout was doing. Only rollouts with a next count.

    Times are by the store's clock, so a change counts from when it was committed.
    """

    def __init__(self, replica: Replica, seconds: ByComponent) -> None:
        self.seconds = seconds
        self._replica = replica
        self._counted: dict[str, tuple[Rollout, int]] = {}
        """Each rollout under way, and up to which time it is counted."""
        self._freezes: list[tuple[int, Freeze | None]] = [(0, None)]
        """The namespace's freezes, each with the time from which on it is the present one. Each rollout takes them into account when
        its time is counted, because to count the time of thousands at once takes long.
        """
        replica.subscribe(self)

    def settle(self, component: str, now_ms: int) -> None:
        """Counts the time of a component up to now. One that is gone has no series any more."""
        known = self._counted.get(component)
        if known is None or self._replica.get(component) is None:
            return
        rollout, since_ms = known
        if now_ms > since_ms:
            for (begin_ms, freeze_all), (end_ms, _) in pairwise([*self._freezes, (now_ms, None)]):
                for doing, ms in spent(rollout, freeze_all, max(begin_ms, since_ms), min(end_ms, now_ms)):
                    self.seconds.add(component, (doing.value,), ms / 1000)
            self._counted[component] = rollout, now_ms

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """A component or the namespace's freeze changed."""
        at_ms, _ = entry_order(entry.id)
        if not entry.component:
            self._take_freeze(at_ms)
        elif not entry.is_of_overrides_only:
            self.settle(entry.component, at_ms)
            self._begin(entry.component, at_ms)

    def reloaded(self) -> Iterator[None]:
        """Anything may have changed."""
        if not self._replica.loaded.is_set():
            # The state is from before the start, and the store's time is not known.
            return
        now_ms = self._replica.now_ms()
        if self._freezes[-1][1] != self._replica.namespace.freeze:
            self._take_freeze(now_ms)
        for component in {*self._counted, *(known.rollout.component for known in self._replica.components())}:
            self.settle(component, now_ms)
            self._begin(component, now_ms)
            yield

    def _take_freeze(self, at_ms: int) -> None:
        """Takes in that the namespace's freeze has changed."""
        if len(self._freezes) >= _KEPT:
            for component in self._counted:
                self.settle(component, at_ms)
            del self._freezes[:-1]
        self._freezes.append((at_ms, self._replica.namespace.freeze))

    def _begin(self, component: str, at_ms: int) -> None:
        known = self._replica.get(component)
        if known is None or known.rollout.next is None:
            self._counted.pop(component, None)
            return
        before = self._counted.get(component)
        self._counted[component] = known.rollout, at_ms if before is None else max(at_ms, before[1])
