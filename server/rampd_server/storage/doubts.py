"""When a finder looks: if a call has failed since the last look, and once a second."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_EVERY_S: Final = 1.0
_AGAIN_S: Final = 0.1
"""How soon a doubt may cause another look, so that many failing calls do not ask for each of them. A call waits so long, because
without a look it would fail again.
"""

ASK_SHARE: Final = 0.3
"""The share of a call's time for a look. The rest is for the node that is found."""


class Doubts:
    """Many callers share one look."""

    def __init__(self, look: Callable[[str], Awaitable[bool]], monotonic: Callable[[], float]) -> None:
        """`look` gets the reason of the doubt, or an empty text. It returns whether anything is known after it."""
        self._look = look
        self._monotonic = monotonic
        self._is_known = False
        self._why = ""
        """Why what is known is in doubt; empty if it is not."""
        self._looked_s = float("-inf")
        """When a doubt caused a look."""
        self._looking = asyncio.Lock()

    def note(self, why: str) -> None:
        """Notes that what is known may be wrong by now."""
        self._why = self._why or why

    async def settle(self) -> None:
        """Looks, if there is a doubt."""
        if self._is_in_doubt:
            async with self._looking:
                # Another caller may have looked meanwhile.
                if self._is_in_doubt:
                    await asyncio.sleep(self._looked_s + _AGAIN_S - self._monotonic())
                    await self._look_now()
                    self._looked_s = self._monotonic()

    async def follow(self) -> None:
        """Looks for ever, also without a doubt."""
        while True:
            async with self._looking:
                await self._look_now()
            await asyncio.sleep(_EVERY_S)

    @property
    def _is_in_doubt(self) -> bool:
        return not self._is_known or bool(self._why)

    async def _look_now(self) -> None:
        self._is_known = await self._look(self._why)
        self._why = ""
