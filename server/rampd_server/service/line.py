"""A line of writers: the writers of one thing on this server write one after the other, or a few abreast."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from rampd_server.domain.errors import StoreUnavailableError

_PATIENCE_S = 0.5
"""How long a write waits for earlier writes that the store does not answer. After that it is not sent."""

T = TypeVar("T")


class Line:
    """A line of writers, of whom `abreast` have their turn at the same time. An urgent writer waits for earlier urgent writers, and for
    at most twice as many others: those whose turn it is, and the next ones.
    """

    def __init__(self, abreast: int = 1) -> None:
        self._queue = asyncio.Semaphore(abreast)
        self._lock = asyncio.Semaphore(abreast)
        self._lost_s = -math.inf

    async def have_turn(self, attempt: Callable[[], Awaitable[T]], what: str, *, is_urgent: bool = False) -> T:
        """Runs the attempt of one writer when its turn comes. If the store did not answer an earlier writer of the
        line, this writer fails, too. Otherwise the last of many writers would wait for the time-outs of all the others.
        """
        arrived_s = time.monotonic()
        async with self._turn(is_urgent=is_urgent):
            began_s = time.monotonic()
            if self._lost_s >= arrived_s and began_s - arrived_s >= _PATIENCE_S:
                raise StoreUnavailableError(
                    f"The store did not answer earlier writes to {what}, so this write was not sent. Look at the store, and "
                    "try again."
                )
            try:
                return await attempt()
            except StoreUnavailableError:
                # A broken connection fails at once. That says nothing about the next attempt.
                if time.monotonic() - began_s >= _PATIENCE_S:
                    self._lost_s = time.monotonic()
                raise

    @asynccontextmanager
    async def _turn(self, *, is_urgent: bool) -> AsyncIterator[None]:
        if is_urgent:
            async with self._lock:
                yield
        else:
            # Of the writers that are not urgent, only the first ones wait for the lock. The others wait in the queue, in
            # which urgent writers do not wait.
            async with self._queue, self._lock:
                yield
