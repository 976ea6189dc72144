"""One run of the Valkey program: from its start to its end."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import structlog

from rampd_server.process.startup import StartupError

_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
}
# Asks the kernel to kill this process together with the thread that started it, and then becomes the program. That can't
# be asked from outside, and `preexec_fn` is not safe beside threads. The server may have ended before the request.
_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("its server has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 10
_ANSWER_S = 1.0
_POLL_S = 0.02

_log = structlog.get_logger(__name__)


class ValkeyProcess:
    """A Valkey that runs, or has ended. Started on the main thread, it does not outlive this process on Linux, even if this
    process is killed: every acknowledged write is in the append-only file.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
        self._process = process
        self._path = path
        self._log = log
        # Reaps it. On a thread, since it works on every system and beside whoever else waits for a child.
        self._ended = asyncio.create_task(asyncio.to_thread(process.wait))

    @classmethod
    async def start(cls, program: Path, home: Path, path: Path) -> "ValkeyProcess":
        """Starts the program on the data in `home`, and waits until it answers at `path`. Raises StartupError."""
        valkey = cls(_spawn(program, home, path), path, home / "valkey.log")
        try:
            await valkey._wait_until_ready()
        except BaseException:
            await valkey.end()
            raise
        _log.info("store_started", process=valkey._process.pid, directory=str(home))
        return valkey

    async def has_ended(self, *, within_s: float) -> bool:
        """Whether it ends within that time."""
        return bool((await asyncio.wait({self._ended}, timeout=within_s))[0])

    async def answers(self) -> bool:
        """Whether it answers anything at all."""
        return bool(await ping(self._path))

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    async def end(self) -> None:
        """Ends it in order, or at once where it takes too long."""
        self._process.terminate()
        if not await self.has_ended(within_s=_STOP_TIMEOUT_S):
            self._process.kill()
            await self._ended
        _log.info("store_stopped", code=self.code)

    @property
    def code(self) -> int | None:
        """Its exit code; the number of the signal that ended it, with a minus; None while it runs."""
        return self._process.returncode

    @property
    def last_line(self) -> str:
        """The last that it logged."""
        try:
            lines = self._log.read_bytes()[-4096:].decode(errors="replace").split("\n")
        except OSError as error:
            return f"its log {self._log} can't be read: {error.strerror}."
        return next((line.strip() for line in reversed(lines) if line.strip()), f"its log {self._log} is empty.")

    async def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_TIMEOUT_S
        # While it loads its data it answers -LOADING.
        while not (await ping(self._path)).startswith(b"+PONG"):
            if self._ended.done():
                raise StartupError(
                    f"The embedded Valkey ended with code {self.code}. Its log ends with: {self.last_line}"
                )
            if time.monotonic() > end:
                raise StartupError(
                    f"The embedded Valkey was not ready in {_START_TIMEOUT_S} s; its log is {self._log}."
                )
            await asyncio.sleep(_POLL_S)


async def ping(path: Path) -> bytes:
    """The answer to a PING at a socket; empty where nobody answers."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(os.fspath(path))
            try:
                writer.write(b"PING\r\n")
                return await reader.read(64)
            finally:
                writer.close()
    except OSError:  # a TimeoutError too
        return b""


def _spawn(program: Path, home: Path, path: Path) -> "subprocess.Popen[bytes]":
    command = [
        os.fspath(program),
        *(word for name, value in _OPTIONS.items() for word in (f"--{name}", value)),
        *("--dir", os.fspath(home), "--unixsocket", os.fspath(path)),
    ]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]
    try:
        with (home / "valkey.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the program of the wheel, with arguments of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=home,
                # Ctrl-C in a terminal goes to the whole group, and the store must be there until the server has ended.
                process_group=0,
            )
    except OSError as error:
        raise StartupError(f"The embedded Valkey can't be started in {home}: {error.strerror}.") from error
