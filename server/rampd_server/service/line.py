"""Who waits to write: the writers of one thing on this server, one after the other."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from rampd_server.domain.errors import StoreUnavailableError

_PATIENCE_S = 0.5
"""How long a write waits for those before it that the store does not answer; then it is not sent."""

T = TypeVar("T")


class Line:
    """What is urgent waits for others that are urgent, and for at most two more: the one whose turn it is, and the next one."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._lock = asyncio.Lock()
        self._lost_s = -math.inf

    async def have_turn(self, attempt: Callable[[], Awaitable[T]], what: str, *, is_urgent: bool = False) -> T:
        """The attempt of one writer, when it is its turn. Where one before it has waited for the store in vain, so has this
        one: otherwise the last of many would be told after all the others' time-outs.
        """
        arrived_s = time.monotonic()
        async with self._turn(is_urgent=is_urgent):
            began_s = time.monotonic()
            if self._lost_s >= arrived_s and began_s - arrived_s >= _PATIENCE_S:
                raise StoreUnavailableError(
                    f"The store did not answer the writes to {what} that came before this one, so this one was not sent. Look "
                    "at the store, and try again."
                )
            try:
                return await attempt()
            except StoreUnavailableError:
                # A link that is cut fails at once, and says nothing about the next one.
                if time.monotonic() - began_s >= _PATIENCE_S:
                    self._lost_s = time.monotonic()
                raise

    @asynccontextmanager
    async def _turn(self, *, is_urgent: bool) -> AsyncIterator[None]:
        if is_urgent:
            async with self._lock:
                yield
        else:
            # All but the first of them wait at the door, where nobody urgent has to.
            async with self._door, self._lock:
                yield
