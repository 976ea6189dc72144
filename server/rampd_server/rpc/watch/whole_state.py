"""The whole state for new watchers. It is encoded once for all of them, and kept as long as the log has all changes
since.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from rampd import v1
from rampd._contract.component_state import parts_of
from rampd._decision.resolution import Choice, ComponentSnapshot
from rampd_server.process.memory import give_back
from rampd_server.replica.replica import Replica
from rampd_server.rpc.watch.change_log import ChangeLog
from rampd_server.rpc.watch.selection import Selection

PART_BYTES = 128 * 1024
"""A part of this size is full. The last piece of a component may exceed it, but parts stay below 512 KiB."""
_MAX_KEPT = 64
"""The number of selections of components whose states are kept."""
_MAX_BYTES = 32 * 1024 * 1024
"""The limit for all kept states together. The newest state is kept in any case."""
_IDLE_S = 30.0
"""After so long without a new watcher, states are dropped and their memory is given back."""

_log = structlog.get_logger(__name__)

Part = tuple[bytes, ...]
"""One message in pieces. The concatenated pieces are a serialised message with one field `state`."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class WholeState:
    """Messages to send in order, and the position of the log after them."""

    parts: tuple[Part, ...]
    position: int


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A component at one snapshot, encoded. States of different selections share it."""

    snapshot: ComponentSnapshot
    pieces: tuple[bytes, ...]


_Taken = _Encoded | tuple[ComponentSnapshot, list[tuple[str, Choice]]] | bytes
"""One component of a state: encoded already, still to encode, or a complete piece."""


@dataclass(slots=True, eq=False)
class _Making:
    """A state that is being made, and for how many callers."""

    task: asyncio.Task[WholeState]
    callers: int = 0


class WholeStates:
    """Makes and keeps whole states of a replica. `log` has the changes of the same replica."""

    def __init__(self, replica: Replica, log: ChangeLog) -> None:
        self._replica = replica
        self._log = log
        self._kept: dict[Selection, WholeState] = {}
        self._encoded: dict[str, _Encoded] = {}
        self._changed: set[str] = set()
        """The components that have changed since the present encoding began."""
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._making: dict[Selection, _Making] = {}
        self.made = 0
        """The number of states that were encoded so far."""

    def applied(self, component: str) -> None:
        """A component changed. A change of its overrides may come without a new snapshot."""
        self._encoded.pop(component, None)
        self._changed.add(component)

    def reloaded(self) -> None:
        """Anything may have changed."""
        self._encoded.clear()
        self._changed.update(known.rollout.component for known in self._replica.components())

    async def get(self, selection: Selection) -> WholeState:
        """Returns a state that the log continues. All callers that ask while it is being made get the same state."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._drop)
        while True:
            kept = self._kept.get(selection)
            if kept is not None and self._log.reaches(kept.position):
                return kept
            making = self._making.get(selection)
            if making is None:
                making = self._making[selection] = _Making(asyncio.create_task(self._make(selection)))
                making.task.add_done_callback(partial(self._forget, selection, making))
            state = await self._made_by(making, selection)
            if self._log.reaches(state.position):
                return state

    async def _made_by(self, making: "_Making", selection: Selection) -> WholeState:
        making.callers += 1
        try:
            # The shield keeps the task going for other callers if this one is cancelled.
            return await asyncio.shield(making.task)
        finally:
            making.callers -= 1
            if not making.callers:
                # A caller can choose any components, and go. The states of those who have gone would delay all others.
                making.task.cancel()
                self._forget(selection, making)

    def _forget(self, selection: Selection, making: "_Making", _task: object = None) -> None:
        if self._making.get(selection) is making:
            del self._making[selection]

    async def _make(self, selection: Selection) -> WholeState:
        # One after the other, so that components that two selections share are encoded once.
        async with self._turn:
            return await self._make_now(selection)

    async def _make_now(self, selection: Selection) -> WholeState:
        self.made += 1
        self._changed = set()
        position, cursor = self._log.end, f"{self._replica.epoch}{selection.mark}/{self._replica.entry_id}"
        # All values must be of one moment, so they are copied without a pause. Encoding takes far longer, and pauses.
        taken: list[_Taken] = [
            self._encoded_now(known.snapshot)
            or (known.snapshot, list(known.overrides.items()) if len(known.overrides) else [])
            for known in self._replica.components()
            if not selection or known.rollout.component in selection
        ]
        taken += [
            _damaged(name, self._replica.store_time_ms(damage.since_s))
            for name, damage in self._replica.damaged.items()
            if (not selection or name in selection) and name.isascii()
        ]
        parts: list[Part] = []
        part: list[bytes] = [_FIRST]
        size = 0
        for each in taken:
            for piece in await self._pieces_of(each):
                if size >= PART_BYTES:
                    parts.append(_message(part))
                    part, size = [], 0
                part.append(piece)
                size += len(piece)
        end = v1.WatchResponse(cursor=cursor).SerializeToString()
        state = WholeState((*parts, (*_message([*part, _LAST]), end)), position)
        self._keep(selection, state)
        _log.debug("whole_state_encoded", components=len(taken), parts=len(state.parts), bytes=_size_of([state]))
        return state

    async def _pieces_of(self, taken: _Taken) -> Iterable[bytes]:
        if isinstance(taken, bytes):
            return (taken,)
        encoded = taken if isinstance(taken, _Encoded) else await self._encode(*taken)
        return encoded.pieces

    def _encoded_now(self, snapshot: ComponentSnapshot) -> _Encoded | None:
        known = self._encoded.get(snapshot.component)
        return known if known is not None and known.snapshot is snapshot else None

    async def _encode(self, snapshot: ComponentSnapshot, overrides: list[tuple[str, Choice]]) -> _Encoded:
        """Encodes a component once for all states with this snapshot of it."""
        pieces = []
        for piece in parts_of(snapshot, overrides):
            pieces.append(v1.WatchState(components=[piece]).SerializeToString())
            await asyncio.sleep(0)
        encoded = _Encoded(snapshot, tuple(pieces))
        if snapshot.component not in self._changed:
            self._encoded[snapshot.component] = encoded
        return encoded

    def _keep(self, selection: Selection, state: WholeState) -> None:
        """Keeps a state, and as many of the newest earlier ones as there is room for."""
        kept = {each: old for each, old in self._kept.items() if each != selection and self._log.reaches(old.position)}
        while kept and (
            len(kept) >= _MAX_KEPT or _size_of([*kept.values(), state]) > max(_MAX_BYTES, _size_of([state]))
        ):
            del kept[next(iter(kept))]
        self._kept = kept | {selection: state}
        # Encoded components that no state uses any more are dropped, and encoded again when needed.
        used = {id(piece) for each in self._kept.values() for part in each.parts for piece in part}
        self._encoded = {
            name: each for name, each in self._encoded.items() if not used.isdisjoint(map(id, each.pieces))
        }

    def _drop(self) -> None:
        """Drops all states, because no new watcher has come for a while."""
        self._idle = None
        if self._kept and not self._making:
            self._kept, self._encoded = {}, {}
            asyncio.get_running_loop().run_in_executor(None, give_back)


def _damaged(name: str, confirmed_ms: int) -> bytes:
    damaged = v1.DamagedComponent(component=name)
    damaged.confirmed_time.FromMilliseconds(confirmed_ms)
    return v1.WatchState(damaged=[damaged]).SerializeToString()


_FIRST = v1.WatchState(first=True).SerializeToString()
_LAST = v1.WatchState(last=True).SerializeToString()
_STATE = v1.WatchResponse.DESCRIPTOR.fields_by_name["state"].number << 3 | 2
"""What is before the length of the field `state`."""


def _message(pieces: Sequence[bytes]) -> Part:
    """A message whose state is these pieces. It has the field `state` once: protobuf says that a reader merges a field that comes
    several times, but protobufjs, and so grpc-js, takes only the last one.
    """
    return (bytes((_STATE,)) + _varint(sum(map(len, pieces))), *pieces)


def _varint(number: int) -> bytes:
    """A length as protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def _size_of(states: Iterable[WholeState]) -> int:
    """Returns the bytes of all states together. Pieces that several states share count once."""
    return sum({id(piece): len(piece) for state in states for part in state.parts for piece in part}.values())
