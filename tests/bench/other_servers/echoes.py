"""Bare echoes in three languages. `make bench-peers` builds those that are not in Python."""

import contextlib
from collections.abc import Iterator
from functools import partial

import grpc

from rampd import v1
from tests.bench import running
from tests.bench.echo_server import ANSWER
from tests.bench.load import Load
from tests.bench.other_servers import programs
from tests.bench.resolve import METHOD, REQUEST

AIO, GO, TONIC = "echo of grpc.aio", "echo of grpc-go", "echo of tonic"


@contextlib.contextmanager
def of_python() -> Iterator[dict[str, Load]]:
    """It parses the request and serialises the answer."""
    with running.bare("echo_server", "uvloop") as echo:
        yield {AIO: _checked(echo)}


@contextlib.contextmanager
def built(name: str, program: str) -> Iterator[dict[str, Load]]:
    """It sends bytes, and parses nothing."""
    path = programs.find(program)
    if path is None:
        yield {}
        return
    with running.program(path, ANSWER.SerializeToString().hex()) as echo:
        yield {name: _checked(echo)}


ALL = (of_python, partial(built, GO, "echo-go"), partial(built, TONIC, "echo-tonic"))


def _checked(echo: running.Bare) -> Load:
    with grpc.insecure_channel(echo.target) as channel:
        ask = channel.unary_unary(f"/{METHOD}", v1.ResolveRequest.SerializeToString, v1.ResolveResponse.FromString)
        assert ask(REQUEST, timeout=5) == ANSWER
    return Load(echo.target, METHOD, REQUEST)
