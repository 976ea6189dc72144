"""A line of the log for each call, if somebody wants that (`--access-log`)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import structlog

from rampd_server.access.grants import Caller
from rampd_server.domain.errors import DeadlineError, RampdError
from rampd_server.rpc.call import Context
from rampd_server.rpc.error_status import ending_of, status_without_answer

Handle = Callable[[bytes, Context], Awaitable[Any]]
Abort = Callable[[Context, RampdError | DeadlineError], Awaitable[None]]

_log = structlog.get_logger(__name__)


class _Ended:
    """How a call has ended, and who called."""

    __slots__ = ("identity", "reason", "status")

    def __init__(self) -> None:
        self.identity: str | None = None
        self.status = grpc.StatusCode.OK.name
        self.reason = ""


_ended: ContextVar[_Ended] = ContextVar("ended")


def around(method: str, handle: Handle) -> Handle:
    """The handler of a method, with a line at the end of each call."""

    async def logged(data: bytes, context: Context) -> Any:  # noqa: ANN401 - what `handle` returns
        ended, began_s = _Ended(), time.perf_counter()
        token = _ended.set(ended)
        try:
            return await handle(data, context)
        except (asyncio.CancelledError, grpc.aio.BaseError):
            if ended.status == grpc.StatusCode.OK.name:
                ended.status = status_without_answer(context.time_remaining()).name
            raise
        finally:
            _ended.reset(token)
            _log.info(
                "call_ended",
                method=method,
                status=ended.status,
                reason=ended.reason,
                identity=ended.identity,
                peer=context.peer(),
                seconds=round(time.perf_counter() - began_s, 6),
            )

    return logged


def noting_caller(count: Callable[[Caller], None]) -> Callable[[Caller], None]:
    """Returns a function that counts the calls of a caller. It is called as soon as the caller is known."""

    def noted(caller: Caller) -> None:
        _ended.get().identity = caller.identity
        count(caller)

    return noted


def noting_refusal(abort: Abort) -> Abort:
    """Returns a function that ends a call with a refusal."""

    async def noted(context: Context, refusal: RampdError | DeadlineError) -> None:
        ended = _ended.get()
        status, ended.reason = ending_of(refusal)
        ended.status = status.name
        await abort(context, refusal)

    return noted
