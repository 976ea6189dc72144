"""A daemon thread that does not die silently: after any error its work goes on, and anybody can ask whether it runs.

A signal handler may call it while it interrupts it, so the thread that holds a lock here may enter it again.
"""

import contextlib
import threading
import time
from collections.abc import Callable

from rampd._runtime.log import log

AGAIN_AFTER_S = 1.0
"""How long a thread waits after its work has failed, before it begins the work again."""


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
        """Whether the thread runs or is about to start."""
        return self._turn is not None

    def start(self) -> None:
        """Starts the thread if it does not run: it never ran, has died, or could not be started. Raises the error of the
        start, usually RuntimeError.
        """
        with self._lock:
            if self._turn is not None:
                return
            turn = self._turn = object()
            try:
                self._thread = threading.Thread(target=self._run, args=(turn,), name=self._name, daemon=True)
                self._thread.start()
            except BaseException:
                # After an interrupted start the thread may still begin to run. It then finds that it has no turn, and ends.
                self._turn = None
                raise

    def join(self, timeout_s: float) -> None:
        """Waits for the end of the thread. Does nothing if the thread itself calls it."""
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
        except BaseException:  # noqa: BLE001 - SystemExit too, because no other thread does the work
            with contextlib.suppress(BaseException):  # the error may come from a handler of the log
                log.exception("the thread %s failed, and begins again in %.0f s", self._name, AGAIN_AFTER_S)
            return False
        return True
