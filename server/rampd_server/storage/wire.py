"""A connection over which commands go without waiting for each other. Redis answers them in the order in which it gets them."""

import asyncio
from collections import deque
from typing import Any, Final

import hiredis
from redis import exceptions
from redis.asyncio.connection import DefaultParser

from rampd_server.storage.finding import Finder
from rampd_server.storage.redis_errors import elsewhere

_SILENT_SHARE: Final = 0.5
"""The share of a call's time after which an answer that has not come makes its connection silent."""
_CLOSED: Final = "Connection closed by server."
_NOTHING_YET: Final = object()


class Wire(asyncio.Protocol):
    """Takes over an open connection of redis-py, and gives each answer to the command that it belongs to.

    A caller that gives up leaves its place in the order, and its answer is dropped when it comes. If answers are late by then, the
    connection takes no more commands, and is closed. If it is lost, every command that waits fails with ConnectionError of redis-py: it
    may have been carried out, or not.
    """

    def __init__(self, connection: Any, *, timeout_s: float, finder: Finder | None = None, node: str = "") -> None:  # noqa: ANN401
        """Nothing may be under way on `connection`, which can be opened again after this. Nobody waits for an answer for longer than
        `timeout_s`. `finder` has named `node`, to which the connection leads. Raises ConnectionError of redis-py if it is lost.
        """
        if connection._reader.at_eof() or connection._writer.transport.is_closing():
            raise exceptions.ConnectionError(_CLOSED)
        self._loop = asyncio.get_running_loop()
        self._timeout_s, self._finder, self._node = timeout_s, finder, node
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """When each command was sent, and what gets its answer."""
        encoder = connection.encoder
        self._answers = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=DefaultParser.parse_error,
            encoding=encoder.encoding,
            errors=encoder.encoding_errors,
            notEnoughData=_NOTHING_YET,
        )
        self._pack_slowly = connection.pack_command
        self.takes_commands = True
        # redis-py neither reads from it nor closes it any more. The writer is kept, because it closes its transport when it is dropped.
        self._writer, connection._reader, connection._writer = connection._writer, None, None
        self._transport = self._writer.transport
        self._transport.set_protocol(self)

    async def ask(self, *command: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        """Sends a command, and returns its answer. Raises the errors of redis-py."""
        if not self.takes_commands:
            raise exceptions.ConnectionError(_CLOSED)
        self._transport.write(self._packed(command))
        answer = self._loop.create_future()
        self._waiting.append((self._loop.time(), answer))
        try:
            return await answer
        except asyncio.CancelledError:
            # Also if no other call comes: a command that Redis has not got yet would come to it whenever the link works again.
            self.leave_if_silent()
            raise

    @property
    def is_silent(self) -> bool:
        """Whether an answer has not come for so long that the connection may be dead."""
        return bool(self._waiting) and self._loop.time() - self._waiting[0][0] > self._timeout_s * _SILENT_SHARE

    def leave_if_silent(self) -> None:
        """Leaves a connection that may be dead."""
        if self.takes_commands and self.is_silent:
            self._doubt("the primary does not answer in time")
            self.leave()

    def leave(self) -> None:
        """Lets it take no more commands. It closes when it has answered those that wait, or when nobody waits for them any more."""
        if self.takes_commands:
            self.takes_commands = False
            self._loop.call_later(self._timeout_s, self._transport.abort)
            self._close_if_idle()

    def end(self) -> None:
        """Ends it at once. Every command that waits fails as if the connection was lost."""
        self.takes_commands = False
        self._transport.abort()

    def _packed(self, command: tuple[Any, ...]) -> bytes:
        try:
            packed: bytes = hiredis.pack_command(command)
        except (TypeError, UnicodeEncodeError):
            # It does not know every type of a text or number, and no bytes that are not UTF-8.
            return b"".join(self._pack_slowly(*command))
        return packed

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        self._answers.feed(data)
        try:
            while (answer := self._answers.gets()) is not _NOTHING_YET:
                self._take(answer)
        except exceptions.InvalidResponse as error:
            self._fail(exceptions.InvalidResponse, str(error))
            self.end()
        self._close_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        why = _CLOSED if exc is None else f"Error while reading from {self._node or 'Redis'}: {exc}"
        if self.takes_commands:
            self._doubt(why)
        self.takes_commands = False
        self._fail(exceptions.ConnectionError, why)

    def _take(self, answer: Any) -> None:  # noqa: ANN401 - as redis-py has it
        if not self._waiting:
            raise exceptions.InvalidResponse("It answers a command that it did not get.")
        _, waiter = self._waiting.popleft()
        error = self._noted(answer) if isinstance(answer, Exception) else None
        if waiter.done():
            return
        if error is None:
            waiter.set_result(answer)
        else:
            waiter.set_exception(error)

    def _noted(self, error: Exception) -> Exception:
        """Returns the error for an answer that is one. If it says that the node is not the primary, the next command goes to the node
        that the finder names then.
        """
        found = None if self._finder is None else elsewhere(error, self._node)
        if found is not None:
            self._doubt(str(found))
            found.__cause__ = error
            error = found
        if isinstance(error, exceptions.ConnectionError):
            # As with redis-py, also for NOAUTH and LOADING: the call is made once more over another connection.
            self.leave()
        return error

    def _doubt(self, why: str) -> None:
        if self._finder is not None:
            self._finder.doubt(why)

    def _fail(self, kind: type[Exception], why: str) -> None:
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(kind(why))

    def _close_if_idle(self) -> None:
        if not self.takes_commands and not self._waiting:
            self._transport.close()
