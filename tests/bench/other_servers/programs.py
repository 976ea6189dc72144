"""Runs the programs of other projects: those in build/peers, or on the PATH."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench import cores
from tests.waiting import eventually

FOLDER = Path("build/peers")


def find(program: str) -> str | None:
    """Returns the path of a program. If it is not there, says so and returns None."""
    path = shutil.which(program, path=os.pathsep.join((str(FOLDER.absolute()), os.environ["PATH"])))
    if path is None:
        print(f"\n  left out: {program} is neither in {FOLDER} nor on the PATH", end="", flush=True)
    return path


@contextlib.contextmanager
def listening(port: int, *command: str, folder: Path | None = None, **environment: str) -> Iterator[str]:
    """Runs a program on the core of servers, and gives its address once it listens. What it prints is in build/peers."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    log = FOLDER / f"{Path(command[0]).name}.log"
    with cores.on(cores.SERVER), log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: _takes_connections(port) or process.poll() is not None)
        assert process.poll() is None, f"{command[0]} has ended: {log} says why"
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _takes_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
