"""The line of writers to the same component."""

import asyncio

import pytest

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.commands import Command, lowers_exposure
from rampd_server.domain.rollout.progress import Progress
from rampd_server.service.line import Line
from tests.rollouts import rolling_out


async def order_of(*is_urgent: bool) -> list[int]:
    """Returns the order of turns of writers that come one after the other while the first one writes."""
    line, order, first_goes_on = Line(), [], asyncio.Event()

    async def write(number: int) -> None:
        order.append(number)
        if number == 0:
            await first_goes_on.wait()

    async with asyncio.TaskGroup() as tasks:
        for number, urgent in enumerate(is_urgent):
            tasks.create_task(line.have_turn(lambda number=number: write(number), "it", is_urgent=urgent))
            await asyncio.sleep(0)
        first_goes_on.set()
    return order


async def test_writers_have_their_turn_in_the_order_in_which_they_come():
    assert await order_of(False, False, False, False) == [0, 1, 2, 3]
    assert await order_of(True, True, True) == [0, 1, 2]


async def test_an_urgent_writer_goes_before_all_waiting_writers():
    assert await order_of(*[False] * 50, True) == [0, 50, *range(1, 50)]
    assert await order_of(True, False, False, True, True) == [0, 1, 3, 4, 2]


async def test_some_writers_have_their_turn_at_the_same_time():
    """Given a line of three abreast, expect three at once, then the urgent one, and then the others in order."""
    line, order, first_go_on = Line(3), [], asyncio.Event()

    async def write(number: int) -> None:
        order.append(number)
        await first_go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            is_urgent = number == 9
            tasks.create_task(line.have_turn(lambda number=number: write(number), "it", is_urgent=is_urgent))
            await asyncio.sleep(0)
        assert order == [0, 1, 2]
        first_go_on.set()
    assert order == [0, 1, 2, 9, *range(3, 9)]


async def test_a_writer_that_leaves_the_line_does_not_block_the_others():
    line, goes_on = Line(), asyncio.Event()

    async def wait() -> str:
        await goes_on.wait()
        return "done"

    async with asyncio.TaskGroup() as tasks:
        kept = [
            tasks.create_task(line.have_turn(wait, "it", is_urgent=urgent)) for urgent in (False, False, True, False)
        ]
        left = [tasks.create_task(line.have_turn(wait, "it", is_urgent=urgent)) for urgent in (False, True)]
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        goes_on.set()
    assert [task.result() for task in kept] == ["done"] * 4


@pytest.mark.parametrize(
    ("command", "lowers"),
    [
        (commands.Rollback(), True),
        (commands.Abandon(), True),
        (commands.Revert(), True),
        (commands.Quarantine("x"), True),
        (commands.Pause(), True),
        (commands.Freeze(), True),
        (commands.Ramp(0), True),
        (commands.Ramp(10_000), False),
        (commands.Release("x"), False),
        (commands.Finalize(), False),
        (commands.Decide(Progress(), commands.Rollback()), True),
        (commands.Decide(Progress(), commands.Ramp(10_000)), False),
        (commands.Decide(Progress()), False),
    ],
    ids=str,
)
def test_a_change_that_lowers_exposure_is_urgent(command: Command, lowers: bool):
    assert lowers_exposure(command, rolling_out()) is lowers
