"""How workers and their parent share a scrape, over real sockets and with workers that are not there."""

import asyncio
import contextlib
import socket
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rampd_server.metrics import sharing
from rampd_server.metrics.merging import Scrape
from rampd_server.metrics.sharing import SharedScrape, answering, merging
from tests.waiting import PATIENCE_S, eventually_async


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left out because the machine stands still."""
    monkeypatch.setattr(sharing, "_WORKER_SILENT_S", PATIENCE_S)
    monkeypatch.setattr(sharing, "_PARENT_SILENT_S", PATIENCE_S)


class FakeCollector:
    """The metrics of a worker that has one watcher. It answers while `may_answer` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def text(self) -> AsyncIterator[bytes]:
        self.asked += 1
        await self.may_answer.wait()
        yield b"rampd_watchers 1\n"


@contextlib.asynccontextmanager
async def two_workers(folder: Path) -> AsyncIterator[list[FakeCollector]]:
    """Two workers that answer, and their parent."""
    collectors = [FakeCollector(), FakeCollector()]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(merging(folder, 2))
        for number, collector in enumerate(collectors):
            await stack.enter_async_context(answering(folder, number, collector))
        yield collectors


async def watchers(shared: SharedScrape, *globs: str) -> float:
    """How many watchers a scrape has."""
    text = b"".join([piece async for piece in shared.text(globs or ("*",))])
    return Scrape.read(0, "", text.decode()).samples["rampd_watchers"]


async def test_scrapes_that_come_while_one_is_under_way_share_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given scrapes of two workers at once, expect each worker to be asked once for all of them, and again afterwards."""
    get, gets = sharing._Shared.get, []

    async def noted(shared: Any, globs: Any) -> Any:
        gets.append(shared)
        return await get(shared, globs)

    monkeypatch.setattr(sharing._Shared, "get", noted)
    async with two_workers(directory) as collectors:
        for each in collectors:
            each.may_answer.clear()
        scrapes = [SharedScrape(directory) for _ in range(2)]
        asking = [asyncio.create_task(watchers(scrape)) for scrape in scrapes * 4]
        # Eight ask here, and two of these the parent.
        await eventually_async(lambda: len(gets) >= 10 and all(each.asked for each in collectors))
        # One of those that wait has gone.
        asking.pop(0).cancel()
        for each in collectors:
            each.may_answer.set()
        assert await asyncio.gather(*asking) == [2] * 7
        assert [each.asked for each in collectors] == [1, 1]
        assert await watchers(scrapes[0]) == 2
        assert [each.asked for each in collectors] == [2, 2]


async def test_who_sees_other_components_gets_a_scrape_of_its_own(directory: Path) -> None:
    async with two_workers(directory) as collectors:
        shared = SharedScrape(directory)
        assert await asyncio.gather(watchers(shared), watchers(shared, "team-*")) == [2, 2]
        assert [each.asked for each in collectors] == [2, 2]


async def test_a_worker_that_is_left_out_is_in_the_log_once_and_so_is_its_return(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = sharing._ask

    async def with_patience_for_the_first(path: Path, question: bytes, *, silent_s: float) -> bytes:
        return await ask(path, question, silent_s=PATIENCE_S if path == directory / "worker-0" else silent_s)

    async with two_workers(directory) as collectors:
        shared = SharedScrape(directory)
        with monkeypatch.context() as patch, capture_logs() as lines:
            patch.setattr(sharing, "_WORKER_SILENT_S", 0.2)
            patch.setattr(sharing, "_ask", with_patience_for_the_first)
            collectors[1].may_answer.clear()
            assert [await watchers(shared) for _ in range(3)] == [1, 1, 1]
        assert [(line["event"], line["worker"], line["error"]) for line in lines] == [
            ("worker_not_scraped", 1, "it sent nothing for 0.2 s")
        ]
        collectors[1].may_answer.set()
        with capture_logs() as lines:
            assert [await watchers(shared) for _ in range(2)] == [2, 2]
        assert [(line["event"], line["worker"]) for line in lines] == [("worker_scraped_again", 1)]


async def test_a_scrape_that_no_worker_has_answered_is_refused(directory: Path) -> None:
    """Given workers that have answered before, expect no scrape of what is remembered, because no gauge would be in it."""
    shared = SharedScrape(directory)
    async with merging(directory, 1):
        async with answering(directory, 0, FakeCollector()):
            assert await watchers(shared) == 1
        with pytest.raises(ConnectionError):
            await watchers(shared)
        async with answering(directory, 0, FakeCollector()):
            assert await watchers(shared) == 1


async def test_a_worker_is_not_left_out_because_its_text_is_long_to_read(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expect that texts are read after the time of their workers, and that the loop does not stand still meanwhile."""
    readers, asking = [], []
    ask, read = sharing._ask, Scrape.read

    async def noted(path: Path, question: bytes, *, silent_s: float) -> bytes:
        asking.append(path)
        try:
            return await ask(path, question, silent_s=silent_s)
        finally:
            asking.remove(path)

    def read_elsewhere(*given: object) -> Scrape:
        readers.append((threading.current_thread(), list(asking)))
        return read(*given)

    async with two_workers(directory):
        with monkeypatch.context() as patch:
            patch.setattr(sharing, "_ask", noted)
            patch.setattr(sharing.Scrape, "read", read_elsewhere)
            text = b"".join([piece async for piece in SharedScrape(directory).text()])
    assert b"rampd_watchers 2\n" in text
    # Only the parent is still being asked.
    assert [under_way for _, under_way in readers] == [[directory / "parent"]] * 2
    assert threading.main_thread() not in {thread for thread, _ in readers}


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[None]:
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as parent:
        parent.bind(str(folder / "parent"))
        parent.listen()
        yield


def test_the_folder_of_a_parent_that_was_killed_is_deleted(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the folders of a parent that was killed, of one that runs and of one that begins, expect only the first to go."""
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    killed, running, beginning, other = (
        directory / f"{name}-x" for name in ("rampd-workers-1", "rampd-workers-2", "rampd-workers-3", "another")
    )
    for folder in (killed, other):
        with listening(folder):
            pass
    beginning.mkdir()
    with listening(running):
        with sharing.own_folder() as own:
            assert set(directory.iterdir()) == {running, beginning, other, own}
            assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert set(directory.iterdir()) == {running, beginning, other}
