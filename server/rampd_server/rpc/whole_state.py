"""The whole state for those who begin to watch: encoded once, for all of them, and as long as the changes since are known."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import structlog

from rampd import v1
from rampd.component_state import parts_of
from rampd.resolution import Choice, ComponentSnapshot
from rampd_server.replica import Replica
from rampd_server.rpc.change_log import ChangeLog

PART_BYTES = 128 * 1024
"""From where on a part is full. The next piece of a component still goes in, which keeps parts below 512 KiB."""
_MAX_KEPT = 64
"""For how many selections of components a state is kept."""

_log = structlog.get_logger(__name__)

Selection = frozenset[str]
"""The components that a watcher wants; none: all."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class WholeState:
    """Serialised messages, to be sent in order, and where the log goes on after them."""

    parts: tuple[bytes, ...]
    position: int


class WholeStates:
    """Makes and keeps whole states of a replica, whose changes a log has."""

    def __init__(self, replica: Replica, log: ChangeLog) -> None:
        self._replica = replica
        self._log = log
        self._kept: dict[Selection, WholeState] = {}
        self._making: dict[Selection, asyncio.Task[WholeState]] = {}
        self.made = 0
        """How many were encoded so far."""

    async def get(self, selection: Selection) -> WholeState:
        """A state that the log goes on from; whoever asks while it is being made gets the same one."""
        while True:
            kept = self._kept.get(selection)
            if kept is not None and self._log.reaches(kept.position):
                return kept
            task = self._making.get(selection)
            if task is None:
                task = self._making[selection] = asyncio.create_task(self._make(selection))
                task.add_done_callback(lambda _: self._making.pop(selection, None))
            # Who is cancelled takes nobody else's state away.
            state = await asyncio.shield(task)
            if self._log.reaches(state.position):
                return state

    async def _make(self, selection: Selection) -> WholeState:
        self.made += 1
        position, cursor = self._log.end, f"{self._replica.epoch}/{self._replica.entry_id}"
        # What must be of one moment is taken in one go; encoding it takes far longer, and others get their turn.
        taken = [
            (known.snapshot, list(known.overrides.items()))
            for known in self._replica.components()
            if not selection or known.rollout.component in selection
        ]
        parts = []
        for part in _encoded(taken, cursor):
            parts.append(part)
            await asyncio.sleep(0)
        state = WholeState(tuple(parts), position)
        _log.debug("whole_state_encoded", components=len(taken), parts=len(parts), bytes=sum(map(len, parts)))
        kept = {each: old for each, old in self._kept.items() if each != selection and self._log.reaches(old.position)}
        while len(kept) >= _MAX_KEPT:
            del kept[next(iter(kept))]
        self._kept = kept | {selection: state}
        return state


def _encoded(components: Iterable[tuple[ComponentSnapshot, list[tuple[str, Choice]]]], cursor: str) -> Iterator[bytes]:
    part = v1.WatchState(first=True)
    size = 0
    for snapshot, overrides in components:
        for piece in parts_of(snapshot, overrides):
            if size >= PART_BYTES:
                yield v1.WatchResponse(state=part).SerializeToString()
                part, size = v1.WatchState(), 0
            part.components.append(piece)
            size += piece.ByteSize()
    part.last = True
    yield v1.WatchResponse(state=part, cursor=cursor).SerializeToString()
