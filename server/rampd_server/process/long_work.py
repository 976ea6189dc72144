"""Long work in the event loop, in pieces of about a millisecond: between two pieces other tasks have their turn, above all Resolve."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

_PIECE_S: Final = 0.001

_Item = TypeVar("_Item")


async def in_pieces(items: Iterable[_Item]) -> AsyncIterator[_Item]:
    """Yields the items. Other tasks have their turn whenever the items, and what is done with them, have taken a millisecond."""
    end_s = time.perf_counter() + _PIECE_S
    for item in items:
        yield item
        if time.perf_counter() >= end_s:
            await asyncio.sleep(0)
            end_s = time.perf_counter() + _PIECE_S
