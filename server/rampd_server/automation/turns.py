"""Decides which component is looked at next. It only waits; it does not look."""

import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable


class Turns:
    """Names, each with the time of its next turn. A name that has a turn gets no other turn until it is `done`. Then it rests
    for `rest_s`.
    """

    def __init__(self, *, rest_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._taken: set[str] = set()
        self._rests: dict[str, float] = {}
        self._changed = asyncio.Event()

    def call(self, name: str) -> None:
        """Plans a turn of the name for now."""
        self.plan(name, 0)

    def plan(self, name: str, delay_s: float) -> None:
        """Plans a turn in `delay_s` at the latest. A turn that is planned earlier stays."""
        now_s = self._monotonic()
        due_s = max(now_s + delay_s, self._rests.get(name, now_s))
        if due_s < self._due.get(name, float("inf")):
            self._due[name] = due_s
            heapq.heappush(self._heap, (due_s, name))
            self._changed.set()

    def drop(self, name: str) -> None:
        """Removes the planned turn of the name."""
        self._due.pop(name, None)
        self._rests.pop(name, None)

    async def take(self) -> str:
        """Waits for the next turn and returns its name. The caller must end the turn with `done`."""
        while True:
            name, delay_s = self._next()
            if name:
                return name
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._changed.wait()

    def done(self, name: str) -> None:
        """Ends the turn of the name."""
        self._taken.discard(name)
        self._rests[name] = self._monotonic() + self._rest_s
        planned_s = self._due.pop(name, None)
        if planned_s is not None:
            # The name was called or planned during its turn.
            self.plan(name, planned_s - self._monotonic())

    def _next(self) -> tuple[str, float | None]:
        """Returns the name whose turn it is; or "" and the seconds until the next turn (None: no turn is planned)."""
        while self._heap:
            due_s, name = self._heap[0]
            delay_s = due_s - self._monotonic()
            if self._due.get(name) == due_s and name not in self._taken:
                if delay_s > 0:
                    return "", delay_s
                del self._due[name]
                self._taken.add(name)
                heapq.heappop(self._heap)
                return name, None
            heapq.heappop(self._heap)
        return "", None
