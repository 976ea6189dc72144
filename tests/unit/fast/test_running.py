"""Calls under way end with their time, by one timer for all of them."""

import asyncio

import pytest

from rampd_server.fast.running import Running, RunningCalls


class Call:
    """A call that waits for ever, in a task of its own."""

    def __init__(self, calls: RunningCalls, timeout_s: float) -> None:
        self.calls = calls
        self.timeout_s = timeout_s
        self.running: Running | None = None
        self.task = asyncio.create_task(self.run())

    async def run(self) -> str:
        self.running = self.calls.add()
        self.calls.limit(self.running, self.timeout_s)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            return self.running.ending(error).name
        finally:
            self.calls.remove(self.running)
        raise AssertionError


async def ended(*timeouts_s: float) -> list[int]:
    """Begins calls with these times, one after the other. Returns in which order they end."""
    calls, order = RunningCalls(), list[int]()
    tasks = [Call(calls, timeout_s).task for timeout_s in timeouts_s]
    for task in tasks:
        task.add_done_callback(lambda ended: order.append(tasks.index(ended)))
    async with asyncio.timeout(10):
        assert set(await asyncio.gather(*tasks)) == {"DEADLINE_EXCEEDED"}
    return order


@pytest.mark.parametrize(
    ("timeouts_s", "order"),
    [
        ([0.05], [0]),
        ([0.02, 0.1, 0.3], [0, 1, 2]),
        ([0.3, 0.1, 0.02], [2, 1, 0]),
        ([0.1, 0.3, 0.02], [2, 0, 1]),
    ],
)
async def test_each_call_ends_with_its_time(timeouts_s: list[float], order: list[int]) -> None:
    assert await ended(*timeouts_s) == order


async def test_a_call_with_no_time_ends_at_once() -> None:
    assert await ended(0) == [0]


async def test_a_call_whose_answer_is_on_its_way_is_not_ended_by_its_time() -> None:
    calls = RunningCalls()
    running = calls.add()
    calls.limit(running, 0.02)
    calls.remove(running)
    await asyncio.sleep(0.1)
    assert running.ended_by is None


async def test_calls_of_the_same_time_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer for each call would cost more than half of what else is done for it."""
    loop, timers = asyncio.get_running_loop(), list[float]()
    calls = RunningCalls()
    look_at = calls._look_at

    def counted(time_s: float) -> None:
        timers.append(time_s)
        look_at(time_s)

    monkeypatch.setattr(calls, "_look_at", counted)
    for _ in range(100):
        running = calls.add()
        calls.limit(running, 5)
        calls.remove(running)
    assert len(timers) == 1
    assert timers[0] - loop.time() < 6
