"""What a server as a process does with its memory."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from rampd_server import app
from rampd_server.process import memory
from rampd_server.process.address import Address
from rampd_server.process.config import Config
from tests.servers import ServerProcess
from tests.stores import VALKEY, store_server
from tests.waiting import eventually

_COUNTS_AT_ITS_END = """
import atexit, gc, runpy
atexit.register(lambda: print("spared", gc.get_freeze_count(), flush=True))
runpy.run_module("rampd_server", run_name="__main__", alter_sys=True)
"""


def test_garbage_collection_spares_what_stays_as_long_as_the_server(directory: Path) -> None:
    """Given a server that has started, expect that no answer with many components makes it look through all of its memory."""
    words = [sys.executable, "-c", _COUNTS_AT_ITS_END, "--listen", "127.0.0.1:0", "--data-dir", str(directory)]
    words += ["--log-format", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        server = ServerProcess(process, directory)
        server.follow()
        try:
            server.event("serving")
            eventually(lambda: any("Ctrl-C" in line for line in server.said))
            assert server.stop() == 0
        finally:
            process.kill()
        [line] = [line for line in server.said if line.startswith("spared ")]
        assert int(line.removeprefix("spared ")) > 50_000


async def test_what_brings_all_components_into_memory_runs_within_the_block_for_that(directory: Path) -> None:
    """Given a server that starts, expect the block for its last state, and another one for what it reads from the store."""
    blocks: list[str] = []

    @contextmanager
    def growing() -> Iterator[None]:
        blocks.append("begins")
        yield
        blocks.append("ends")

    here = Address("127.0.0.1", 0)
    config = Config(data_dir=directory, listen=(here,), insecure_admin=True, wait_for_store=False)
    with store_server(VALKEY) as store:
        async with app.running(config, store.url, growing=growing):
            assert blocks[:3] == ["begins", "ends", "begins"]
    assert blocks == ["begins", "ends"] * 2


async def test_a_process_that_is_a_server_keeps_garbage_collection_from_what_it_reads(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def running(*_: object, growing: object, **__: object) -> NoReturn:
        given.append(growing)
        raise ZeroDivisionError

    monkeypatch.setattr(app, "running", running)
    with pytest.raises(ZeroDivisionError):
        await app.serve(Config(data_dir=directory, insecure_admin=True), "redis://localhost")
    assert given == [memory.growing]
