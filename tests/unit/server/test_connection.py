"""A client opens one connection for its scripts, whatever happens to those that wait for it."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import exceptions

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.storage.connection import connect
from rampd_server.storage.wire import Wire
from tests.unit.server.test_wire import Wired
from tests.waiting import PATIENCE_S


def pool_that_opens(new_wire: Callable[[], Awaitable[Wire]], *, timeout_s: float = PATIENCE_S) -> Any:
    pool = connect("unix:///nowhere/store.sock", timeout_s=timeout_s, max_connections=1).connection_pool
    pool._new_wire = new_wire
    return pool


async def began(*calls: Awaitable[Any]) -> "list[asyncio.Task[Any]]":
    """Returns the calls as tasks that have run until they wait."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_a_connection_is_opened_once_for_all_that_wait_for_it_also_if_the_first_of_them_gives_up():
    """With many callers each one may have a little time only. Expect that it is enough if all of them together have enough."""
    opened, is_open, wire = [], asyncio.Event(), Wired().wire

    async def new_wire() -> Wire:
        opened.append(wire)
        await is_open.wait()
        return wire

    pool = pool_that_opens(new_wire)
    first, second, third = await began(pool.wire(), pool.wire(), pool.wire())
    for impatient in (first, second):
        impatient.cancel()
        await asyncio.sleep(0)
    is_open.set()

    assert await third is wire
    assert await pool.wire() is wire
    assert len(opened) == 1


async def test_each_caller_that_waited_in_vain_gets_an_error_of_its_own_and_the_next_one_opens_again():
    tries = 0

    async def new_wire() -> Wire:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        raise exceptions.ConnectionError("Error 111 connecting. Connection refused.")

    pool = pool_that_opens(new_wire)
    first, second = await asyncio.gather(pool.wire(), pool.wire(), return_exceptions=True)
    assert isinstance(first, StoreUnavailableError)
    assert "Connection refused" in first.message
    assert isinstance(first.__cause__, exceptions.ConnectionError)
    assert (second.message, second is first, tries) == (first.message, False, 1)
    with pytest.raises(StoreUnavailableError):
        await pool.wire()
    assert tries == 2


async def test_a_connection_that_can_not_be_opened_within_the_time_of_a_call_is_given_up():
    async def new_wire() -> Wire:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TimeoutError):
        await pool_that_opens(new_wire, timeout_s=0.01).wire()


async def test_a_client_that_is_closed_while_it_opens_its_connection_does_not_open_it():
    """Expect an error after which no call is made once more, because that would open another connection."""
    left = []

    async def new_wire() -> Wire:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)
        raise AssertionError

    pool = pool_that_opens(new_wire)
    [waiting] = await began(pool.wire())
    await pool.disconnect()

    assert left
    with pytest.raises(StoreUnavailableError, match="closed before it was open"):
        await waiting


async def test_a_connection_whose_answer_is_late_gets_no_more_commands_and_those_that_wait_still_wait():
    late, next_one = Wired(), Wired()

    async def new_wire() -> Wire:
        return next_one.wire

    pool = pool_that_opens(new_wire)
    pool._wire = late.wire
    assert await pool.wire() is late.wire
    [waiting] = await late.asked("a")
    [(_, answer)] = late.wire._waiting
    late.wire._waiting[0] = (-math.inf, answer)
    assert await pool.wire() is next_one.wire
    await late.answer(b"+1\r\n")

    assert await waiting == "1"
