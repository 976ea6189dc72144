"""A daemon thread that can't die quietly: what it does goes on after whatever it raises, and whoever asks sees it run or not.

What may be called from a signal handler takes no lock that the interrupted code could hold: all locks here may be entered
again by their own thread.
"""

import contextlib
import threading
import time
from collections.abc import Callable

from rampd._runtime.log import log

AGAIN_AFTER_S = 1.0
"""How long a thread whose work has failed rests before it does it again."""


class Worker:
    """Does `work` in a thread of its own until it returns."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._turn: object = None

    @property
    def runs(self) -> bool:
        """Whether the thread runs, or is just starting."""
        return self._turn is not None

    def start(self) -> None:
        """Starts the thread where it does not run: never did, has died, or could not be started. Raises what the start
        raises, usually RuntimeError.
        """
        with self._lock:
            if self._turn is not None:
                return
            turn = self._turn = object()
            try:
                self._thread = threading.Thread(target=self._run, args=(turn,), name=self._name, daemon=True)
                self._thread.start()
            except BaseException:
                # Where the start was only interrupted, the thread may be on its way: it will find that it has no turn.
                self._turn = None
                raise

    def join(self, timeout_s: float) -> None:
        """Waits for the end of the thread; not from within it."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and self.runs:
            thread.join(timeout_s)

    def _run(self, turn: object) -> None:
        with self._lock:
            if self._turn is not turn:
                return
        try:
            while not self._is_done():
                time.sleep(AGAIN_AFTER_S)
        finally:
            self._turn = None

    def _is_done(self) -> bool:
        try:
            self._work()
        except BaseException:  # noqa: BLE001 - SystemExit too: nobody else would do the work
            with contextlib.suppress(BaseException):  # a handler of the log may be what has failed
                log.exception("the thread %s failed, and begins again in %.0f s", self._name, AGAIN_AFTER_S)
            return False
        return True
