"""The calls that are under way: each ends with its time, with its caller, or with the server."""

import asyncio

from rampd_server.rpc.call_error import CallError
from rampd_server.rpc.other_context import STOPPED


class Running:
    """A call under way, in the current task. h2corn cancels the task when the caller goes; everything else that ends a call goes
    through `end`.
    """

    __slots__ = ("_timer", "ended_by", "is_handled", "task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - h2corn runs the application in a task
        self.task = task
        self.ended_by: CallError | None = None
        self.is_handled = False
        """Whether a method has had the call."""
        self._timer: asyncio.TimerHandle | None = None

    def limit(self, timeout_s: float) -> None:
        """Ends the call after this time."""
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._be_late)

    def _be_late(self) -> None:
        self.end(CallError.late(was_handled=self.is_handled))

    def end(self, error: CallError) -> None:
        """Ends the call with an error, unless it ends already."""
        if self.ended_by is None:
            self.ended_by = error
            self.task.cancel()

    def close(self) -> None:
        """From now on the time does not end the call, because its answer is there."""
        if self._timer is not None:
            self._timer.cancel()

    def ending(self, cancelled: asyncio.CancelledError) -> CallError:
        """The error that the call was ended with. Raises `cancelled` if its caller has gone."""
        if self.ended_by is None or self.task.uncancel() > 0:
            raise cancelled
        return self.ended_by


class RunningCalls:
    """The calls of one run of h2corn."""

    def __init__(self) -> None:
        self._running: set[Running] = set()

    def add(self) -> Running:
        """Adds a call, in the current task."""
        call = Running()
        self._running.add(call)
        return call

    def remove(self, call: Running) -> None:
        """Removes a call whose answer is on its way: nothing but its caller ends it any more."""
        call.close()
        self._running.discard(call)

    def end(self) -> None:
        """Ends all calls."""
        for each in list(self._running):
            each.end(CallError.of(STOPPED))
