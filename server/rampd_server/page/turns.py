"""Long work in the event loop, in pieces: between two pieces other tasks have their turn, above all Resolve."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")


async def in_turns(items: Iterable[_Item], size: int) -> AsyncIterator[_Item]:
    """Yields the items. After every `size` of them, other tasks have their turn."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % size:
            await asyncio.sleep(0)
