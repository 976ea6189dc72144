"""Keeps calls and forks apart, and renews in a forked child the objects of its parent.

If a process forks while another thread waits inside gRPC's core, gRPC's own fork handlers are skipped, and the child polls
the sockets of the parent. 1 child in 60 then crashes, and sometimes a call of the parent never ends (grpc/grpc#43055). So a
fork waits for the calls under way, and calls that come meanwhile wait for the fork. A stream would last too long, so it
ends before the fork and begins again.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NoReturn, Protocol, TypeVar
from weakref import WeakSet

from rampd._runtime.log import log
from rampd.errors import UnavailableError

_PATIENCE_S = 3.0
"""How long a fork waits for calls. After that it goes on in spite of the risk, because a process must be able to fork."""
_LOST_AFTER_S = 10.0
"""After so long, a call stops waiting for a fork. The fork is over, but a Ctrl-C kept it from saying so."""
_SETTLE_S = 0.05
"""How long a fork must wait after a channel was closed. gRPC's own threads still work on it when `close()` has returned. A
lock that they hold at the fork is held for ever in the child (8 children in 100 hung).
"""

CUT_OFF = (
    "This process was forked without Python's fork hooks, by a C fork() as in uWSGI, while a thread of its parent was "
    "inside gRPC. It can't receive anything from the server any more. Fork with the hooks, or make the resolver after the "
    "fork. With uWSGI, set `lazy-apps = true` and `enable-threads = true`."
)
"""Why a process that is cut off gets no news."""


class MakesWay(Protocol):
    """An object whose thread stays inside the gate for long."""

    def make_way(self) -> None:
        """Ends the call that keeps its thread inside gRPC. The forking thread calls this."""


class _Gate:
    """A context manager for code that waits inside gRPC. Costs less than a microsecond."""

    def __init__(self) -> None:
        self.long_calls: WeakSet[MakesWay] = WeakSet()
        """The objects that a fork asks to make way."""
        self._settled_s = 0.0
        self._reset()

    @property
    def is_forking(self) -> bool:
        """Whether a fork waits for the calls under way."""
        return bool(self._forking)

    def note_close(self) -> None:
        """Notes that a channel was closed."""
        self._settled_s = time.monotonic() + _SETTLE_S

    @property
    def is_inside(self) -> bool:
        """Whether any other thread is inside gRPC."""
        me = threading.get_ident()
        return any(thread != me for thread in list(self._inside))

    @contextmanager
    def stepped_out(self) -> Iterator[None]:
        """Leaves the gate for a while, so that no fork waits for work outside gRPC."""
        self.__exit__()
        try:
            yield
        finally:
            self._enter()

    def _reset(self) -> None:
        # Enter the lock itself, not the condition. Then no Ctrl-C can come between taking the lock and the release.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside: dict[int, int] = {}
        """How many times each thread is inside. It is more than once if a signal handler makes a call during a call."""
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
        """Waits until the process may fork. Python drops an exception in here, such as a Ctrl-C, and forks anyway. So this
        holds no lock when it returns, and `after_in_parent` works no matter how far this came.
        """
        is_cut_off()  # notices an earlier fork without hooks, after which locks may be held for ever
        with self._lock:
            self._forking.add(threading.get_ident())
        for each in list(self.long_calls):
            each.make_way()
        with self._lock:
            # The forking thread itself does not count: it would wait for itself.
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
    """All living objects of a kind in this process, and what to do with each when the process forks or ends."""

    def __init__(self, *, renew: Callable[[Member], None], at_exit: Sequence[Callable[[Member], None]] = ()) -> None:
        """In a forked child, `renew` is called with each object before anything else. There are no threads then, and locks may
        be held for ever. At the end of the process the first of `at_exit` is called with each object, then the second.
        """
        self._members: WeakSet[Member] = WeakSet()
        self._at_exit = at_exit
        in_child(lambda: self._each(renew))
        if at_exit:
            atexit.register(self.end)

    def add(self, member: Member) -> None:
        """Adds an object. It stays until nothing else refers to it."""
        self._members.add(member)

    def end(self) -> None:
        """Calls the functions for the end of the process."""
        for do in self._at_exit:
            self._each(do)

    def _each(self, do: Callable[[Member], None]) -> None:
        for member in list(self._members):
            try:
                do(member)
            except Exception:  # noqa: BLE001 - one that fails must not stop the others
                log.exception("%s is not ready for a fork, or for the end of the process", type(member).__name__)


class OnePerProcess:
    """An object that can't be copied or pickled, because it has threads and connections."""

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"{name} can't be pickled or copied, because it has threads and connections: make one in each process."
        )


call_gate = _Gate()
_renewals: list[Callable[[], None]] = []
_of_the_parent: list[object] = []
_noticing = threading.Lock()
_pid = os.getpid()
_is_cut_off = False


def in_child(renew: Callable[[], None]) -> None:
    """Registers a function to call first in each forked child, where there are no threads and locks may be held for ever."""
    _renewals.append(renew)


def abandon(*of_the_parent: object) -> None:
    """Keeps objects of the parent's gRPC alive in a child for ever, because a child must neither use, close nor free them."""
    _of_the_parent.extend(of_the_parent)


def is_cut_off() -> bool:
    """Whether gRPC is useless in this process: it was forked without Python's hooks while a thread was inside gRPC.

    If no thread was inside, the child is renewed now and goes on like any other child. Costs a system call.
    """
    if os.getpid() != _pid:
        _notice_fork()
    return _is_cut_off


def _notice_fork() -> None:
    global _is_cut_off  # noqa: PLW0603 - a process has one
    with _noticing:
        if os.getpid() != _pid:
            # The gate here is as it was in the parent at the moment of the fork.
            _is_cut_off = _is_cut_off or call_gate.is_inside
            _renew()


def _renew() -> None:
    global _pid  # noqa: PLW0603 - a process has one
    call_gate.after_in_child()
    for renew in _renewals:
        renew()
    _pid = os.getpid()


os.register_at_fork(before=call_gate.before_fork, after_in_parent=call_gate.after_in_parent, after_in_child=_renew)
