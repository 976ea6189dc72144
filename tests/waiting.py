"""Waits for a condition that can only be seen from outside, by looking again and again."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

WITHIN_S = 60.0


def eventually(
    condition: Callable[[], object], within_s: float = WITHIN_S, *, suppressed: type[Exception] | tuple[()] = ()
) -> None:
    """Waits until the condition is true. An error of the kind `suppressed` means that it is not true yet."""
    end = time.monotonic() + within_s
    while True:
        with contextlib.suppress(suppressed):
            if condition():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


async def eventually_async(condition: Callable[[], bool | Awaitable[bool]], within_s: float = WITHIN_S) -> None:
    """Waits until the condition is true. The event loop runs meanwhile."""
    async with asyncio.timeout(within_s):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)
