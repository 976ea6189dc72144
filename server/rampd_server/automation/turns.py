"""Decides which component, or which check, comes next. It only waits; it does not look."""

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable
from typing import Generic, TypeVar

_STALE = 64
"""So many entries of the heap may be out of date, and as many more as there are planned turns."""

Name = TypeVar("Name", str, tuple[str, str])


class Turns(Generic[Name]):
    """Names, each with the time of its next turn. A name that has a turn gets no other turn until it is `done`. Then it rests
    for `rest_s`.
    """

    def __init__(self, *, rest_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._due: dict[Name, float] = {}
        self._heap: list[tuple[float, Name]] = []
        self._taken: set[Name] = set()
        self._rests: dict[Name, float] = {}
        self._changed = asyncio.Event()

    def call(self, name: Name) -> None:
        """Plans a turn of the name for now."""
        self.plan(name, 0)

    def plan(self, name: Name, delay_s: float) -> None:
        """Plans a turn in `delay_s` at the latest. A turn that is planned earlier stays."""
        now_s = self._monotonic()
        due_s = max(now_s + delay_s, self._rests.get(name, now_s))
        if due_s < self._due.get(name, float("inf")):
            self._due[name] = due_s
            if len(self._heap) > 2 * len(self._due) + _STALE:
                # Most entries are of turns that were planned again. Their times may be hours ahead.
                self._heap = [(each_s, each) for each, each_s in self._due.items()]
                heapq.heapify(self._heap)
            else:
                heapq.heappush(self._heap, (due_s, name))
            self._changed.set()

    def drop(self, name: Name) -> None:
        """Removes the planned turn of the name."""
        self._due.pop(name, None)
        self._rests.pop(name, None)

    async def take(self) -> Name:
        """Waits for the next turn and returns its name. The caller must end the turn with `done`."""
        while True:
            name, delay_s = self._next()
            if name is not None:
                return name
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._changed.wait()

    def done(self, name: Name) -> None:
        """Ends the turn of the name."""
        self._taken.discard(name)
        self._rests[name] = self._monotonic() + self._rest_s
        planned_s = self._due.pop(name, None)
        if planned_s is not None:
            # The name was called or planned during its turn.
            self.plan(name, planned_s - self._monotonic())

    def _next(self) -> tuple[Name | None, float | None]:
        """Returns the name whose turn it is; or None and the seconds until the next turn (None: no turn is planned)."""
        while self._heap:
            due_s, name = self._heap[0]
            delay_s = due_s - self._monotonic()
            if self._due.get(name) == due_s and name not in self._taken:
                if delay_s > 0:
                    return None, delay_s
                del self._due[name]
                self._taken.add(name)
                heapq.heappop(self._heap)
                return name, None
            heapq.heappop(self._heap)
        return None, None
