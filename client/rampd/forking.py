"""Keeps calls and forks apart.

A fork while another thread waits inside gRPC's core skips gRPC's own fork handlers, and then the child polls what is the
parent's: 1 child in 60 crashes, and a call of the parent now and then never ends (grpc/grpc#43055). So a fork waits for
the calls under way, and calls that come meanwhile wait for the fork. What would wait too long, a stream, makes way.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

_PATIENCE_S = 3.0
"""How long a fork waits for calls. After that it takes the risk: a process must be able to fork."""
_SETTLE_S = 0.05
"""How long after the end of a channel a fork has to wait: gRPC's own threads go on taking it apart when `close()` has
returned, and a lock of theirs that is copied while it is held is held for ever (8 children in 100 hung).
"""


class MakesWay(Protocol):
    """Whoever stays behind the gate for long."""

    def make_way(self) -> None:
        """Ends what keeps its thread inside gRPC. Called by the thread that forks."""


class _Gate:
    """A context manager for whatever waits inside gRPC. Costs less than a microsecond."""

    def __init__(self) -> None:
        self.long_calls: WeakSet[MakesWay] = WeakSet()
        """Asked to make way before a fork."""
        self._settled_s = 0.0
        self._reset()

    @property
    def is_forking(self) -> bool:
        """Whether a fork waits for the calls under way."""
        return self._forks > 0

    def note_close(self) -> None:
        """Say so when a channel was closed."""
        self._settled_s = time.monotonic() + _SETTLE_S

    @contextmanager
    def stepped_out(self) -> Iterator[None]:
        """For what a thread behind the gate does elsewhere, so that no fork waits for it."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._calls = 0
        self._forks = 0

    def __enter__(self) -> None:
        with self._changed:
            while self._forks:
                self._changed.wait()
            self._calls += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._calls -= 1
            if self._forks:
                self._changed.notify_all()

    def before_fork(self) -> None:
        self._changed.acquire()
        self._forks += 1
        for each in list(self.long_calls):
            each.make_way()
        self._changed.wait_for(lambda: not self._calls, _PATIENCE_S)
        if (pause_s := self._settled_s - time.monotonic()) > 0:
            time.sleep(pause_s)

    def after_in_parent(self) -> None:
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()

    def after_in_child(self) -> None:
        self._reset()


call_gate = _Gate()
os.register_at_fork(
    before=call_gate.before_fork,
    after_in_parent=call_gate.after_in_parent,
    after_in_child=call_gate.after_in_child,
)
