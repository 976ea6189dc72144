"""Waits for a condition that can only be seen from outside, by looking again and again."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = float(os.environ.get("PATIENCE_S", "60"))
"""How long a test waits for what is sure to come: the machine of a test may be busy. With a mutation a test waits for what never comes,
so `make mutants` has less patience.
"""


def eventually(
    condition: Callable[[], object], within_s: float = PATIENCE_S, *, suppressed: type[Exception] | tuple[()] = ()
) -> None:
    """Waits until the condition is true. An error of the kind `suppressed` means that it is not true yet."""
    end = time.monotonic() + within_s
    while True:
        with contextlib.suppress(suppressed):
            if condition():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


async def eventually_async(condition: Callable[[], bool | Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    """Waits until the condition is true. The event loop runs meanwhile."""
    async with asyncio.timeout(within_s):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.005)
