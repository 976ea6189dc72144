"""The turns of components: called ones come first, and no component has two turns at once or too many."""

import asyncio

import pytest

from rampd_server.automation.turns import Turns


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(rest_s=0.05, monotonic=clock)


async def nobody(turns: Turns) -> bool:
    take = asyncio.create_task(turns.take())
    for _ in range(5):
        await asyncio.sleep(0)
    is_waiting = not take.done()
    take.cancel()
    await asyncio.gather(take, return_exceptions=True)
    return is_waiting


async def test_a_called_component_has_the_next_turn(turns: Turns):
    take = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    turns.call("a")

    assert await take == "a"


async def test_a_turn_comes_when_it_is_planned_and_not_before(turns: Turns, clock: Clock):
    turns.plan("a", 5)
    assert await nobody(turns)
    clock.now_s += 5

    assert await turns.take() == "a"


async def test_the_earlier_of_two_planned_turns_stays(turns: Turns, clock: Clock):
    turns.plan("a", 5)
    turns.plan("a", 60)
    turns.plan("b", 60)
    turns.plan("b", 1)
    clock.now_s += 5

    assert (await turns.take(), await turns.take()) == ("b", "a")
    assert await nobody(turns)


async def test_no_component_has_two_turns_at_once_and_no_call_is_lost(turns: Turns, clock: Clock):
    turns.call("a")
    assert await turns.take() == "a"
    turns.call("a")
    turns.call("a")
    assert await nobody(turns)

    turns.done("a")
    assert await nobody(turns)
    clock.now_s += 0.06
    assert await turns.take() == "a"
    turns.done("a")
    clock.now_s += 60
    assert await nobody(turns)


async def test_a_component_rests_between_two_turns(turns: Turns, clock: Clock):
    turns.call("a")
    turns.done(await turns.take())
    turns.call("a")
    assert await nobody(turns)
    clock.now_s += 0.05

    assert await turns.take() == "a"


async def test_a_dropped_component_has_no_turn(turns: Turns):
    turns.call("a")
    turns.drop("a")

    assert await nobody(turns)


async def test_turns_that_are_planned_again_and_again_take_no_memory(turns: Turns, clock: Clock):
    """Given a component that is called often and always planned for the next hour, expect a small heap, and its last plan."""
    for _ in range(1_000):
        turns.call("a")
        clock.now_s += 1
        turns.done(await turns.take())
        turns.plan("a", 3_600)
    turns.plan("b", 1)

    assert len(turns._heap) < 100
    clock.now_s += 3_600
    assert (await turns.take(), await turns.take()) == ("b", "a")


async def test_many_takers_share_the_turns():
    turns = Turns(rest_s=0)
    taken: list[str] = []
    is_over = asyncio.Event()

    async def taker() -> None:
        while True:
            name = await turns.take()
            await asyncio.sleep(0)
            taken.append(name)
            turns.done(name)
            if len(taken) == 100:
                is_over.set()

    takers = [asyncio.create_task(taker()) for _ in range(4)]
    for number in range(100):
        turns.plan(f"c{number}", number / 10_000)
    async with asyncio.timeout(60):
        await is_over.wait()
    for each in takers:
        each.cancel()
    await asyncio.gather(*takers, return_exceptions=True)
    assert sorted(taken) == sorted(f"c{number}" for number in range(100))
