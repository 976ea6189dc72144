"""Long work in the event loop gives other tasks their turn."""

import asyncio
from types import SimpleNamespace

import pytest

from rampd_server.process import long_work
from rampd_server.process.long_work import in_pieces


async def turns_during(works_s: list[float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns how many turns another task has had before each piece of work, by how long the pieces take."""
    now_s, turns, found = 0.0, 0, []
    monkeypatch.setattr(long_work, "time", SimpleNamespace(perf_counter=lambda: now_s))

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    async for work_s in in_pieces(works_s):
        found.append(turns)
        now_s += work_s
    beside.cancel()
    return found


async def test_other_tasks_have_their_turn_after_each_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await turns_during([0.0004] * 7, monkeypatch) == [0, 0, 0, 1, 1, 1, 2]
    assert await turns_during([0.05, 0.05, 0.0], monkeypatch) == [0, 1, 2]


async def test_what_takes_less_ends_without_a_turn_of_another_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await turns_during([0.0] * 100, monkeypatch) == [0] * 100
