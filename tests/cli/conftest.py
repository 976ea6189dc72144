"""`rampd` in this process, against a real server."""

import contextlib
import itertools
import json
import os
import pty
import re
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rampd import Admin
from rampd._calls.timeout import ADMIN_TIMEOUT_S
from rampd.testing import RampdServer
from rampd.testing._server import running_server
from rampd_cli import app
from rampd_server.process.logs import hand_to_standard_library
from tests.logging_as_before import logging_as_before
from tests.patient_clients import make_clients_patient
from tests.waiting import PATIENCE_S

_number = itertools.count(1)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


RAMPD = (
    sys.executable,
    "-c",
    """
import os, signal, sys
from rampd_cli.__main__ import main
# As in a shell: a terminal is that of the process, and Ctrl-C is not ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
if os.isatty(0):
    os.close(os.open(os.ttyname(0), os.O_RDWR))
sys.exit(main())
""",
)
"""The command `rampd` as a process, which leads a session of its own."""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines of `-o plain`."""
        return [line.split("\t") for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _lines_of_servers() -> Iterator[None]:
    """The lines of servers in this process do not go to the standard output, whatever tests before have left."""
    with logging_as_before():
        hand_to_standard_library()
        yield


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer for an answer than a person waits. A test of a server that is silent calls `be_impatient`."""
    make_clients_patient(monkeypatch)
    for limit in (
        "rampd._reporting.report_thread.FLUSH_S",
        "rampd_cli.session._RESOLVE_S",
        "rampd_cli.status.reading._SAYS_S",
        "rampd_cli.waiting.run._FIND_S",
    ):
        monkeypatch.setattr(limit, PATIENCE_S)


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, a call of `Admin` takes as long as a person waits."""
    monkeypatch.setitem(Admin.__init__.__kwdefaults__, "timeout", ADMIN_TIMEOUT_S)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Nothing of the person's own settings is in force."""
    for name in ("SERVER", "PROFILE", "TOKEN", "TOKEN_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE"):
        monkeypatch.delenv(f"RAMPD_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], settings: None) -> Run:
    """Runs a command line. There is no terminal."""

    def run(*words: str) -> Ran:
        capsys.readouterr()
        code = app.run(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def rampd(run: Run, rampd_server: RampdServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line against an empty server."""
    monkeypatch.setenv("RAMPD_SERVER", rampd_server.target)
    return run


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RampdServer]:
    """A real server that all tests share, because a start takes longer than most tests. Each test has a `component` of its own."""
    with running_server() as server:
        yield server


@pytest.fixture
def component() -> str:
    """The name of a component that no other test has."""
    return f"c{next(_number)}"


@pytest.fixture
def cli(run: Run, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line against the server that all tests share. There is no terminal."""
    monkeypatch.setenv("RAMPD_SERVER", shared_server.target)
    return run


@contextlib.contextmanager
def piped(path: Path, text: str) -> Iterator[None]:
    """Makes a pipe at a path. While the block runs, another thread writes a text into it."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(text,), daemon=True)
    writer.start()
    yield
    writer.join(60)


@dataclass(frozen=True)
class Screen:
    """What a command did at a terminal."""

    code: int
    text: str
    """All that the terminal got, without styles, with what was typed."""
    raw: str


AtTerminal = Callable[..., Screen]


@pytest.fixture
def at_terminal(settings: None, monkeypatch: pytest.MonkeyPatch) -> AtTerminal:
    """Runs a command line at a real terminal of 80 columns, at which a person types `typed`."""
    monkeypatch.setenv("TERM", "xterm")

    def run(*words: str, typed: str = "") -> Screen:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        seen: list[bytes] = []
        reader = threading.Thread(target=_read, args=(ours, seen), daemon=True)
        with monkeypatch.context() as patch, open(theirs, "r+b", buffering=0) as file:  # noqa: PTH123
            streams = {
                "stdin": open(theirs, closefd=False),  # noqa: SIM115
                "stdout": open(theirs, "w", closefd=False),  # noqa: SIM115
                "stderr": open(theirs, "w", closefd=False),  # noqa: SIM115
            }
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            reader.start()
            os.write(ours, typed.encode())
            code = app.run(words)
            for stream in streams.values():
                stream.close()
            termios.tcdrain(file.fileno())
        reader.join(60)
        os.close(ours)
        raw = b"".join(seen).decode().replace("\r\n", "\n")
        return Screen(code, _STYLE.sub("", raw), raw)

    return run


def _read(ours: int, seen: list[bytes]) -> None:
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other side is closed
            return
        if not data:
            return
        seen.append(data)


@pytest.fixture
def person(at_terminal: AtTerminal, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch) -> AtTerminal:
    """A person at a terminal, with the server that all tests share."""
    monkeypatch.setenv("RAMPD_SERVER", shared_server.target)
    return at_terminal
