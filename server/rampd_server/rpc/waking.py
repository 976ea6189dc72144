"""Waking those who wait for a change, however many they are."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

AT_ONCE: Final = 64
"""How many are woken in one turn of the event loop: about 3 ms of work."""


class Waiter(Protocol):
    """Who waits."""

    def wake(self) -> None:
        """Tells that there is something new. Who is not waiting has seen it, or sees it before it waits again."""


class Waking:
    """Wakes a few in each turn of the event loop. Calls get their turns in between: a thousand streams that all have
    something to send keep no Resolve and no Rollback waiting until the last of them has sent it.
    """

    def __init__(self) -> None:
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._is_under_way = False

    def wake(self, waiters: Iterable[Waiter]) -> None:
        """Wakes them in their order: the first ones at once. Who is to be woken already keeps the place."""
        for waiter in waiters:
            self._waiters[waiter] = None
        if not self._is_under_way:
            self._wake_some()

    def forget(self, waiter: Waiter) -> None:
        """It waits no more."""
        self._waiters.pop(waiter, None)

    def _wake_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiters))):
            self._waiters.popitem(last=False)[0].wake()
        self._is_under_way = bool(self._waiters)
        if self._is_under_way:
            asyncio.get_running_loop().call_soon(self._wake_some)
