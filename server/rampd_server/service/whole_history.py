"""The history of the namespace and of all components together, newest first.

It merges the histories of the components. The last entry of each component is known from the copy in memory, so that the store is
asked only for histories that may have an event on the page.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.ports import AskedEvents, Event, FeedEntry, Store, entry_order
from rampd_server.process.long_work import in_pieces
from rampd_server.replica.replica import Replica

MAX_DAMAGE: Final = 100
"""How many damaged histories and entries one page names."""

_AT_ONCE: Final = 128
"""How many histories are read in one exchange, so that neither the store nor this server is busy with them for long."""

_Place: TypeAlias = "tuple[int, int, str, _History]"
"""As `_History.place` returns it."""
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

    def place(self) -> _Place:
        """Orders histories by their next event, or by the latest event that may be next."""
        order = entry_order(self.events[0].id) if self.events else self.end or (0, 0)
        return *_place_of(order), self.component, self


class WholeHistory:
    """Lists the events of all components that a caller may see, and of the namespace.

    It is a listener of the copy, and keeps the components in the order of their last entries. To sort ten thousand of them
    for each page would stop the server for a moment.
    """

    def __init__(self, store: Store, replica: Replica) -> None:
        self._store = store
        self._replica = replica
        self._latest: dict[str, str] = {}
        """The last entry of each component, the latest one at the end."""
        self._unknown: frozenset[str] = frozenset()
        """Components whose last entry an earlier rampd did not store."""
        self._is_in_order = False
        """Whether both are known since everything was read the last time."""
        replica.subscribe(self)

    def applied(self, entry: FeedEntry, _before: object, _after: object) -> None:
        """Moves a component to the end. A sweep of overrides is no event."""
        if not self._is_in_order or not entry.component or not entry.patch:
            return
        self._latest.pop(entry.component, None)
        if not entry.is_deletion:
            self._latest[entry.component] = entry.id

    def reloaded(self) -> None:
        """Anything may have changed. The next one who lists puts all components in order."""
        self._is_in_order = False

    async def _put_in_order(self) -> None:
        orders: dict[str, _Order] = {}
        async for known in in_pieces(self._replica.components()):
            orders[known.rollout.entry] = entry_order(known.rollout.entry)
        # Some may have changed meanwhile. To sort all takes a few milliseconds.
        entries = {known.rollout.component: known.rollout.entry for known in self._replica.components()}
        self._unknown = frozenset(name for name, entry_id in entries.items() if not entry_id)
        latest = [(name, entry_id) for name, entry_id in entries.items() if entry_id]
        self._latest = dict(sorted(latest, key=lambda each: orders.get(each[1]) or entry_order(each[1])))
        self._is_in_order = True

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
        StoreResetError; StoreCorruptError if the names of the deleted components can't be read.
        """
        begin, end = _following(entry_order(after)) if after else (0, 0), entry_order(before) if before else _LATEST
        others, latest = await self._components(begin)
        histories = [
            _History(name, min(last, end)) for name, last in others.items() if last > begin and (not name or sees(name))
        ]
        places = [history.place() for history in histories]
        heapify(places)
        while places or latest:
            if latest and (not places or _place_of(min(_end_of(latest[-1][1]), end)) < places[0][:2]):
                for history in _take_latest(latest, begin, end, sees):
                    heappush(places, history.place())
            elif places[0][-1].events:
                history = heappop(places)[-1]
                yield history.events.popleft()
                if history.events or history.end:
                    heappush(places, history.place())
            else:
                taken = _take_unread(places, end, page)
                await self._read(taken, damage, after, page)
                for history in taken:
                    if history.events or history.end:
                        heappush(places, history.place())

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

    async def _components(self, begin: _Order) -> tuple[dict[str, _Order], list[tuple[str, str]]]:
        """Returns components in no order, each with the place after its last entry, and all others as in `_latest`. The
        namespace is among the first, with an empty name.
        """
        # In this order, no component is missing that is deleted, or made again, in between.
        deleted = await self._store.deleted_components(since_ms=begin[0])
        is_current = await self._replica.catch_up()
        if is_current and _end_of(self._replica.entry_id) <= begin:
            return {}, []
        if not self._is_in_order:
            await self._put_in_order()
        others = {name: (time_ms + 1, 0) for name, time_ms in deleted if name.isascii()}
        for absent in self._replica.gone():
            others[absent.component] = max(_end_of(absent.entry), others.get(absent.component, (0, 0)))
        for name in others.keys() & self._latest.keys():
            others[name] = max(others[name], _end_of(self._latest[name]))
        # The last entries of these are not known, and that of the namespace's own history is not kept.
        others |= dict.fromkeys(self._unknown | self._replica.damaged.keys(), _LATEST)
        others[""] = _LATEST
        if not is_current:
            return dict.fromkeys(others.keys() | self._latest.keys(), _LATEST), []
        return others, [each for each in self._latest.items() if each[0] not in others]


def _take_latest(
    latest: list[tuple[str, str]], begin: _Order, end: _Order, sees: Callable[[str], bool]
) -> list[_History]:
    """Takes out some of the components that changed last."""
    taken: list[_History] = []
    while latest and len(taken) < _AT_ONCE:
        name, entry_id = latest.pop()
        last = _end_of(entry_id)
        if last <= begin:
            latest.clear()
        elif sees(name):
            taken.append(_History(name, min(last, end)))
    return taken


def _take_unread(places: list[_Place], end: _Order, page: int) -> list[_History]:
    """Takes out the histories that have to be read next. Where the last entry is known, one history more is likely to give
    one event more, so no more are read than the page has events.
    """
    taken: list[_History] = []
    while places and not (history := places[0][-1]).events:
        if len(taken) >= (_AT_ONCE if history.end == end else page):
            break
        taken.append(heappop(places)[-1])
    return taken


def _place_of(order: _Order) -> tuple[int, int]:
    """Orders later entries before earlier ones."""
    return -order[0], -order[1]


def _end_of(entry_id: str) -> _Order:
    """Returns the place right after an entry; if the entry is not known, the latest place."""
    return _following(entry_order(entry_id)) if entry_id else _LATEST


def _following(order: _Order) -> _Order:
    return order[0], order[1] + 1


def _before(end: _Order | None) -> str:
    return "" if end is None or end >= _LATEST else f"{end[0]}-{end[1]}"
