"""Tells an older copy of the store's data from a failover.

Both lack changes that this server has seen. A failover loses the last ones: as many as a replica was behind. An older copy of the
data lacks also changes that the store had for long. To go on from it as after a failover would undo a day of work, so it is refused
until somebody adopts it.

The time is measured by this server's own clock, from when it saw a change until the store last confirmed its copy. So neither the
time that the store was away nor the store's clock matters.
"""

from collections import deque
from typing import Final

from rampd_server.domain.errors import StoreResetError, ways_on
from rampd_server.ports import Anchor, FeedEntry, Store

MAX_LOSS_S: Final = 60.0
"""A change that the store had for this time is not lost by a failover. A replica that is further behind is of no use."""

_NEWER_STATE: Final = "a newer state of it"
"""The epoch that the server names to a store that it refuses. No store has it, so that each script refuses to write."""


class OlderCopy:
    """Remembers which change the store must have, and looks for it."""

    def __init__(self, store: Store, *, max_loss_s: float = MAX_LOSS_S) -> None:
        self._store = store
        self._max_loss_s = max_loss_s
        self._newest: Anchor | None = None
        self._had: deque[tuple[float, Anchor]] = deque()
        """The newest change at each confirmation of the last `max_loss_s`."""
        self.anchor: Anchor | None = None
        """The newest change that the store had for `max_loss_s`; None if that is not known of any."""
        self.refusal: StoreResetError | None = None
        """Why nothing is written; None if the store is not known to have an older copy."""

    def begin(self, anchor: Anchor | None, newest: Anchor | None) -> None:
        """Begins with a state that was read. `anchor` is a change that the store has had for long, `newest` its last one."""
        self.anchor, self._newest = anchor, newest
        self._had.clear()

    def applied(self, entry: FeedEntry) -> None:
        """Notes a change. Only one of a component has a place in a history, and a sweep has none."""
        if entry.component and entry.patch:
            self._newest = Anchor(entry.component, entry.id)

    def confirmed(self, now_s: float) -> None:
        """Notes that the store had everything at `now_s`, by the monotonic clock."""
        if self._newest is not None and (not self._had or self._had[-1][1] != self._newest):
            self._had.append((now_s, self._newest))
        while self._had and self._had[0][0] <= now_s - self._max_loss_s:
            self.anchor = self._had.popleft()[1]

    async def require_none(self, epoch: str) -> None:
        """Raises StoreResetError if the store, which has the known epoch, lacks a change that it had for long. Then the store
        refuses every write of this server until another epoch is set.

        The feed alone proves nothing: somebody may have deleted it. So the history of the component has to lack the change too.
        """
        anchor = self.anchor
        if anchor is None or not await self._store.has_lost(anchor.entry):
            return
        if not await self._store.missing_entries([anchor]):
            return
        self._store.set_epoch(_NEWER_STATE)
        self.refusal = StoreResetError(
            f"The store has an older copy of its data: the change {anchor.entry} of {anchor.component} is missing, which it had "
            f"for over {self._max_loss_s:g} s, so no failover has lost it. Jobs keep their versions, and nothing is written. "
            f"{ways_on(self._store.adopt_command)}",
            believed=epoch,
            found=epoch,
        )
        raise self.refusal
