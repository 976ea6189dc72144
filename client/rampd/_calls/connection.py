"""The blocking driver: every call of `Resolver` and `Admin` goes through here."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from operator import methodcaller
from typing import Any, Final, Protocol, TypeVar

import grpc
import grpc._channel  # otherwise the first call imports it, and a fork at that moment leaves the import locked
from google.protobuf.message import Message

from rampd import v1
from rampd._calls.call_span import Metadata, call_span
from rampd._calls.channel import CHANNEL_OPTIONS
from rampd._calls.dry_run import is_known_to, not_known
from rampd._calls.endpoint import TOKEN_S, Endpoint
from rampd._calls.methods import METHODS, Method
from rampd._calls.retry import Attempts
from rampd._calls.status import error_of_call
from rampd._runtime.fork_gate import CUT_OFF, Living, abandon, call_gate, is_cut_off
from rampd.errors import ClosedError, RampdError, UnauthenticatedError, UnavailableError, UnimplementedError

Response = TypeVar("Response", bound=Message)

_UNDER_WAY_S: Final = 60.0
"""How long a replaced channel stays open at least: longer than nearly every call."""
_MOST_REPLACED: Final = 16
"""The most replaced channels that stay open, in case that a file of TLS changes all the time."""
_CLOSE_S: Final = 2.0
"""How long to wait until a channel is closed. Usually that takes less than a millisecond."""


class Caller(Protocol):
    """The part of a connection that a resolver needs."""

    @property
    def target(self) -> str: ...

    @property
    def refusal(self) -> str: ...

    def call(self, request: Message, response: type[Response], timeout_s: float) -> Response: ...

    def close(self) -> None: ...


class Connection:
    """A channel that is opened at the first call, and opened again in a child after a fork. Any thread may use it."""

    def __init__(self, endpoint: Endpoint, *, metadata: Metadata = ()) -> None:
        self.target = endpoint.target
        self.refusal = ""
        """Why the credential of the last call was refused. Empty if it was not."""
        self._endpoint = endpoint
        self._metadata = metadata
        self._stamp: object = None
        self._closed = False
        self._channel: grpc.Channel | None = None
        self._replaced: deque[tuple[float, grpc.Channel]] = deque()
        """The channels of before, for calls that are still under way, and when each was replaced (monotonic clock)."""
        self._calls: dict[str, Callable[..., Any]] = {}
        self._lock = threading.RLock()
        _connections.add(self)

    def call(
        self, request: Message, response: type[Response], timeout_s: float, *, began_s: float | None = None
    ) -> Response:
        """Returns the response. The time-out runs from `began_s` (monotonic clock), or from now if that is None. Raises
        RampdError.
        """
        method = METHODS[type(request)]
        began_s = time.monotonic() if began_s is None else began_s
        with call_span(method, self.target) as trace:
            metadata = (*self._metadata, *trace)
            refusal = ""
            try:
                if method.has_dry_run and request.dry_run:  # type: ignore[attr-defined]  # the method says so
                    self._require_dry_run(timeout_s, began_s, metadata)
                return self._tried(method, request, response, timeout_s, began_s=began_s, metadata=metadata)
            except UnauthenticatedError as error:
                refusal = error.message
                raise
            finally:
                self.refusal = refusal

    def _require_dry_run(self, timeout_s: float, began_s: float, metadata: Metadata) -> None:
        """Raises UnimplementedError if the server would make a change instead of a dry run. It is asked each time, because at the
        same address there may be another server now.
        """
        ask = v1.WhoAmIRequest()
        try:
            answer = self._tried(
                METHODS[type(ask)], ask, v1.WhoAmIResponse, timeout_s, began_s=began_s, metadata=metadata
            )
        except UnimplementedError:
            raise not_known(self.target) from None
        if not is_known_to(answer):
            raise not_known(self.target)

    def _tried(
        self,
        method: Method,
        request: Message,
        response: type[Response],
        timeout_s: float,
        *,
        began_s: float,
        metadata: Metadata,
    ) -> Response:
        attempts = Attempts(timeout_s, began_s)
        was_refused = False
        while True:
            self.check_open()
            sent = self._endpoint.authorization(attempts.left_s(time.monotonic()))
            try:
                with call_gate:
                    answer: Response = self._call_of(method, response)(
                        request, timeout=attempts.left_s(time.monotonic()), metadata=(*metadata, *sent)
                    )
            except (grpc.RpcError, ValueError) as raised:
                error = self.error_of(raised, request, timeout_s)
                pause_s = attempts.pause_s(error, now_s := time.monotonic())
                if isinstance(error, UnauthenticatedError) and not was_refused:
                    # The token has ended or was replaced. Another one is tried once.
                    was_refused = True
                    pause_s = 0.0 if self._endpoint.has_other_than(sent, attempts.left_s(now_s)) else None
                if pause_s is None:
                    raise error from raised
                time.sleep(pause_s)
            else:
                return answer

    def stream(self, request: Message, response: type[Response], timeout_s: float | None) -> Generator[Response]:
        """Yields the responses as they come. Without `timeout_s` there is no deadline. Raises RampdError."""
        call = None
        with call_span(METHODS[type(request)], self.target) as trace:
            try:
                call = self.open_stream(request, response, timeout_s, trace)
                yield from call
            except (grpc.RpcError, ValueError) as raised:
                raise self.error_of(raised, request, timeout_s) from raised
            finally:
                if call is not None:
                    call.cancel()

    def open_stream(self, request: Message, response: type[Message], timeout_s: float | None, trace: Metadata) -> Any:  # noqa: ANN401
        """Returns the call of gRPC. The caller reads it and cancels it at the end. `error_of` converts the errors of it. `trace` is
        the metadata of the caller's span.
        """
        self.check_usable()
        sent = self._endpoint.authorization(TOKEN_S if timeout_s is None else timeout_s)
        metadata = (*self._metadata, *trace, *sent)
        return self._call_of(METHODS[type(request)], response)(request, timeout=timeout_s, metadata=metadata)

    def check_open(self) -> None:
        """Raises ClosedError."""
        if self._closed:
            raise closed_error(self.target)

    def check_usable(self) -> None:
        """Raises ClosedError or UnavailableError (FORKED)."""
        is_forked = is_cut_off()
        self.check_open()
        if is_forked:
            raise UnavailableError(CUT_OFF, reason="FORKED")

    def close(self) -> None:
        """Ends the channel and the calls under way. It can't be opened again."""
        is_cut_off()  # after a fork without hooks this renews the connection, so that the parent's channel is not closed here
        with self._lock:
            self._closed = True
            channels, self._calls = self._all_channels(), {}
            self._channel = None
            self._replaced.clear()
        _close(channels)

    def _call_of(self, method: Method, response: type[Message]) -> Callable[..., Any]:
        if self._channel is not None and self._endpoint.stamp() != self._stamp:
            self._replace()
        call = self._calls.get(method.path)
        return self._open(method, response) if call is None else call

    def _replace(self) -> None:
        """Lets the next call open another channel. Calls under way keep theirs: certificate, key and authorities change one after
        the other, and each change replaces the channel.
        """
        over = []
        with self._lock:
            if self._endpoint.stamp() == self._stamp or self._channel is None:
                return  # another thread was first
            now_s = time.monotonic()
            self._replaced.append((now_s, self._channel))
            self._channel, self._calls = None, {}
            while len(self._replaced) > _MOST_REPLACED or self._replaced[0][0] < now_s - _UNDER_WAY_S:
                over.append(self._replaced.popleft()[1])
        _close(over)

    def _open(self, method: Method, response: type[Message]) -> Callable[..., Any]:
        with self._lock:
            self.check_open()
            if self._channel is None:
                stamp = self._endpoint.stamp()  # first: a file that changes while it is read is read again
                self._channel, self._stamp = self._endpoint.open_channel(CHANNEL_OPTIONS), stamp
            make = self._channel.unary_stream if method.streams else self._channel.unary_unary
            call = make(
                method.path,
                request_serializer=methodcaller("SerializeToString"),
                response_deserializer=response.FromString,
            )
            self._calls[method.path] = call
            return call

    def error_of(self, raised: grpc.RpcError | ValueError, request: Message, timeout_s: float | None) -> RampdError:
        """Converts an error of a call to a RampdError, and forgets a token that was refused. Raises a ValueError again if
        `close()` is not its cause.
        """
        # A channel that is closed during a call raises ValueError or cancels the call.
        if self._closed:
            return closed_error(self.target)
        if isinstance(raised, ValueError):
            raise raised
        error = error_of_call(raised, method=METHODS[type(request)].name, target=self.target, timeout_s=timeout_s)
        if isinstance(error, UnauthenticatedError):
            self._endpoint.forget_token()
        return error

    def _forget(self) -> None:
        abandon(*self._all_channels())
        self._channel, self._replaced = None, deque()
        self._calls, self._lock = {}, threading.RLock()

    def _all_channels(self) -> list[grpc.Channel]:
        present = [] if self._channel is None else [self._channel]
        return [*present, *(channel for _, channel in self._replaced)]


def _close(channels: Iterable[grpc.Channel]) -> None:
    """Closes channels, or begins to. An exception of a signal, such as a Ctrl-C, in the middle of the start of a call leaves a call that
    never ends, and gRPC waits for its end for ever.
    """
    for channel in channels:
        closing = threading.Thread(target=channel.close, name="rampd-close", daemon=True)
        try:
            closing.start()
        except RuntimeError:  # Python ends, and starts no thread any more
            channel.close()
        else:
            closing.join(_CLOSE_S)
        call_gate.note_close()


def closed_error(target: str) -> ClosedError:
    """Returns the error of a call after `close()`."""
    return ClosedError(f"The connection to {target} was closed: make a new one.")


_connections = Living(renew=Connection._forget)
