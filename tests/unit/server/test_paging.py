"""Pages of lists that are in memory."""

import asyncio
from collections.abc import Iterator

import pytest

from rampd import v1
from rampd_server.rpc.paging import one_by_one, paged


async def test_other_tasks_have_their_turn_while_a_page_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may have a thousand tags in quarantine, and each is made from a value."""
    monkeypatch.setattr("rampd_server.process.long_work._PIECE_S", 0.0)
    turns, before = 0, list[int]()

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def tags() -> Iterator[tuple[str, v1.QuarantinedTag]]:
        for number in range(3):
            before.append(turns)
            yield f"v{number}", v1.QuarantinedTag(tag=f"v{number}")

    beside = asyncio.create_task(other())
    shown, token = await paged(v1.ListQuarantineRequest(page_size=2), one_by_one(tags()))
    beside.cancel()

    assert ([each.tag for each in shown], token) == (["v0", "v1"], "v1")
    assert before == [0, 1, 2]
