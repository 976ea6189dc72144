"""Which events of a history are new to somebody who follows it. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rampd import v1

WINDOW_MS: Final = 60_000
"""How far back to look again for events that were not there at the last look. A server may list an event a little late, and the
clocks of the machines of a store differ a little, so that a later event may have an earlier id.
"""


class NewEvents:
    """Remembers which events were seen. The history is always given newest first, as a server lists it."""

    def __init__(self) -> None:
        self._newest_ms = 0
        self._seen: dict[str, int] = {}

    @property
    def after(self) -> str:
        """The id after which to ask a server for events. Empty: ask for all."""
        return f"{self._newest_ms - WINDOW_MS}-0" if self._newest_ms > WINDOW_MS else ""

    def first(self, newest_first: Iterable[v1.Event], *, limit: int | None, since: datetime | None) -> list[v1.Event]:
        """Returns the newest events, oldest first: at most `limit` of them, and none before `since`. All others, as far as they
        could be found again, count as seen.
        """
        wanted: list[v1.Event] = []
        for event in newest_first:
            at_ms = _milliseconds(event)
            self._newest_ms = max(self._newest_ms, at_ms)
            is_wanted = (limit is None or len(wanted) < limit) and is_since(event, since)
            if not is_wanted and at_ms < self._newest_ms - WINDOW_MS:
                break
            self._seen[_key(event)] = at_ms
            if is_wanted:
                wanted.append(event)
        self._forget()
        return wanted[::-1]

    def of(self, newest_first: Iterable[v1.Event]) -> list[v1.Event]:
        """Returns the events that were not seen yet, oldest first."""
        floor_ms = self._newest_ms - WINDOW_MS
        # Read as a whole before any of it counts as seen: the server may be gone before the last page.
        new = []
        for event in newest_first:
            if _milliseconds(event) < floor_ms:
                break
            if _key(event) not in self._seen:
                new.append(event)
        self._seen.update((_key(event), _milliseconds(event)) for event in new)
        self._newest_ms = max(self._newest_ms, *map(_milliseconds, new), 0)
        self._forget()
        return new[::-1]

    def _forget(self) -> None:
        """Forgets events that no later look can find."""
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms >= self._newest_ms - WINDOW_MS}


def is_since(event: v1.Event, since: datetime | None) -> bool:
    """Whether an event is not older than a moment. None: every event."""
    return since is None or event.time.ToMilliseconds() >= since.timestamp() * 1000


def _milliseconds(event: v1.Event) -> int:
    time_ms = event.id.partition("-")[0]
    return int(time_ms) if time_ms.isdecimal() else event.time.ToMilliseconds()


def _key(event: v1.Event) -> str:
    """A server of an earlier version sends no ids."""
    return event.id or f"{event.component}/{event.revision}/{event.time.ToMilliseconds()}"
