"""Work that does not end by itself, and that a test runs beside its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs work as long as the block lasts, and ends it also if the block fails.

    The end of the loop would cancel it together with the tasks that it waits for. A read of fakeredis then waits for ever.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
