"""`rampd` as a process of its own, whose output is read while it runs."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO

WITHIN_S = 120


class Program:
    """A running `rampd`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.out = _Lines(process.stdout)
        self.err = _Lines(process.stderr)

    def interrupt(self) -> int:
        """Presses Ctrl-C, and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(WITHIN_S)


class _Lines:
    """The lines of a pipe, as they come."""

    def __init__(self, pipe: IO[str] | None) -> None:
        assert pipe is not None
        self._pipe = pipe
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._pipe:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def close(self) -> None:
        self._reader.join(WITHIN_S)
        self._pipe.close()

    def next(self) -> str:
        """Waits for the next line."""
        line = self._lines.get(timeout=WITHIN_S)
        assert line is not None, "the program has ended"
        return line

    def rest(self) -> list[str]:
        """Waits for the end, and returns all lines that were not read yet."""
        return list(iter(lambda: self._lines.get(timeout=WITHIN_S), None))


@contextlib.contextmanager
def running(server: str, *words: str) -> Iterator[Program]:
    """Runs a command line against a server, with pipes instead of a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rampd_cli", "--server", server, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("RAMPD_")},
    )
    program = Program(process)
    try:
        yield program
    finally:
        process.kill()
        process.wait()
        program.out.close()
        program.err.close()
