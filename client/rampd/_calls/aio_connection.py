"""The asyncio driver: every call of `AsyncResolver` and `AsyncAdmin` goes through here.

Threads make the calls, with the blocking driver: docs/adr/0006-one-driver-for-both-faces.md.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Protocol

import grpc
from google.protobuf.message import Message

from rampd._calls.call_span import Metadata, call_span
from rampd._calls.connection import Connection, Response
from rampd._calls.endpoint import Endpoint
from rampd._calls.methods import METHODS
from rampd._runtime.fork_gate import Living

_MAX_THREADS = 64
"""How many calls can be under way at once. Further calls wait for a thread, and their time runs."""


class AioCaller(Protocol):
    """The part of a connection that an asyncio resolver needs."""

    @property
    def target(self) -> str: ...

    @property
    def refusal(self) -> str: ...

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response: ...

    async def close(self) -> None: ...


class AioConnection:
    """A connection for any number of event loops, and for a child after a fork."""

    def __init__(self, endpoint: Endpoint, *, metadata: Metadata = ()) -> None:
        self._connection = Connection(endpoint, metadata=metadata)
        self.target = self._connection.target
        self._threads: ThreadPoolExecutor | None = None
        _connections.add(self)

    @property
    def refusal(self) -> str:
        """As `Connection.refusal`."""
        return self._connection.refusal

    async def call(self, request: Message, response: type[Response], timeout_s: float) -> Response:
        """Returns the response. Raises RampdError. If the task is cancelled, the thread still goes on until the time-out."""
        self._connection.check_usable()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="rampd-call")
        # In the task's context, whose span is the parent of the call's.
        here = copy_context()
        call = partial(here.run, self._connection.call, request, response, timeout_s, began_s=time.monotonic())
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def stream(
        self, request: Message, response: type[Response], timeout_s: float | None
    ) -> AsyncGenerator[Response]:
        """Yields the responses as they come. Without `timeout_s` there is no deadline. Raises RampdError."""
        loop = asyncio.get_running_loop()
        # The stream has a thread of its own, because it needs the thread until it ends.
        thread = ThreadPoolExecutor(1, thread_name_prefix="rampd-stream")
        call = None
        with call_span(METHODS[type(request)], self.target) as trace:
            try:
                # In the thread, because the credentials may have to ask for a token.
                opened = partial(self._connection.open_stream, request, response, timeout_s, trace)
                call = await loop.run_in_executor(thread, opened)
                while (each := await loop.run_in_executor(thread, next, call, None)) is not None:
                    yield each
            except (grpc.RpcError, ValueError) as raised:
                raise self._connection.error_of(raised, request, timeout_s) from raised
            finally:
                if call is not None:
                    call.cancel()
                thread.shutdown(wait=False)

    async def close(self) -> None:
        """Ends the channel and the calls under way. It can't be opened again."""
        self._connection.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _forget(self) -> None:
        """A child has none of its parent's threads."""
        self._threads = None


_connections = Living(renew=AioConnection._forget)
