"""Keeps calls and forks apart, and renews in a child what lives in its parent.

A fork while another thread waits inside gRPC's core skips gRPC's own fork handlers, and then the child polls what is the
parent's: 1 child in 60 crashes, and a call of the parent now and then never ends (grpc/grpc#43055). So a fork waits for
the calls under way, and calls that come meanwhile wait for the fork. What would wait too long, a stream, makes way.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NoReturn, Protocol, TypeVar
from weakref import WeakSet

from rampd.errors import UnavailableError

_PATIENCE_S = 3.0
"""How long a fork waits for calls. After that it takes the risk: a process must be able to fork."""
_LOST_AFTER_S = 10.0
"""A call that has waited for a fork for so long waits for one that is over: a Ctrl-C came before it could say so."""
_SETTLE_S = 0.05
"""How long after the end of a channel a fork has to wait: gRPC's own threads go on taking it apart when `close()` has
returned, and a lock of theirs that is copied while it is held is held for ever (8 children in 100 hung).
"""

CUT_OFF = (
    "This process was forked past Python's fork hooks, by a C fork() as uWSGI makes it, while a thread of its parent was "
    "inside gRPC: here, nothing can come from the server any more. Fork with the hooks, or make the resolver after the "
    "fork: with uWSGI set `lazy-apps = true` and `enable-threads = true`."
)
"""Why a process that is cut off gets nothing new."""


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
        return bool(self._forking)

    def note_close(self) -> None:
        """Say so when a channel was closed."""
        self._settled_s = time.monotonic() + _SETTLE_S

    @property
    def is_inside(self) -> bool:
        """Whether any other thread is inside gRPC."""
        me = threading.get_ident()
        return any(thread != me for thread in list(self._inside))

    @contextmanager
    def stepped_out(self) -> Iterator[None]:
        """For what a thread behind the gate does elsewhere, so that no fork waits for it."""
        self.__exit__()
        try:
            yield
        finally:
            self._enter()

    def _reset(self) -> None:
        # Entered by itself, not by its condition: a Ctrl-C can't come between having it and letting go of it then.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside: dict[int, int] = {}
        """How many times each thread is inside: more than once, where a signal handler calls within a call."""
        self._forking: set[int] = set()
        """The threads that fork."""

    def __enter__(self) -> None:
        if is_cut_off():
            raise UnavailableError(CUT_OFF, reason="FORKED")
        self._enter()

    def _enter(self) -> None:
        me = threading.get_ident()
        is_inside = False
        try:
            with self._lock:
                while self._forking - {me}:
                    if not self._changed.wait(_LOST_AFTER_S):
                        self._forking.clear()
                self._inside[me] = self._inside.get(me, 0) + 1
                is_inside = True
        except BaseException:
            if is_inside:
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        with self._lock:
            times = self._inside.pop(me, 0) - 1
            if times > 0:
                self._inside[me] = times
            if self._forking:
                self._changed.notify_all()

    def before_fork(self) -> None:
        """An exception in here, such as a Ctrl-C, is lost, and the process forks anyway. So nothing is held in between, and
        what the parent does afterwards does not depend on how far this came.
        """
        is_cut_off()  # of a fork before this one, which left locks that are held for ever
        with self._lock:
            self._forking.add(threading.get_ident())
        for each in list(self.long_calls):
            each.make_way()
        with self._lock:
            # Whoever forks is not inside, or waits for itself in vain.
            self._changed.wait_for(lambda: not self.is_inside, _PATIENCE_S)
        if (pause_s := self._settled_s - time.monotonic()) > 0:
            time.sleep(pause_s)

    def after_in_parent(self) -> None:
        with self._lock:
            self._forking.discard(threading.get_ident())
            self._changed.notify_all()

    def after_in_child(self) -> None:
        self._reset()


Member = TypeVar("Member")


class Living(Generic[Member]):
    """All objects of a kind that are alive in this process, and what becomes of each when the process forks or ends."""

    def __init__(self, *, renew: Callable[[Member], None], at_exit: Sequence[Callable[[Member], None]] = ()) -> None:
        """`renew` is called with each before anything else in a child: there are no threads, and locks may be held for ever.
        The first of `at_exit` is called with each at the end of the process, then the second.
        """
        self._members: WeakSet[Member] = WeakSet()
        self._at_exit = at_exit
        in_child(lambda: self._each(renew))
        if at_exit:
            atexit.register(self.end)

    def add(self, member: Member) -> None:
        """A new one, for as long as anybody else has it."""
        self._members.add(member)

    def end(self) -> None:
        """Does what is to be done at the end of the process."""
        for do in self._at_exit:
            self._each(do)

    def _each(self, do: Callable[[Member], None]) -> None:
        for member in list(self._members):
            do(member)


class OnePerProcess:
    """What has threads and connections, so that no copy of it works."""

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"{name} can't be pickled or copied, for it has threads and connections: make one in each process."
        )


call_gate = _Gate()
_renewals: list[Callable[[], None]] = []
_of_the_parent: list[object] = []
_noticing = threading.Lock()
_pid = os.getpid()
_is_cut_off = False


def in_child(renew: Callable[[], None]) -> None:
    """From now on calls it first thing in each child: there are no threads, and locks may be held for ever."""
    _renewals.append(renew)


def abandon(*of_the_parent: object) -> None:
    """In a child: what the parent's gRPC has made is good for nothing there, not even to be closed or collected."""
    _of_the_parent.extend(of_the_parent)


def is_cut_off() -> bool:
    """Whether gRPC is of no use in this process: it was forked past Python's hooks while a thread was inside gRPC.

    Where nobody was, the child is told that it is one, late, and goes on as any other. Costs a system call.
    """
    if os.getpid() != _pid:
        _notice_fork()
    return _is_cut_off


def _notice_fork() -> None:
    global _is_cut_off  # noqa: PLW0603 - a process has one
    with _noticing:
        if os.getpid() != _pid:
            # What the parent's threads were at is here as it was at the moment of the fork.
            _is_cut_off = _is_cut_off or call_gate.is_inside
            _renew()


def _renew() -> None:
    global _pid  # noqa: PLW0603 - a process has one
    call_gate.after_in_child()
    for renew in _renewals:
        renew()
    _pid = os.getpid()


os.register_at_fork(before=call_gate.before_fork, after_in_parent=call_gate.after_in_parent, after_in_child=_renew)
