"""The asyncio driver: every call of `AsyncResolver` and `AsyncAdmin` goes through here.

Calls are those of the blocking driver, made by threads: docs/adr/0006-one-driver-for-both-faces.md.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import grpc
from google.protobuf.message import Message

from rampd._calls.connection import Connection, Metadata, Response
from rampd._runtime.fork_gate import Living

_MAX_THREADS = 64
"""Calls that are under way at once. Further ones wait for a thread, and their time runs."""


class AioCaller(Protocol):
    """What an asyncio resolver needs of a connection."""

    @property
    def target(self) -> str: ...

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response: ...

    async def close(self) -> None: ...


class AioConnection:
    """A connection for any number of event loops, and for a child after a fork."""

    def __init__(self, target: str, *, metadata: Metadata = ()) -> None:
        self._connection = Connection(target, metadata=metadata)
        self.target = self._connection.target
        self._threads: ThreadPoolExecutor | None = None
        _connections.add(self)

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response:
        """The response. Raises RampdError. Whoever is cancelled leaves the call to its thread, until its time is over."""
        self._connection.check_usable()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="rampd-call")
        call = partial(self._connection.call, request, response, timeout_s, began_s=time.monotonic())
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def stream(
        self, request: Message, response: type[Response], timeout_s: float | None
    ) -> AsyncGenerator[Response]:
        """The responses, as they come, without a deadline unless there is a `timeout_s`. Raises RampdError."""
        loop = asyncio.get_running_loop()
        # A thread of its own, for it is there as long as the stream.
        thread = ThreadPoolExecutor(1, thread_name_prefix="rampd-stream")
        call = None
        try:
            call = self._connection.open_stream(request, response, timeout_s)
            while (each := await loop.run_in_executor(thread, next, call, None)) is not None:
                yield each
        except (grpc.RpcError, ValueError) as raised:
            raise self._connection.error_of(raised, request, timeout_s) from raised
        finally:
            if call is not None:
                call.cancel()
            thread.shutdown(wait=False)

    async def close(self) -> None:
        """Ends the channel, and calls under way. What was closed stays closed."""
        self._connection.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _forget(self) -> None:
        """A child has none of its parent's threads."""
        self._threads = None


_connections = Living(renew=AioConnection._forget)
