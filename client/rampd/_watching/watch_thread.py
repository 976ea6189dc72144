"""The driver of Watch: one daemon thread, and a channel for each stream.

The blocking and the asyncio client both use it: docs/adr/0006-one-driver-for-both-faces.md.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import grpc

from rampd import v1
from rampd._calls.call_span import Metadata
from rampd._calls.channel import WATCH_OPTIONS
from rampd._calls.connection import closed_error
from rampd._calls.methods import METHODS
from rampd._calls.status import error_of_call
from rampd._contract.component_state import MalformedStateError
from rampd._runtime.daemon_thread import Worker
from rampd._runtime.fork_gate import CUT_OFF, Living, abandon, call_gate, is_cut_off
from rampd._runtime.green_threads import check_threads
from rampd._runtime.log import log
from rampd._watching.feed import Feed
from rampd._watching.local import NOTHING, Local, WatchStatus
from rampd.errors import InternalError, RampdError, UnauthenticatedError, UnavailableError

_JOIN_S = 2.0
_PATH = METHODS[v1.WatchRequest].path


class Watching:
    """Keeps the state of a `Local` up to date from its first use on. Any thread may use it, and so may a forked child."""

    def __init__(self, local: Local) -> None:
        self.feed: Feed = NOTHING
        """The feed to resolve from. It is `NOTHING` if `prepare` must be called first."""
        self.local = local
        self._closed = False
        self._begin_again()
        _all.add(self)
        call_gate.long_calls.add(self)

    def _renew(self) -> None:
        abandon(self._channel, self._call, self._worker)
        self.local.disconnect()
        self._begin_again()

    def _begin_again(self) -> None:
        self.feed = NOTHING
        # A signal handler or the collector may interrupt this thread anywhere: it must be able to enter each lock again.
        self._lock = threading.RLock()
        self._news = threading.Condition()
        self._worker = Worker("rampd-watch", self._run)
        self._has_begun = False
        self._stop = threading.Event()
        self._channel: grpc.Channel | None = None
        self._stamp: object = None
        self._call: Any = None
        self._is_silent = False
        self._makes_way = False
        self._first_wait_ends_s = 0.0

    @property
    def runs(self) -> bool:
        """Whether the thread runs."""
        return self._worker.runs

    def prepare(self, timeout_s: float) -> None:
        """Starts to watch if necessary, and waits until there is a state to answer from. Raises ClosedError."""
        if wait_s := self.begin(timeout_s):
            self.wait_for(self.local.is_ready, wait_s)
        self.adopt()

    def begin(self, timeout_s: float) -> float:
        """Starts the thread if it does not run. Returns the seconds to wait for the first state: until `timeout_s` after the
        first call, so that not every job waits for a server that does not answer. Raises ClosedError.
        """
        if self._is_cut_off():
            self.check_open()
            self.local.restore()
            return 0
        if not self._worker.runs or self._closed:
            self._start(timeout_s)
        call = self._call
        if call is not None and self.local.feed.is_silent():
            self._is_silent = True
            call.cancel()
        if self.feed is not NOTHING or not self._worker.runs or self.local.is_ready():
            return 0
        return min(timeout_s, max(0.0, self._first_wait_ends_s - time.monotonic()))

    def adopt(self) -> None:
        """Makes `feed` the feed with the state, if there is a state. Raises ClosedError."""
        with self._lock:  # so that it does not undo a `close()`
            self.check_open()
            if self.feed is NOTHING and self.local.has_state() and not self.local.is_withheld:
                self.feed = self.local.feed

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Waits until `is_so` is true, which only the feed can change. Raises ClosedError."""
        with self._news:
            self._news.wait_for(lambda: self._closed or is_so(), timeout_s)
        self.check_open()

    def check_open(self) -> None:
        """Raises ClosedError."""
        if self._closed:
            raise closed_error(self.local.settings.target)

    def status(self) -> WatchStatus:
        """Returns what is known, and where that is from. Also starts the thread again if it has stopped."""
        if not self._is_cut_off() and self._has_begun and not self._worker.runs and not self._closed:
            with contextlib.suppress(RampdError):
                self._start(0)
        return self.local.status()

    def _is_cut_off(self) -> bool:
        """Whether no news can reach this process; then next is withheld. Only slow paths ask, so that others stay fast."""
        if not is_cut_off():
            return False
        self.feed = NOTHING
        self.local.withhold(CUT_OFF)
        return True

    def make_way(self) -> None:
        """Ends the stream before a fork, see `fork_gate.py`. The next stream uses the same channel."""
        call = self._call
        if call is not None:
            self._makes_way = True
            call.cancel()

    def close(self) -> None:
        """Ends the thread and writes the snapshot file a last time."""
        is_cut_off()  # after a fork without hooks this renews all, so that the parent's stream is not closed here
        with self._lock:
            was_closed, self._closed = self._closed, True
            self.feed = NOTHING
            has_begun = self._has_begun
            self._stop.set()
            if self._call is not None:
                self._call.cancel()
        self._wake()
        self._worker.join(_JOIN_S)
        self.local.disconnect(f"Nothing is watched any more: {closed_error(self.local.settings.target).message}")
        if not was_closed and has_begun and (write := self.local.save(is_last=True)) is not None:
            write()

    def _start(self, timeout_s: float) -> None:
        with self._lock:
            self.check_open()
            if self._worker.runs:
                return
            check_threads()
            if not self._has_begun:
                self._has_begun = True
                self.local.restore()
                self._first_wait_ends_s = time.monotonic() + timeout_s
            self.local.disconnect()
            try:
                self._worker.start()
            except Exception as error:  # noqa: BLE001 - jobs get the known state, and the next job tries again
                self.local.lost(
                    UnavailableError(
                        f"Nothing is watched: this process could not start the thread for it ({error}). Each resolve() and "
                        "status() tries again. Is the process at its limit of threads or of memory?"
                    )
                )

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()

    def _run(self) -> None:
        self.local.disconnect()
        while not self._stop.is_set():
            error = self._attempt()
            if self._stop.is_set():
                return
            if self._makes_way:
                continue
            pause_s = self.local.lost(error)
            self._wake()
            self._stop.wait(pause_s)

    def _attempt(self) -> RampdError | None:
        """Follows one stream to its end. Returns why it ended, or why there was none; None if the server ended it."""
        self._is_silent = self._makes_way = False
        try:
            # Outside the gate, because a token may take seconds, and a fork would wait for it.
            metadata = self.local.settings.endpoint.authorization()
        except RampdError as error:
            return error
        if self._stop.is_set():
            return None
        with call_gate:
            return self._stream(metadata)

    def _stream(self, metadata: Metadata) -> RampdError | None:
        target = self.local.settings.target
        try:
            self._follow(self._open(), metadata)
        except grpc.RpcError as error:
            if self._is_silent:
                return UnavailableError(self.local.silence)
            lost = error_of_call(error, method="Watch", target=target, timeout_s=None)
            if isinstance(lost, UnauthenticatedError):
                self.local.settings.endpoint.forget_token()
            return lost
        except RampdError as error:  # a file of TLS can't be used
            return error
        except MalformedStateError as error:
            return InternalError(f"A message from {target} makes no sense: {error}")
        except BaseException as error:  # noqa: BLE001 - jobs need their versions, whatever the error is
            log.exception("watching failed")
            return InternalError(f"Watching {target} failed: {error!r}")
        else:
            return None
        finally:
            self._drop()

    def _open(self) -> grpc.Channel:
        endpoint = self.local.settings.endpoint
        stamp = endpoint.stamp()
        if self._channel is not None and stamp == self._stamp:
            return self._channel
        before = self._channel
        self._channel, self._stamp = endpoint.open_channel(WATCH_OPTIONS), stamp
        if before is not None:
            before.close()
            call_gate.note_close()
        return self._channel

    def _follow(self, channel: grpc.Channel, metadata: Metadata) -> None:
        watch = channel.unary_stream(
            _PATH,
            request_serializer=methodcaller("SerializeToString"),
            response_deserializer=v1.WatchResponse.FromString,
        )
        self._call = call = watch(self.local.feed.begin(), metadata=metadata)
        # A thread that stops or forks may have come before `_call` was set. Then the call ends here.
        if self._stop.is_set():
            call.cancel()
        elif call_gate.is_forking:
            self.make_way()
        for message in call:
            with call_gate.stepped_out():
                self.local.take(message)
                self._wake()
                if (write := self.local.save()) is not None:
                    write()

    def _drop(self) -> None:
        call, channel = self._call, self._channel
        self._call = None
        if call is not None:
            call.cancel()
            # All events must be consumed, otherwise gRPC keeps 18 KiB for ever. There is no public name for this.
            with contextlib.suppress(AttributeError):
                while call._state.due:
                    call._consume_next_event()
        # A new channel replaces a bad link. Before a fork the link is good, and closing a channel at that moment is
        # dangerous.
        if channel is not None and (self._stop.is_set() or not self._makes_way):
            self._channel = None
            channel.close()
            call_gate.note_close()


# When the interpreter ends, gRPC's own threads must not have an open stream of this library.
_all = Living(renew=Watching._renew, at_exit=[Watching.close])
