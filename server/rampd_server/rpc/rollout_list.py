"""ListRollouts: all components with their state.

The answer comes from the copy in memory, once the copy has everything that the store had at the call. So it costs the store one
look at its head. If the copy does not get there, and for components that this server can't read, the store is asked.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from rampd import v1
from rampd_server.domain.errors import StoreCorruptError, StoreUnavailableError
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import OutcomeStore, Store, Stored
from rampd_server.replica.damage import damage_of
from rampd_server.replica.replica import Replica
from rampd_server.rpc.messages import convert
from rampd_server.rpc.messages.outcomes import show_current_outcomes
from rampd_server.rpc.paging import piece_size

_AT_ONCE: Final = 25
"""How many messages are made, or given their outcomes, before other tasks get a turn. They take about a millisecond."""


class RolloutList:
    """Lists all components, of which each caller may see some."""

    def __init__(self, store: Store, replica: Replica, outcomes: OutcomeStore) -> None:
        self._store = store
        self._replica = replica
        self._outcomes = outcomes

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
                messages = []
                for place, (name, state) in enumerate(states.items()):
                    messages.append(self._message(name, state))
                    if not place % _AT_ONCE:
                        await asyncio.sleep(0)
                if request.current_outcomes:
                    await self._add_all_outcomes(list(zip(messages, states.values(), strict=True)))
                for name, message in zip(states, messages, strict=True):
                    if message is not None:
                        yield name, message

    async def _names_here(self, after: str, piece: int) -> AsyncGenerator[Sequence[str]]:
        names = sorted({*self._replica.damaged, *(known.rollout.component for known in self._replica.components())})
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
        return {name: read[name] if name in read else self._here(name) for name in names}

    def _here(self, name: str) -> Stored:
        known = self._replica.get(name)
        return Stored(known.rollout if known else Absent(name), self._replica.namespace, self._replica.now_ms())

    def _message(self, name: str, state: Stored | Exception) -> v1.Rollout | None:
        """Returns None for a component that was deleted since."""
        try:
            if isinstance(state, Exception):
                return self._damaged(name, state)
            if not isinstance(state.rollout, Rollout):
                return None
            message = convert.rollout_message(state.rollout, state.namespace, state.time_ms)
        except Exception as error:  # noqa: BLE001 - one component must not hide the others
            return self._damaged(name, error)
        return with_damage(message, self._replica)

    def _damaged(self, name: str, error: Exception) -> v1.Rollout:
        damage = damage_of(name, error)
        self._replica.doubt(name)
        return convert.damaged_message(name, damage)

    async def _add_all_outcomes(self, found: Sequence[tuple[v1.Rollout | None, Stored | Exception]]) -> None:
        # So many tasks begin in the same turn of the event loop.
        for first in range(0, len(found), _AT_ONCE):
            await asyncio.gather(*(self._add_current_outcomes(*each) for each in found[first : first + _AT_ONCE]))

    async def _add_current_outcomes(self, message: v1.Rollout | None, state: Stored | Exception) -> None:
        """Adds how current's jobs went. Counts that are damaged, which is damage of the component, or on a shard that is away hide
        neither it nor the others.
        """
        if message is None or isinstance(state, Exception) or not isinstance(state.rollout, Rollout):
            return
        try:
            counters = await self._outcomes.release_counters(state.rollout.component)
        except StoreCorruptError as error:
            message.damage.CopyFrom(convert.damage_message(error))
        except StoreUnavailableError:
            return
        else:
            show_current_outcomes(message, state.rollout, counters, state.time_ms)


def with_damage(message: v1.Rollout, replica: Replica) -> v1.Rollout:
    """Adds damage that the rollout itself does not show: that of its overrides, which only the replica reads."""
    if error := replica.damage(message.component):
        message.damage.CopyFrom(convert.damage_message(error))
    return message
