"""A command on a terminal of its own, and in a pipe."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>()][A-Z0-9]?)")
_WITHIN_S = 120.0
ALTERNATE_SCREEN, NORMAL_SCREEN, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


class Terminal:
    """A running command, and all that it has written."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self.raw = ""
        self._master = master

    @property
    def text(self) -> str:
        """What it has written, without colours and the like."""
        return _CONTROL.sub("", self.raw)

    def shows(self, text: str, *, after: int = 0) -> int:
        """Waits until the text is written, after a place in `text`. Returns the place after it."""
        end = time.monotonic() + _WITHIN_S
        while (at := self.text.find(text, after)) < 0:
            assert time.monotonic() < end, f"no {text!r} in {self.text[after:][-3000:]!r}"
            assert self.reads(), f"it ended without {text!r}: {self.text[after:][-3000:]!r}"
        return at + len(text)

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def ends(self) -> int:
        """Waits for the end, and returns the exit code."""
        while self.reads():
            pass
        return self.process.wait(_WITHIN_S)

    def reads(self) -> bool:
        """Reads more, for a moment. Returns whether more may come."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return True
        try:
            found = os.read(self._master, 1 << 16)
        except OSError:  # Linux says so at the end
            return False
        self.raw += found.decode(errors="replace")
        return bool(found)


@contextlib.contextmanager
def on_terminal(
    *words: str, columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Starts `rampd` on a terminal of this size."""
    with _started([sys.executable, "-c", _TAKE_TERMINAL, *words], columns, rows, _environment(environment)) as terminal:
        yield terminal


@contextlib.contextmanager
def program_on_terminal(
    *command: str, environment: Mapping[str, str], folder: Path, columns: int = 200, rows: int = 24
) -> Iterator[Terminal]:
    """Starts another program on a terminal, with this environment and nothing else."""
    with _started([sys.executable, "-c", _BECOME, *command], columns, rows, dict(environment), folder) as terminal:
        yield terminal


@contextlib.contextmanager
def _started(
    command: Sequence[str], columns: int, rows: int, environment: dict[str, str], folder: Path | None = None
) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder, start_new_session=True
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        _end(process)
        os.close(master)


PATIENT = """
import sys
from rampd import Admin
from rampd_cli.__main__ import main
from rampd_cli.status import reading
from rampd_cli.waiting import run

Admin.__init__.__kwdefaults__["timeout"] = reading._SAYS_S = run._FIND_S = 60.0
sys.exit(main())
"""
"""`rampd`, with more time for an answer than a person waits: the machine may be busy."""
_TAKE_TERMINAL = f"""
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
{PATIENT}
"""
_BECOME = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Pipe:
    """A running command whose output goes into a pipe."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def has(self, count: int) -> Sequence[str]:
        """Waits until there are so many lines, and returns them."""
        end = time.monotonic() + _WITHIN_S
        while True:
            # Asked before the look: the last line may come between the two.
            may_come = self._thread.is_alive() and time.monotonic() < end
            if len(self.lines) >= count:
                return self.lines[:count]
            assert may_come, self.lines
            time.sleep(0.02)

    def interrupt(self) -> int:
        """Presses Ctrl-C, and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.ends()

    def ends(self) -> int:
        """Waits for the end, and returns the exit code."""
        code = self.process.wait(_WITHIN_S)
        self._thread.join(_WITHIN_S)
        return code


@contextlib.contextmanager
def in_pipe(*words: str, environment: Mapping[str, str] | None = None, errors: Path | None = None) -> Iterator[Pipe]:
    """Starts `rampd` in a pipe. Its errors go to the file `errors`."""
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-c", PATIENT, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(errors.open("w")) if errors else subprocess.DEVNULL,
            text=True,
            env=_environment(environment),
        )
        try:
            yield Pipe(process)
        finally:
            _end(process)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    left_out = ("RAMPD_", "COLUMNS", "LINES", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "TERM": "xterm-256color", **(more or {})}


def _end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait(_WITHIN_S)
    if process.stdout is not None:
        process.stdout.close()
