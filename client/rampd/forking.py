"""Keeps calls and forks apart.

A fork while another thread waits inside gRPC's core skips gRPC's own fork handlers, and then 1 child in 60 crashes and a
call of the parent now and then never ends (grpc/grpc#43055). So a fork waits for the calls under way, and calls that
come meanwhile wait for the fork.
"""

import os
import threading

_PATIENCE_S = 3.0
"""How long a fork waits for calls. After that it takes the risk: a process must be able to fork."""


class _Gate:
    """A context manager for whatever waits inside gRPC. Costs less than a microsecond."""

    def __init__(self) -> None:
        self._reset()

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
        self._changed.wait_for(lambda: not self._calls, _PATIENCE_S)

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
