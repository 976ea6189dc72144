"""Connect's own clients, of JavaScript and Go, call a server. They check the protocol more strictly than a test would."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2

from rampd_server.rpc.binding import SERVICES
from rampd_server.rpc.reflection import written_files
from tests.servers import ServerProcess, rampd_server, short_directory

HERE = Path(__file__).parent
INSTALL_S = 110


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must be able to do this: {reason}")
    pytest.skip(reason)


def prepared(pytestconfig: pytest.Config, name: str, needs: tuple[str, ...], *command: str) -> Path:
    """A folder with the client and its libraries. It is kept between runs."""
    for program in needs:
        if shutil.which(program) is None:
            unavailable(f"{program} is not installed")
    folder = pytestconfig.cache.mkdir(name)
    shutil.copytree(HERE / name, folder, dirs_exist_ok=True)
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        unavailable(f"{' '.join(command)} took more than {INSTALL_S} s")
    if done.returncode:
        unavailable(f"{' '.join(command)} failed: {done.stderr}")
    return folder


@pytest.fixture
def node(pytestconfig: pytest.Config) -> list[str]:
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
    folder = prepared(pytestconfig, "connect_node", ("node", "npm"), "npm", "ci", *quiet)
    return ["node", str(folder / "client.js")]


@pytest.fixture
def go(pytestconfig: pytest.Config) -> list[str]:
    return [str(prepared(pytestconfig, "connect_go", ("go",), "go", "build", "-o", "client", ".") / "client")]


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the API with all that they import, and that of the errors."""
    found: dict[str, FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        for each in file.dependencies:
            add(each)
        if file.name not in found:
            # The files as they were generated have the names of JSON. What is taken from the classes has not.
            found[file.name] = written_files().get(file.name) or _taken_from(file)

    for service in SERVICES.values():
        add(service.file)
    add(error_details_pb2.DESCRIPTOR)
    path: Path = tmp_path_factory.mktemp("descriptors") / "api.binpb"
    path.write_bytes(FileDescriptorSet(file=found.values()).SerializeToString())
    return path


def _taken_from(file: FileDescriptor) -> FileDescriptorProto:
    made = FileDescriptorProto()
    file.CopyToProto(made)
    return made


def found_by(command: list[str], server: ServerProcess, descriptors: Path, kind: str) -> Any:
    url = f"http://{server.event('listening_http')['address']}"
    done = subprocess.run(
        [*command, url, str(descriptors), kind], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def words(code: str) -> str:
    """The code as the protocol writes it: JavaScript has `NotFound` and Go `not_found`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in code).strip("_")


@pytest.mark.parametrize("kind", ["json", "proto"])
@pytest.mark.parametrize("language", ["node", "go"])
def test_a_client_of_connect_calls_streams_and_understands_refusals(
    request: pytest.FixtureRequest, language: str, kind: str, descriptors: Path
) -> None:
    command = request.getfixturevalue(language)
    with short_directory() as directory, rampd_server(directory, "--http", "127.0.0.1:0", "--insecure-admin") as server:
        server.event("serving")
        found = found_by(command, server, descriptors, kind)
    assert found["released"] == f"{language} is new: everybody gets t1."
    assert (found["tag"], found["first"], found["changes"]) == ("t1", [language], [language])
    assert set(found["states"]) == {"t2"}
    refusals = {name: (words(found[name]["code"]), found[name].get("reason")) for name in ("missing", "wrong", "late")}
    assert refusals == {
        "missing": ("not_found", "COMPONENT_NOT_FOUND"),
        "wrong": ("invalid_argument", "INVALID_FIELD"),
        "late": ("deadline_exceeded", None),
    }
    assert "There is no component none." in found["missing"]["message"]
    assert words(found["refusedStream"]["code"]) == "not_found"
    assert found["refusedStream"]["reason"] == "COMPONENT_NOT_FOUND"
