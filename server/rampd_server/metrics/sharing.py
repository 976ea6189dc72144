"""One scrape of several workers: over unix sockets in a folder that only this user can enter.

Each worker answers its parent with its own metrics. The parent puts them together. A worker that Prometheus asks, asks the parent.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from rampd_server.access.globs import EVERY_COMPONENT
from rampd_server.metrics.collector import Collector, seen_by
from rampd_server.metrics.merging import Merging, Scrape

_PULL_S: Final = 2.0
"""How long a worker may take. The parent answers without a worker that hangs, from what it remembers of it."""
_SCRAPE_S: Final = 5.0
_PIECE: Final = 64 * 1024
_END: Final = b"# EOF\n"
"""Shows that a text is whole."""

_Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_log: Final = structlog.get_logger(__name__)


class SharedScrape:
    """The scrape of all workers, for one of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def text(self, globs: Sequence[str] = EVERY_COMPONENT) -> AsyncIterator[bytes]:
        """As `Scraped.text`. Raises OSError, TimeoutError before the first piece if the parent does not answer."""
        async with asyncio.timeout(_SCRAPE_S):
            whole = await _ask(_parent(self._folder), json.dumps(list(globs)).encode() + b"\n")
        for first in range(0, len(whole), _PIECE):
            yield whole[first : first + _PIECE]


@contextlib.asynccontextmanager
async def answering(folder: Path, worker: int, collector: Collector) -> AsyncIterator[None]:
    """Answers the parent with the metrics of this worker, as long as the block lasts."""
    run = secrets.token_hex(8)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(f"{run}\n".encode())
        async for piece in collector.text():
            writer.write(piece)
            await writer.drain()
        writer.write(_END)

    async with _serving(_worker(folder, worker), answer):
        yield


@contextlib.asynccontextmanager
async def merging(folder: Path, workers: int) -> AsyncIterator[None]:
    """Answers workers with the metrics of all, as long as the block lasts."""
    merged, turn = Merging(), asyncio.Lock()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        globs = json.loads(await reader.readline())
        async with turn:
            found = await asyncio.gather(*(_pull(folder, number) for number in range(workers)))
            merged.take([scrape for scrape in found if scrape is not None])
            pieces = list(merged.text(seen_by(globs)))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write(_END)

    async with _serving(_parent(folder), answer):
        yield


async def _pull(folder: Path, worker: int) -> Scrape | None:
    """What one worker answers; None if it does not."""
    try:
        async with asyncio.timeout(_PULL_S):
            run, _, text = (await _ask(_worker(folder, worker), b"\n")).partition(b"\n")
            return Scrape.read(worker, run.decode(), text.decode())
    except (OSError, TimeoutError):
        # It is being started again, or hangs. The log says so elsewhere.
        return None


async def _ask(path: Path, question: bytes) -> bytes:
    """Raises OSError: nobody answers, or not to the end."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(question)
        answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not answer.endswith(_END):
        raise ConnectionResetError(f"{path} did not answer to the end")
    return answer.removesuffix(_END)


@contextlib.asynccontextmanager
async def _serving(path: Path, answer: _Answer) -> AsyncIterator[None]:
    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except OSError:
            pass  # who asked has gone
        except Exception:  # noqa: BLE001 - the next question may get an answer
            _log.exception("metrics_not_shared")
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # noqa: ASYNC240 - it takes no time
    server = await asyncio.start_unix_server(answer_and_close, path)
    try:
        yield
    finally:
        server.close()


def _parent(folder: Path) -> Path:
    return folder / "parent"


def _worker(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}"
