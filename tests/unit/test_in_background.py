import asyncio

import pytest

from tests.in_background import in_background


async def test_the_work_ends_with_the_block_also_if_the_block_fails() -> None:
    ended = 0

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    async with in_background(work()):
        await asyncio.sleep(0)
    assert ended == 1

    async def fail() -> None:
        async with in_background(work()):
            await asyncio.sleep(0)
            raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"):
        await fail()
    assert ended == 2
