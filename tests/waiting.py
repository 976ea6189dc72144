"""Waiting until something is so, at the outside of a process: it is looked at again and again."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

WITHIN_S = 60.0


def eventually(
    is_so: Callable[[], object], within_s: float = WITHIN_S, *, suppressed: type[Exception] | tuple[()] = ()
) -> None:
    """Waits until it is so; an error that is `suppressed` says that it is not yet."""
    end = time.monotonic() + within_s
    while True:
        with contextlib.suppress(suppressed):
            if is_so():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


async def eventually_so(is_so: Callable[[], bool | Awaitable[bool]], within_s: float = WITHIN_S) -> None:
    """Waits until it is so, on an event loop that goes on meanwhile."""
    async with asyncio.timeout(within_s):
        while True:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)
