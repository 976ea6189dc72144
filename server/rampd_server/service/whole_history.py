"""The history of the namespace and of all components together, newest first.

It merges the histories of the components. The copy in memory knows the last entry of each component, so that the store is asked
only for histories that may have an event on the page.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.ports import AskedEvents, Event, Store, entry_order
from rampd_server.replica.replica import Replica

MAX_DAMAGE: Final = 100
"""How many damaged histories and entries one page names."""

_AT_ONCE: Final = 200
"""How many histories are read in one exchange, so that neither the store nor this server is busy with them for long."""

_Order = tuple[int, int]
"""As `entry_order` returns it."""
_LATEST: Final[_Order] = (10**18, 0)
"""Later than every entry."""


@dataclass(slots=True)
class _History:
    """One history, and what was read of it and not used yet."""

    component: str
    end: _Order | None
    """Everything that was not read yet is older than this. None if everything was read."""
    events: deque[Event] = field(default_factory=deque)
    count: int = 0
    """How many events were asked for at the last time."""

    def place(self) -> tuple[int, int, str, "_History"]:
        """Orders histories by their next event, or by the latest event that may be next."""
        time_ms, sequence = entry_order(self.events[0].id) if self.events else self.end or (0, 0)
        return -time_ms, -sequence, self.component, self


class WholeHistory:
    """Lists the events of all components that a caller may see, and of the namespace."""

    def __init__(self, store: Store, replica: Replica) -> None:
        self._store = store
        self._replica = replica

    async def events(
        self,
        sees: Callable[[str], bool],
        damage: list[StoreCorruptError],
        *,
        before: str = "",
        after: str = "",
        page: int,
    ) -> AsyncGenerator[Event]:
        """Yields events that are older than the id `before` and newer than the id `after`, newest first. The caller is
        likely to use `page` of them.

        What can't be read is left out, and added to `damage` up to MAX_DAMAGE. Raises StoreUnavailableError,
        StoreResetError; StoreCorruptError if the names of the components can't be read.
        """
        end = entry_order(before) if before else _LATEST
        places = [history.place() for history in await self._histories(sees, end, after)]
        heapify(places)
        while places:
            history = places[0][-1]
            if history.events:
                heappop(places)
                yield history.events.popleft()
                if history.events or history.end:
                    heappush(places, history.place())
            else:
                opened = []
                # A history whose last entry is known is read once its event is next. Then the page is likely to use it.
                most = _AT_ONCE if history.end == end else min(page, _AT_ONCE)
                while places and len(opened) < most and not places[0][-1].events:
                    opened.append(heappop(places)[-1])
                await self._read(opened, damage, after, page)
                for each in opened:
                    if each.events or each.end:
                        heappush(places, each.place())

    async def _read(self, histories: list[_History], damage: list[StoreCorruptError], after: str, page: int) -> None:
        """Reads the next piece of each history. A history from which more is used than others gets larger pieces."""
        for history in histories:
            history.count = min(page, max(2 * page // len(histories), 4 * history.count, 1))
        asked = [AskedEvents(each.component, _before(each.end), each.count) for each in histories]
        pieces = await self._store.events_of_many(asked, after=after)
        for history, piece in zip(histories, pieces, strict=True):
            history.events.extend(piece.events)
            history.end = entry_order(piece.oldest) if piece.oldest else None
            damage.extend(piece.damage[: MAX_DAMAGE - len(damage)])

    async def _histories(self, sees: Callable[[str], bool], end: _Order, after: str) -> list[_History]:
        """Returns the histories that may have an event before `end` and after `after`."""
        begin = _following(entry_order(after)) if after else (0, 0)
        # In this order, no component is missing that is deleted, or made again, in between.
        deleted = await self._store.deleted_components(since_ms=begin[0])
        is_current = await self._replica.catch_up()
        if is_current and after and _end_of(self._replica.entry_id) <= begin:
            return []
        ends = {name: (time_ms + 1, 0) for name, time_ms in deleted if name.isascii()}
        for rollout in (*self._replica.gone(), *(known.rollout for known in self._replica.components())):
            ends[rollout.component] = max(_end_of(rollout.entry), ends.get(rollout.component, (0, 0)))
        # The last entry of a damaged component is not known.
        ends |= dict.fromkeys(self._replica.damaged, _LATEST)
        found = [
            _History(name, min(latest, end) if is_current else end)
            for name, latest in ends.items()
            if (latest > begin or not is_current) and sees(name)
        ]
        # The copy does not know the last entry of the namespace's own history.
        return [*found, _History("", end)]


def _end_of(entry_id: str) -> _Order:
    """Returns the place right after a component's last entry. An earlier rampd did not store that entry."""
    return _following(entry_order(entry_id)) if entry_id else _LATEST


def _following(order: _Order) -> _Order:
    return order[0], order[1] + 1


def _before(end: _Order | None) -> str:
    return "" if end is None or end >= _LATEST else f"{end[0]}-{end[1]}"
