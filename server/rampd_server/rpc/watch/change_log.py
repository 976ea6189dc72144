"""The last changes, as every watcher gets them. Each change is encoded once, and kept for watchers that are slow or
come back.
"""

from bisect import bisect_left
from collections.abc import Container
from dataclasses import dataclass
from enum import Enum, auto

from rampd_server.ports import entry_order

MAX_ENTRIES = 32_768
MAX_BYTES = 8 * 1024 * 1024
MAX_MESSAGE = 256 * 1024
"""The approximate size of one message for a watcher that must catch up."""
_DROPPED_AT_ONCE = 16
"""A full log drops its oldest sixteenth. That is small enough to reach far back, and large enough to be cheap per
entry.
"""


class Missing(Enum):
    """Why a watcher can't resume after an entry."""

    TOO_OLD = auto()
    """The log does not reach back that far."""
    AHEAD = auto()
    """The entry is newer than the newest entry of the log."""
    FORKED = auto()
    """The entry lies between two consecutive entries, so it belongs to a lost history."""


@dataclass(frozen=True, slots=True)
class _Entry:
    order: tuple[int, int]
    component: str
    message: bytes


class ChangeLog:
    """Entries in the order of the feed, numbered as they come. A position is the number of the next entry to be read."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: list[_Entry] = []
        self._bytes = 0
        self._base = (0, 0)
        self._dropped = 0
        """The number of entries that were dropped. It is also the position of the oldest entry."""

    @property
    def end(self) -> int:
        """The position after the newest entry."""
        return self._dropped + len(self._entries)

    def entry_before(self, position: int) -> str:
        """Returns the id of the entry before a position that the log reaches."""
        index = position - self._dropped - 1
        milliseconds, sequence = self._entries[index].order if index >= 0 else self._base
        return f"{milliseconds}-{sequence}"

    def reaches(self, position: int) -> bool:
        """Whether the log has all entries from a position on."""
        return position >= self._dropped

    def changed_ms(self, position: int) -> int | None:
        """When the change at a position was committed, by the store's clock; None at the end. If the log does not reach back to the
        position, it is the oldest change here.
        """
        index = max(0, position - self._dropped)
        return self._entries[index].order[0] if index < len(self._entries) else None

    def restart(self, entry_id: str) -> None:
        """Forgets all entries. The next entry follows `entry_id`. The log does not reach back to any earlier position."""
        self._dropped = self.end + 1
        self._entries.clear()
        self._bytes = 0
        self._base = entry_order(entry_id)

    def append(self, entry_id: str, component: str, message: bytes) -> None:
        """Adds an entry. An entry without a message only moves the watchers' positions on."""
        self._entries.append(_Entry(entry_order(entry_id), component, message))
        self._bytes += len(message)
        if len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._drop()

    def after(self, entry_id: str) -> int | Missing:
        """Returns the position after an entry, or why there is no such position."""
        order = entry_order(entry_id)
        if order == self._base:
            return self._dropped
        if order < self._base:
            return Missing.TOO_OLD
        index = bisect_left(self._entries, order, key=lambda entry: entry.order)
        if index == len(self._entries):
            return Missing.AHEAD
        return self._dropped + index + 1 if self._entries[index].order == order else Missing.FORKED

    def read(self, position: int, components: Container[str]) -> tuple[bytes, int]:
        """Returns the next message for a watcher of these components (empty: all), and the position after it."""
        entries = self._entries
        index = position - self._dropped
        if index == len(entries) - 1:  # the one change that has just come
            entry = entries[index]
            return entry.message if not components or entry.component in components else b"", position + 1
        messages = []
        room = MAX_MESSAGE
        while index < len(entries) and room > 0:
            entry = entries[index]
            index += 1
            if entry.message and (not components or entry.component in components):
                messages.append(entry.message)
                room -= len(entry.message)
        # Concatenated protobuf messages are one message: repeated fields are appended.
        return b"".join(messages), self._dropped + index

    def _drop(self) -> None:
        number = 0
        entries = self._entries
        entries_kept = self._max_entries - self._max_entries // _DROPPED_AT_ONCE
        bytes_kept = self._max_bytes - self._max_bytes // _DROPPED_AT_ONCE
        while number < len(entries) and (len(entries) - number > entries_kept or self._bytes > bytes_kept):
            self._bytes -= len(entries[number].message)
            number += 1
        self._base = entries[number - 1].order
        self._dropped += number
        del entries[:number]
