"""A client opens one connection for its scripts, whatever happens to those that wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rampd_server.storage.connection import connect
from rampd_server.storage.wire import Wire
from tests.unit.server.test_wire import Wired
from tests.waiting import PATIENCE_S, eventually_async


def pool_that_opens(new_wire: Callable[[], Awaitable[Wire]], *, timeout_s: float = PATIENCE_S) -> Any:
    pool = connect("unix:///nowhere/store.sock", timeout_s=timeout_s, max_connections=1).connection_pool
    pool._new_wire = new_wire
    return pool


async def test_a_connection_whose_answer_is_late_gets_no_more_commands_and_those_that_wait_still_wait():
    late, next_one = Wired(timeout_s=0.02), Wired()

    async def new_wire() -> Wire:
        return next_one.wire

    pool = pool_that_opens(new_wire)
    pool._wire = late.wire
    assert await pool.wire() is late.wire
    [waiting] = await late.asked("a")
    await eventually_async(lambda: late.wire.is_silent)
    assert await pool.wire() is next_one.wire
    await late.answer(b"+1\r\n")

    assert await waiting == "1"
