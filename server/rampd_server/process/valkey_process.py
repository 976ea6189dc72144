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
# Asks the kernel to kill this process when the thread that started it ends, and then becomes the program. Only the
# process itself can ask for that, and `preexec_fn` is not safe beside threads. The server may have ended before the
# request.
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
    """A Valkey that runs, or has ended. If it is started on the main thread, it does not outlive this process on Linux,
    even if this process is killed. No acknowledged write is lost then, because all of them are in the append-only file.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", path: Path, log: Path) -> None:
        self._process = process
        self._path = path
        self._log = log
        # Waits for the process on a thread: that works on every system, and beside other code that waits for children.
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
        """Whether the process ends within that time."""
        return bool((await asyncio.wait({self._ended}, timeout=within_s))[0])

    async def answers(self) -> bool:
        """Whether the Valkey gives any answer."""
        return bool(await ping(self._path))

    def kill(self) -> None:
        """Kills the process at once."""
        self._process.kill()

    async def end(self) -> None:
        """Ends the process in order, or kills it if that takes too long."""
        self._process.terminate()
        if not await self.has_ended(within_s=_STOP_TIMEOUT_S):
            self._process.kill()
            await self._ended
        _log.info("store_stopped", code=self.code)

    @property
    def code(self) -> int | None:
        """The exit code; after a signal, the signal's number with a minus; None while the process runs."""
        return self._process.returncode

    @property
    def last_line(self) -> str:
        """The last line of its log."""
        try:
            lines = self._log.read_bytes()[-4096:].decode(errors="replace").split("\n")
        except OSError as error:
            return f"its log {self._log} can't be read: {error.strerror}."
        return next((line.strip() for line in reversed(lines) if line.strip()), f"its log {self._log} is empty.")

    async def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_TIMEOUT_S
        # Valkey answers -LOADING while it loads its data.
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
    """Returns the answer to a PING at a socket; empty if there is no answer."""
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
            return subprocess.Popen(  # noqa: S603 - the program of the wheel, with rampd's own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=home,
                # Ctrl-C in a terminal goes to the whole group, but the store must run until the server has ended.
                process_group=0,
            )
    except OSError as error:
        raise StartupError(f"The embedded Valkey can't be started in {home}: {error.strerror}.") from error
