"""ListRollouts: all components with their state.

The answer comes from the copy in memory, once the copy has everything that the store had at the call. So it costs the store one
look at its head. If the copy does not get there, and for components that this server can't read, the store is asked.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from rampd import v1
from rampd._decision.resolution import ComponentSnapshot
from rampd._evidence.release_counters import ReleaseCounters
from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import FeedEntry, OutcomeStore, Store, Stored
from rampd_server.process.long_work import in_pieces
from rampd_server.replica.damage import damage_of
from rampd_server.replica.replica import Replica
from rampd_server.rpc.kept_messages import KeptMessages
from rampd_server.rpc.messages import convert
from rampd_server.rpc.messages.outcomes import show_current_outcomes
from rampd_server.rpc.paging import piece_size


class RolloutList:
    """Lists all components, of which each caller may see some."""

    def __init__(self, store: Store, replica: Replica, outcomes: OutcomeStore) -> None:
        self._store = store
        self._replica = replica
        self._outcomes = outcomes
        self._messages = KeptMessages(replica)
        self._names: Sequence[str] | None = None
        """The components of the copy, in order; None if some have come or gone since a list needed them."""
        replica.subscribe(self)

    async def rollouts(
        self, request: v1.ListRolloutsRequest, sees: Callable[[str], bool]
    ) -> AsyncGenerator[tuple[str, v1.Rollout]]:
        """Yields the components after the page token, each with the token of a page that begins after it. A component that
        can't be read hides no other one. Raises StoreUnavailableError, StoreResetError.
        """
        is_current = await self._replica.catch_up(is_exact=True)
        after, piece = request.page_token, piece_size(request)
        pieces = self._names_here(after, piece) if is_current else self._names_in_store(after, piece)
        async with aclosing(pieces):
            async for names in pieces:
                # A name that is not ASCII is not valid: somebody has written it into the store by hand.
                seen = [name for name in names if name.isascii() and sees(name)]
                states = await self._states(seen, is_current=is_current)
                messages = {
                    name: message
                    async for name, state in in_pieces(states.items())
                    if (message := self._message(name, state)) is not None
                }
                if request.current_outcomes:
                    await self._add_current_outcomes(messages, states)
                for each in messages.items():
                    yield each

    async def _names_here(self, after: str, piece: int) -> AsyncGenerator[Sequence[str]]:
        if self._names is None:
            self._names = sorted(known.rollout.component for known in self._replica.components())
        names = self._names
        if without_state := [name for name in self._replica.damaged if self._replica.get(name) is None]:
            names = sorted({*names, *without_state})
        for first in range(bisect_right(names, after), len(names), piece):
            yield names[first : first + piece]

    async def _names_in_store(self, after: str, piece: int) -> AsyncGenerator[Sequence[str]]:
        while names := await self._store.components(after=after, limit=piece):
            yield names
            after = names[-1]

    async def _states(self, names: Sequence[str], *, is_current: bool) -> dict[str, Stored | Exception]:
        """Returns each component, or why it can't be read."""
        asked = [name for name in names if not is_current or name in self._replica.damaged]
        read = {name: found async for name, found in self._store.read_many(asked)}
        if len(read) == len(names):
            return read
        namespace, now_ms = self._replica.namespace, self._replica.now_ms()
        return {name: read.get(name) or Stored(self._here(name), namespace, now_ms) for name in names}

    def _here(self, name: str) -> Rollout | Absent:
        known = self._replica.get(name)
        return known.rollout if known else Absent(name)

    def _message(self, name: str, state: Stored | Exception) -> v1.Rollout | None:
        """Returns None for a component that was deleted since."""
        try:
            if isinstance(state, Exception):
                return self._damaged(name, state)
            if not isinstance(state.rollout, Rollout):
                return None
            message = self._messages.message(state.rollout, state.namespace, state.time_ms)
        except Exception as error:  # noqa: BLE001 - one component must not hide the others
            return self._damaged(name, error)
        return with_damage(message, self._replica)

    def _damaged(self, name: str, error: Exception) -> v1.Rollout:
        damage = damage_of(name, error)
        self._replica.doubt(name)
        return convert.damaged_message(name, damage)

    async def _add_current_outcomes(
        self, messages: Mapping[str, v1.Rollout], states: Mapping[str, Stored | Exception]
    ) -> None:
        """Adds how current's jobs went. Counts that are damaged, which is damage of the component, or on a shard that is away hide
        neither it nor the others.
        """
        read = {
            name: (state.rollout, state.time_ms)
            for name in messages
            if isinstance(state := states[name], Stored) and isinstance(state.rollout, Rollout)
        }
        try:
            counters = await self._outcomes.release_counters_of(list(read))
        except StoreUnavailableError:
            return
        async for (name, (rollout, now_ms)), found in in_pieces(zip(read.items(), counters, strict=True)):
            if isinstance(found, StoreCorruptError):
                messages[name].damage.CopyFrom(convert.damage_message(found))
            elif isinstance(found, ReleaseCounters):
                show_current_outcomes(messages[name], rollout, found, now_ms)

    # What the replica tells.

    def applied(self, _entry: FeedEntry, before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """A component may have come or gone."""
        if (before is None) != (after is None):
            self._names = None

    def reloaded(self) -> None:
        """Anything may have changed."""
        self._names = None


def with_damage(message: v1.Rollout, replica: Replica) -> v1.Rollout:
    """Adds damage that the rollout itself does not show: that of its overrides, which only the replica reads."""
    if error := replica.damage(message.component):
        message.damage.CopyFrom(convert.damage_message(error))
    return message
