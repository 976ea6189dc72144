"""The last changes as every watcher gets them: each is encoded once, and kept for those who come back or are slow."""

from bisect import bisect_left
from collections.abc import Container
from dataclasses import dataclass
from enum import Enum, auto

from rampd_server.ports import entry_order

MAX_ENTRIES = 32_768
MAX_BYTES = 8 * 1024 * 1024
MAX_MESSAGE = 256 * 1024
"""About how much is put into one message for a watcher that has to catch up."""
_DROPPED_AT_ONCE = 16
"""A log that is full drops the oldest one in so many: few enough to reach far back, many enough to cost little for each."""


class Missing(Enum):
    """Why there is nothing to resume from."""

    TOO_OLD = auto()
    """The log does not reach back that far."""
    AHEAD = auto()
    """It is after all that the log has."""
    FORKED = auto()
    """It is between entries that follow on each other: of a history that was lost."""


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
        """How many entries were there before the oldest one, which makes it the oldest position."""

    @property
    def end(self) -> int:
        """The position after the newest entry."""
        return self._dropped + len(self._entries)

    def reaches(self, position: int) -> bool:
        """Whether everything from a position on is there."""
        return position >= self._dropped

    def restart(self, entry_id: str) -> None:
        """Forgets everything: the next entry follows on this one. No position of before is reached any more."""
        self._dropped = self.end + 1
        self._entries.clear()
        self._bytes = 0
        self._base = entry_order(entry_id)

    def append(self, entry_id: str, component: str, message: bytes) -> None:
        """Takes in an entry; one without a message only moves on where watchers stand."""
        self._entries.append(_Entry(entry_order(entry_id), component, message))
        self._bytes += len(message)
        if len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._drop()

    def after(self, entry_id: str) -> int | Missing:
        """The position after an entry, or why there is none."""
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
        """What a watcher of these components (none: all) gets next as one message, and the position after it."""
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
        # Messages of protobuf one after the other are one message, with what repeats appended.
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
