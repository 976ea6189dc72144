"""The servers that people would run instead. Each is set up as in its quick start, with its flag in a file. None writes a line for
each answer, and none sends anything to its makers.
"""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copy

from google.protobuf.struct_pb2 import Struct

from tests.bench.load import Load
from tests.bench.other_servers import asking, programs
from tests.bench.peers import libraries
from tests.ports import free_port, free_ports

FLAGD, GO_FEATURE_FLAG, FLIPT = "flagd", "GO Feature Flag", "Flipt"
COMPONENT = libraries.COMPONENT
_CONFIGURATIONS = Path(__file__).parent.absolute() / "configurations"


@contextlib.contextmanager
def flagd() -> Iterator[dict[str, Load]]:
    """It takes gRPC at the port of its quick start. Its flags are those of the library in `peers`."""
    program = programs.find("flagd")
    if program is None:
        yield {}
        return
    port, *others = free_ports(4)
    flags = f"--uri=file:{(libraries.FOLDER / 'flagd.json').absolute()}"
    kinds = ("port", "management-port", "sync-port", "ofrep-port")
    ports = (f"--{kind}={each}" for kind, each in zip(kinds, (port, *others), strict=True))

    def request(repo: str) -> bytes:
        context = Struct()
        context["targetingKey"] = repo
        return _field(1, COMPONENT.encode()) + _field(2, context.SerializeToString())

    with programs.listening(port, program, "start", flags, *ports) as target:
        yield {FLAGD: asking.over_grpc(FLAGD, target, "flagd.evaluation.v1.Service/ResolveString", request)}


@contextlib.contextmanager
def go_feature_flag() -> Iterator[dict[str, Load]]:
    """Its relay proxy takes no gRPC, so it is asked with OFREP. The exporter of its quick start, which logs each answer, is off."""
    program = programs.find("go-feature-flag")
    if program is None:
        yield {}
        return
    port = free_port()
    command = (program, "--config", "go-feature-flag.yaml")

    def request(repo: str) -> bytes:
        return json.dumps({"context": {"targetingKey": repo}}).encode()

    with programs.listening(port, *command, folder=_CONFIGURATIONS, SERVER_PORT=str(port)) as target:
        path = f"ofrep/v1/evaluate/flags/{COMPONENT}"
        yield {GO_FEATURE_FLAG: asking.over_http(GO_FEATURE_FLAG, target, path, request)}


@contextlib.contextmanager
def flipt() -> Iterator[dict[str, Load]]:
    """Version 2 keeps its flags in a git repository."""
    program = programs.find("flipt")
    if program is None:
        yield {}
        return
    port, http = free_ports(2)

    def request(repo: str) -> bytes:
        return _field(2, b"default") + _field(3, COMPONENT.encode()) + _field(4, repo.encode())

    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "FLIPT_LOG_LEVEL": "WARN",
            "FLIPT_META_CHECK_FOR_UPDATES": "false",
            "FLIPT_META_TELEMETRY_ENABLED": "false",
            "FLIPT_SERVER_GRPC_PORT": str(port),
            "FLIPT_SERVER_HOST": "127.0.0.1",
            "FLIPT_SERVER_HTTP_PORT": str(http),
            "FLIPT_STORAGE_DEFAULT_BACKEND_PATH": folder,
            "FLIPT_STORAGE_DEFAULT_BACKEND_TYPE": "local",
        }
        _commit(_CONFIGURATIONS / "flipt.yaml", Path(folder))
        with programs.listening(port, program, "server", **settings) as target:
            yield {FLIPT: asking.over_grpc(FLIPT, target, "flipt.evaluation.EvaluationService/Variant", request)}


ALL = (flagd, go_feature_flag, flipt)


def _commit(flags: Path, repository: Path) -> None:
    """Makes a git repository with the flags of the namespace `default`."""
    (repository / "default").mkdir()
    copy(flags, repository / "default" / "features.yaml")
    author = ("-c", "user.name=bench", "-c", "user.email=bench@example.com")
    for words in (("init", "--initial-branch=main"), ("add", "."), (*author, "commit", "--message", "Add the flag")):
        subprocess.run(("git", *words), cwd=repository, check=True, capture_output=True)


def _field(number: int, value: bytes) -> bytes:
    """Returns a field of protobuf: a text, or a message, of up to 127 bytes."""
    assert len(value) < 128
    return bytes((number << 3 | 2, len(value))) + value
