"""One scrape of several workers: over unix sockets in a folder that only this user can enter.

Each worker answers its parent with its own metrics. The parent puts them together. A worker that Prometheus asks, asks the parent.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import structlog

from rampd_server.access.globs import EVERY_COMPONENT
from rampd_server.metrics.collector import Collector, seen_by
from rampd_server.metrics.merging import Merging, Scrape
from rampd_server.process.outage import Outage

_WORKER_SILENT_S: Final = 2.0
"""How long a worker may send nothing. The parent answers without a worker that hangs, from what it remembers of it."""
_PARENT_SILENT_S: Final = 9.0
"""Prometheus gives a scrape 10 s if nobody sets another time."""
_PIECE: Final = 64 * 1024
_END: Final = b"# EOF\n"
"""Shows that a text is whole."""
_PREFIX: Final = "rampd-workers-"

_T = TypeVar("_T")
_Globs = tuple[str, ...]
_Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_log: Final = structlog.get_logger(__name__)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for the sockets. Deletes the folders of parents that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    # Only this user can enter it.
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        yield Path(folder)


def _is_left(folder: Path) -> bool:
    """Whether a folder is this user's, and its parent has ended."""
    try:
        if folder.lstat().st_uid != os.geteuid():
            return False
        with socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            asking.connect(os.fspath(_parent(folder)))
    except ConnectionRefusedError:
        return True
    except OSError:
        pass  # a parent that has not begun to listen
    return False


class SharedScrape:
    """The scrape of all workers, for one of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts = _Shared(self._ask_parent)

    async def text(self, globs: Sequence[str] = EVERY_COMPONENT) -> AsyncIterator[bytes]:
        """As `Scraped.text`. Raises OSError, TimeoutError before the first piece if the parent does not answer."""
        whole = await self._texts.get(tuple(globs))
        for first in range(0, len(whole), _PIECE):
            yield whole[first : first + _PIECE]

    async def _ask_parent(self, globs: _Globs) -> bytes:
        return await _ask(_parent(self._folder), json.dumps(globs).encode() + b"\n", silent_s=_PARENT_SILENT_S)


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
    async with _serving(_parent(folder), _AllWorkers(folder, workers).answer):
        yield


class _AllWorkers:
    """Asks all workers for their metrics, and puts them together."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._merged = Merging()
        self._turn = asyncio.Lock()
        self._left_out = [
            Outage("worker_not_scraped", "worker_scraped_again", worker=number) for number in range(workers)
        ]
        self._texts = _Shared(self._text)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        globs: Sequence[str] = json.loads(await reader.readline())
        for piece in await self._texts.get(tuple(globs)):
            writer.write(piece)
            await writer.drain()
        writer.write(_END)

    async def _text(self, globs: _Globs) -> Sequence[bytes]:
        """Raises ConnectionError if no worker has answered: what is remembered of them has no gauges, as if there were no server."""
        async with self._turn:
            found = await asyncio.gather(*(self._pull(number) for number in range(len(self._left_out))))
            texts = {number: text for number, text in enumerate(found) if text is not None}
            if not texts:
                raise ConnectionAbortedError("no worker has answered")
            # In a thread, because the texts are long. The time of a worker is not the time that its text takes here.
            return await asyncio.to_thread(self._merge, texts, globs)

    def _merge(self, texts: dict[int, bytes], globs: _Globs) -> Sequence[bytes]:
        scrapes = []
        for worker, answer in texts.items():
            run, _, text = answer.decode().partition("\n")
            scrapes.append(Scrape.read(worker, run, text))
        self._merged.take(scrapes)
        return list(self._merged.text(seen_by(globs)))

    async def _pull(self, worker: int) -> bytes | None:
        """What one worker answers; None if it does not."""
        outage = self._left_out[worker]
        try:
            text = await _ask(_worker(self._folder, worker), b"\n", silent_s=_WORKER_SILENT_S)
        except TimeoutError:
            outage.tell(f"it sent nothing for {_WORKER_SILENT_S:g} s")
        except OSError as error:
            # Often it is being started again.
            outage.tell(str(error))
        else:
            outage.end()
            return text
        return None


class _Shared(Generic[_T]):
    """Makes answers. All who ask while an answer is being made get the same one, so that many scrapers hold one text."""

    def __init__(self, make: Callable[[_Globs], Coroutine[Any, Any, _T]]) -> None:
        self._make = make
        self._making: dict[_Globs, asyncio.Task[_T]] = {}

    async def get(self, globs: _Globs) -> _T:
        making = self._making.get(globs)
        if making is None:
            making = self._making[globs] = asyncio.create_task(self._make(globs))
            making.add_done_callback(partial(self._forget, globs))
        # The shield keeps the task going for the others if this caller goes.
        return await asyncio.shield(making)

    def _forget(self, globs: _Globs, made: "asyncio.Task[_T]") -> None:
        del self._making[globs]
        if not made.cancelled():
            made.exception()  # perhaps all callers have gone, and nobody else looks at it


async def _ask(path: Path, question: bytes, *, silent_s: float) -> bytes:
    """Raises OSError: nobody answers, or not to the end. Raises TimeoutError: nothing came for so long."""
    async with asyncio.timeout(silent_s) as limit:
        reader, writer = await asyncio.open_unix_connection(path)
        pieces = []
        try:
            writer.write(question)
            while piece := await reader.read(_PIECE):
                pieces.append(piece)
                limit.reschedule(asyncio.get_running_loop().time() + silent_s)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    answer = b"".join(pieces)
    if not answer.endswith(_END):
        raise ConnectionResetError("it did not answer to the end")
    return answer.removesuffix(_END)


@contextlib.asynccontextmanager
async def _serving(path: Path, answer: _Answer) -> AsyncIterator[None]:
    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except OSError:
            pass  # who asked has gone, or there is no answer
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
