"""Wakes any number of waiters after a change."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

AT_ONCE: Final = 64
"""How many waiters are woken in one turn of the event loop: about 3 ms of work."""


class Waiter(Protocol):
    """A stream that waits for a change."""

    def wake(self) -> None:
        """Announces a change. A waiter that does not wait now has seen the change, or sees it before it waits again."""


class Waking:
    """Wakes a few waiters in each turn of the event loop. Other calls get their turns in between, so that a thousand
    streams with a message to send do not delay a Resolve or a Rollback.
    """

    def __init__(self) -> None:
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._is_under_way = False

    def wake(self, waiters: Iterable[Waiter]) -> None:
        """Wakes waiters in their order, the first ones at once. A waiter that is already in the queue keeps its place."""
        for waiter in waiters:
            self._waiters[waiter] = None
        if not self._is_under_way:
            self._wake_some()

    def forget(self, waiter: Waiter) -> None:
        """Removes a waiter from the queue."""
        self._waiters.pop(waiter, None)

    def _wake_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiters))):
            self._waiters.popitem(last=False)[0].wake()
        self._is_under_way = bool(self._waiters)
        if self._is_under_way:
            asyncio.get_running_loop().call_soon(self._wake_some)
