"""The driver of reports: one daemon thread that starts with the first outcome. The asyncio client uses it too."""

import contextlib
import sys
import threading
import time
from typing import Protocol

from rampd import v1
from rampd._calls.connection import Caller, Connection
from rampd._calls.endpoint import Endpoint
from rampd._contract.wording import counted
from rampd._reporting.outcome_buffer import Outcome, OutcomeBuffer, Reports, can_place
from rampd._runtime.daemon_thread import Worker
from rampd._runtime.fork_gate import CUT_OFF, Living, is_cut_off
from rampd._runtime.log import log
from rampd.errors import InternalError, RampdError, UnavailableError, UnimplementedError

FLUSH_S = 2.0
"""How long `close()` and the end of the process wait for a server to take the outcomes."""
_CALL_S = 1.0
"""The time-out of a call. It is short, because a fork waits for the call. A lost batch is sent again."""
_TRIES_AT_CLOSE = 2


class Sink(Protocol):
    """The object that takes a resolver's outcomes."""

    def add(self, outcome: Outcome) -> None: ...

    def status(self) -> Reports: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


class Reporter:
    """Takes outcomes from any thread, also in a forked child, and sends them in a thread of its own."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._target = endpoint.target
        self._connection: Caller = Connection(endpoint)
        self._reporting = OutcomeBuffer()
        self._closed = False
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        # A signal handler may call `add` and `end` while it interrupts them, so a thread may enter each lock again. The lock
        # of an Event does not allow that.
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._has_news = False
        self._worker = Worker("rampd-report", self._run)
        self._ends_s = 0.0
        self._known_dropped = 0
        self._is_dropping = False
        self._reporting.renew()

    def add(self, outcome: Outcome) -> None:
        """Takes in an outcome, unless it is of a version that no server knows. Takes microseconds and raises nothing."""
        try:
            self._add(outcome)
        except Exception:  # noqa: BLE001 - no job may fail because of its report
            with contextlib.suppress(Exception):  # the error may come from a handler of the log
                log.exception("an outcome was not taken in")

    def _add(self, outcome: Outcome) -> None:
        if not can_place(outcome.resolution):
            return
        if is_cut_off():
            self._give_up()
        is_news = self._reporting.add(outcome)
        if not self._worker.runs and self._reporting.pause_s() is not None:
            self._start()
        if is_news:
            self._wake()

    def status(self) -> Reports:
        """Returns what happened to all outcomes. If some wait and the thread does not run, it is started again."""
        if is_cut_off():
            self._give_up()
        reports = self._reporting.status()
        if reports.buffered and not self._worker.runs:
            self._start()
        return self._reporting.status()

    def end(self) -> None:
        """Lets the thread send the remaining outcomes and end. Does not wait for that."""
        is_cut_off()  # after a fork without hooks this renews all, so that the parent's thread is not ended here
        with self._lock:
            if not self._closed:
                self._closed = True
                self._ends_s = time.monotonic() + FLUSH_S
        self._wake()

    def close(self) -> None:
        """Lets the thread send the remaining outcomes, and waits at most `FLUSH_S` for that."""
        self.end()
        self._worker.join(max(0.0, self._ends_s - time.monotonic()))
        self._connection.close()
        self._drop_rest()

    def _start(self) -> None:
        with self._lock:
            if self._worker.runs or self._closed:
                return
            try:
                self._worker.start()
            except Exception as error:  # noqa: BLE001 - outcomes stay in the buffer, and the next one tries again
                self._failed(UnavailableError(f"This process could not start the thread that reports: {error}"))
            else:
                _close_with_worker()

    def _wake(self) -> None:
        with self._lock:
            self._has_news = True
            self._news.notify_all()

    def _run(self) -> None:
        while not self._closed:
            self._has_news = False
            pause_s = self._reporting.pause_s()
            if pause_s == 0:
                self._send(_CALL_S)
            else:
                with self._lock:
                    self._news.wait_for(lambda: self._has_news or self._closed, pause_s)
        self._flush()

    def _flush(self) -> None:
        for _ in range(_TRIES_AT_CLOSE):
            while (left_s := self._ends_s - time.monotonic()) > 0 and self._reporting.batch() is not None:
                if not self._send(min(left_s, _CALL_S)):
                    break
        self._drop_rest()

    def _send(self, timeout_s: float) -> bool:
        """Sends a batch. Returns whether the server has taken it."""
        try:
            batch = self._reporting.batch()
            if batch is None:
                return True
            response = self._connection.call(batch, v1.ReportOutcomesResponse, timeout_s)
        except RampdError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - the thread goes on after any error
            self._failed(InternalError(f"Reporting to {self._target} failed: {error!r}"))
        else:
            self._reporting.answered(response)
            self._log_success()
            return True
        return False

    def _log_success(self) -> None:
        if self._is_dropping:
            self._is_dropping = False
            log.info("%s takes outcomes again; %d were dropped so far", self._target, self._reporting.status().dropped)

    def _failed(self, error: RampdError) -> None:
        self._reporting.failed(error)
        dropped = self._reporting.status().dropped
        if dropped > self._known_dropped and not self._is_dropping:
            self._is_dropping = True
            which = "they" if isinstance(error, UnimplementedError) else "some"
            log.warning("%s takes no outcomes, and %s are dropped: %s", self._target, which, error.message)
        self._known_dropped = dropped

    def _give_up(self) -> None:
        """Drops all outcomes, and all that come later, because this process can send nothing."""
        self._reporting.failed(UnavailableError(CUT_OFF, reason="FORKED"))
        self._reporting.finish()

    def _drop_rest(self) -> None:
        if count := self._reporting.finish():
            log.warning("%s could not be sent to %s in time: dropped", counted(count, "outcome"), self._target)


def _close_with_worker() -> None:
    """Registers the end in a worker of multiprocessing, which ends without `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize  # noqa: PLC0415 - only where it is loaded anyway

        Finalize(None, _all.end, exitpriority=10)


# All reporters begin to end before the process waits for the first one.
_all = Living(renew=Reporter._forget, at_exit=[Reporter.end, Reporter.close])
