"""The asyncio driver: every call of `AsyncResolver` and `AsyncAdmin` goes through here."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from operator import methodcaller
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

import grpc
from google.protobuf.message import Message

from rampd.connection import Connection, Metadata, Response, closed_error
from rampd.errors import RampdError, UnavailableError
from rampd.methods import CHANNEL_OPTIONS, METHODS, Attempts, Method, checked_target
from rampd.status import error_of_call


class AioCaller(Protocol):
    """What an asyncio resolver needs of a connection."""

    @property
    def target(self) -> str: ...

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response: ...

    async def close(self) -> None: ...


class AioConnection:
    """A channel for each event loop that calls, opened at its first call.

    In a child that was forked after a use of grpc.aio, grpc.aio hangs or crashes (grpc/grpc#43055), and blocking gRPC
    does not: there, calls are made by threads of the event loop's executor.
    """

    def __init__(self, target: str, *, metadata: Metadata = ()) -> None:
        self.target = checked_target(target)
        self._metadata = metadata
        self._closed = False
        self._channels: dict[asyncio.AbstractEventLoop, _Channel] = {}
        self._in_threads: Connection | None = None
        _connections.add(self)

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response:
        """The response. Raises RampdError."""
        if (connection := self._connection_in_threads()) is not None:
            return await asyncio.to_thread(connection.call, request, response, timeout_s)
        method = METHODS[type(request)]
        loop = asyncio.get_running_loop()
        attempts = Attempts(timeout_s, loop.time())
        while True:
            try:
                answer: Response = await self._call_of(method, response, loop)(
                    request, timeout=attempts.left_s(loop.time()), metadata=self._metadata
                )
            except (grpc.RpcError, grpc.aio.UsageError) as raised:
                error = self._error(raised, method, timeout_s)
                pause_s = attempts.pause_s(error, loop.time())
                if pause_s is None:
                    raise error from raised
                await asyncio.sleep(pause_s)
            except asyncio.CancelledError as raised:
                # A channel that is closed under a call cancels it, which is not the caller's task being cancelled.
                if self._closed and not _is_cancelling():
                    raise closed_error(self.target) from raised
                raise
            else:
                return answer

    async def stream(
        self, request: Message, response: type[Response], timeout_s: float | None
    ) -> AsyncGenerator[Response]:
        """The responses, as they come, without a deadline unless there is a `timeout_s`. Raises RampdError."""
        if (connection := self._connection_in_threads()) is not None:
            raise UnavailableError(
                f"{connection.target} can't be followed by asyncio in a process that was forked from one that used "
                "asyncio's gRPC. Start this process by spawn, or use Admin instead of AsyncAdmin in it."
            )
        method = METHODS[type(request)]
        call_of_loop = self._call_of(method, response, asyncio.get_running_loop())
        call = call_of_loop(request, timeout=timeout_s, metadata=self._metadata)
        try:
            async for each in call:
                yield each
        except (grpc.RpcError, grpc.aio.UsageError) as raised:
            raise self._error(raised, method, timeout_s) from raised
        finally:
            # A stream that is left behind leaks: grpc/grpc#43360.
            call.cancel()

    async def close(self) -> None:
        """Ends the channel, and calls under way. What was closed stays closed."""
        self._closed = True
        if self._in_threads is not None:
            self._in_threads.close()
        here = asyncio.get_running_loop()
        channels, self._channels = self._channels, {}
        for loop, opened in channels.items():
            if loop is here:
                await opened.channel.close()
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(opened.channel.close(), loop)

    def _connection_in_threads(self) -> Connection | None:
        if self._in_threads is None and _is_broken and not self._closed:
            self._in_threads = Connection(self.target, metadata=self._metadata)
        return self._in_threads

    def _call_of(self, method: Method, response: type[Message], loop: asyncio.AbstractEventLoop) -> Callable[..., Any]:
        opened = self._channels.get(loop) or self._open(loop)
        call = opened.calls.get(method.path)
        if call is None:
            make = opened.channel.unary_stream if method.streams else opened.channel.unary_unary
            call = opened.calls[method.path] = make(
                method.path,
                request_serializer=methodcaller("SerializeToString"),
                response_deserializer=response.FromString,
            )
        return call

    def _open(self, loop: asyncio.AbstractEventLoop) -> "_Channel":
        if self._closed:
            raise closed_error(self.target)
        # With its loop closed a channel is good for nothing; let go, it closes its socket.
        self._channels = {loop: opened for loop, opened in self._channels.items() if not loop.is_closed()}
        global _is_used  # noqa: PLW0603 - it is the process that has used grpc.aio
        _is_used = True
        opened = self._channels[loop] = _Channel(grpc.aio.insecure_channel(self.target, options=CHANNEL_OPTIONS), {})
        return opened

    def _error(self, raised: Exception, method: Method, timeout_s: float | None) -> RampdError:
        if self._closed:
            return closed_error(self.target)
        if not isinstance(raised, grpc.RpcError):
            raise raised
        return error_of_call(raised, method=method.name, target=self.target, timeout_s=timeout_s)

    def _forget(self) -> None:
        """In a child, the parent's channels are good for nothing, not even to be closed or collected."""
        _of_the_parent.append(self._channels)
        self._channels = {}


class _Channel(NamedTuple):
    channel: grpc.aio.Channel
    calls: dict[str, Callable[..., Any]]


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_connections: "WeakSet[AioConnection]" = WeakSet()
_of_the_parent: list[object] = []
_is_used = False
"""Whether this process, or one that it was forked from, has opened a channel of grpc.aio."""
_is_broken = False


def _after_fork() -> None:
    global _is_broken  # noqa: PLW0603 - it is the process that has been forked
    _is_broken = _is_used
    for connection in list(_connections):
        connection._forget()


os.register_at_fork(after_in_child=_after_fork)
