"""A process of rampd-server whose caller has closed stdin, stdout or stderr."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

_CLOSED = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-"}


@pytest.fixture
def store() -> Iterator[StoreServer]:
    with store_server(REDIS) as running:
        yield running


def start(closed: str, *words: str) -> "subprocess.Popen[str]":
    command = ["sh", "-c", f'exec "$@" {_CLOSED[closed]}', "sh", sys.executable, "-m", "rampd_server", *words]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("closed", _CLOSED)
def test_a_server_runs_and_ends_without_it(directory: Path, store: StoreServer, closed: str) -> None:
    with start(
        closed, "--redis-url", store.url, "--data-dir", str(directory), "--listen", "http://127.0.0.1:0"
    ) as server:
        try:
            eventually((directory / "rampd.sock").exists, within_s=60)
        finally:
            server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=60)
    assert server.returncode == 0, said


def test_nothing_is_exported_to_nowhere_or_imported_from_nothing(store: StoreServer) -> None:
    for command, closed, said in (
        ("import", "stdin", "import reads a file from standard input: add < FILE."),
        ("export", "stdout", "export writes a file to standard output: add > FILE."),
    ):
        with start(closed, command, "--redis-url", store.url) as process:
            assert said in process.communicate(timeout=60)[1]
        assert process.returncode == 2


def test_a_command_whose_output_can_not_be_written_says_so_and_what_it_has_done_stays(store: StoreServer) -> None:
    words = [sys.executable, "-m", "rampd_server", "import", "--redis-url", store.url]
    table = b"component,tag,percent\nhlint,7,100\n"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, input=table, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    said = b"rampd-server: Standard output can't be written: No space left on device. What the command has done stays."
    assert (done.returncode, done.stderr.startswith(said), done.stderr.count(b"\n")) == (2, True, 1), done
    again = subprocess.run(words, input=table, stdout=subprocess.PIPE, timeout=60, check=True)
    assert b"nothing was changed" in again.stdout


def test_what_a_command_says_has_escapes_for_what_the_encoding_of_stdout_lacks() -> None:
    """A plan of a merge has the notes of people in it, and it is said after the merge."""
    words = [sys.executable, "-c", "from rampd_server.process.startup import say; say('\u00dcberlauf')"]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\xdcberlauf\n", b"")
