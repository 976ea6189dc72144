"""The calls that are under way: each ends with its time, with its caller, or with the server."""

import asyncio
import math
from typing import Any, Final

from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.other_context import STOPPED

_PAUSE_S: Final = 0.01
"""So long after a look at all limited calls there is no other one."""


class Running:
    """A call under way. h2corn cancels its task when the caller goes; everything else that ends a call goes through `end`."""

    __slots__ = ("_task", "ended_by", "ends_s", "is_handled")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.ended_by: CallError | None = None
        self.ends_s = math.inf
        """When the time of the call is over, by the clock of the loop."""
        self.is_handled = False
        """Whether a method has had the call."""

    def end(self, error: CallError) -> None:
        """Ends the call with an error, unless it ends already."""
        if self.ended_by is None:
            self.ended_by = error
            self._task.cancel()

    def ending(self, cancelled: asyncio.CancelledError) -> CallError:
        """The error that the call was ended with. Raises `cancelled` if its caller has gone."""
        if self.ended_by is None or self._task.uncancel() > 0:
            raise cancelled
        return self.ended_by


class RunningCalls:
    """The calls of one run of h2corn. Create it inside a running loop.

    There is one timer for all calls, for the one that is late first: most calls end long before. A timer for each call would take as
    much time as half of what rampd does for the call.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[Running] = set()
        self._limited: set[Running] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_s = math.inf
        """When the timer looks for calls that are late."""

    def add(self) -> Running:
        """Adds a call, in the current task."""
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - h2corn runs the application in a task
        call = Running(task)
        self._running.add(call)
        return call

    def limit(self, call: Running, timeout_s: float) -> None:
        """Ends a call after this time."""
        call.ends_s = self._loop.time() + timeout_s
        self._limited.add(call)
        if call.ends_s < self._looks_s:
            self._look_at(call.ends_s)

    def remove(self, call: Running) -> None:
        """Removes a call whose answer is on its way: nothing but its caller ends it any more."""
        self._running.discard(call)
        self._limited.discard(call)

    def end(self) -> None:
        """Ends all calls."""
        for each in list(self._running):
            each.end(CallError.of(STOPPED))

    def _look_at(self, time_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_s = time_s
        self._timer = self._loop.call_at(time_s, self._look)

    def _look(self) -> None:
        self._timer, self._looks_s = None, math.inf
        now_s, next_s = self._loop.time(), math.inf
        for each in self._limited:
            if each.ends_s > now_s:
                next_s = min(next_s, each.ends_s)
            else:
                each.end(CallError.late(was_handled=each.is_handled))
        if next_s < math.inf:
            self._look_at(max(next_s, now_s + _PAUSE_S))
