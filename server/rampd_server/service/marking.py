"""Marks components in the store before their outcomes are counted, so that a look is due even if this server dies in between."""

import time
from collections.abc import Callable, Collection
from typing import Final

from rampd_server.ports import MarkStore

COVERS_S: Final = 2.0
"""How long a mark stands for what this server counts. So a component that reports without a pause costs one mark in this time."""
_MANY: Final = 10_000


class Marking:
    """The marks that this server makes."""

    def __init__(self, store: MarkStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._marked_s: dict[str, float] = {}

    async def before_counting(self, components: Collection[str]) -> None:
        """Marks those of the components whose last mark is too old. Raises the errors of the store."""
        now_s = self._monotonic()
        due = [each for each in components if now_s - self._marked_s.get(each, float("-inf")) >= COVERS_S]
        if not due:
            return
        await self._store.mark(due)
        if len(self._marked_s) > _MANY:
            self._marked_s.clear()
        self._marked_s.update(dict.fromkeys(due, now_s))
