"""The generated code is up to date with proto/, and pyproject.toml requires runtimes that can run it."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from rampd_server.rpc.binding import SERVICES
from rampd_server.rpc.reflection import written_files

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "client" / "rampd" / "v1"


def test_the_generated_code_is_what_the_generator_makes_of_the_proto_files(tmp_path):
    # Without the flags of an outer make.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    done = subprocess.run(
        ["make", "gen", f"GENERATED={tmp_path}"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and not (ROOT / ".venv-gen" / ".made").exists() and "CI" not in os.environ:
        reasons = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        pytest.skip(f"the generator can't be installed here: {reasons[-1] if reasons else done.returncode}")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "rampd" / "v1") == contents(COMMITTED), "run make gen, and commit what it changes"


def contents(directory: Path) -> dict[str, bytes]:
    generated = [*directory.glob("*_pb2*.py*"), *directory.glob("*.binpb")]
    return {path.name: path.read_bytes() for path in generated}


def test_the_descriptors_that_are_served_are_those_of_the_generated_code():
    """Given the descriptors without comments and JSON names, expect the descriptors of the generated classes."""
    written = written_files()
    assert sorted(written) == sorted(
        f"rampd/v1/{path.name}" for path in (ROOT / "proto" / "rampd" / "v1").glob("*.proto")
    )
    for name, file in written.items():
        bare, loaded = FileDescriptorProto.FromString(file.SerializeToString()), FileDescriptorProto()
        descriptor_pool.Default().FindFileByName(name).CopyToProto(loaded)
        bare.ClearField("source_code_info")
        for message in (*bare.message_type, *(each for outer in bare.message_type for each in outer.nested_type)):
            for field in message.field:
                field.ClearField("json_name")
        assert bare == loaded, name


def test_the_message_for_people_is_the_first_field_of_every_answer():
    """Tools print the fields of a message in the order of their numbers, and a rollout is long."""
    answers = [
        method.output_type
        for service in SERVICES.values()
        for method in service.methods
        if "message" in method.output_type.fields_by_name
    ]
    assert len(answers) >= 20
    for answer in answers:
        assert min(answer.fields, key=lambda field: field.number).name == "message", answer.name
        assert max(answer.fields, key=lambda field: field.number).name == "rollout", answer.name


def test_the_lowest_runtime_versions_are_those_of_the_generator():
    [generator] = re.findall(r"grpcio-tools==([0-9.]+)", (ROOT / "Makefile").read_text())
    stubs = "".join(path.read_text() for path in COMMITTED.glob("*_pb2_grpc.py"))
    messages = "".join(path.read_text() for path in COMMITTED.glob("*_pb2.py"))
    assert set(re.findall(r"GRPC_GENERATED_VERSION = '([0-9.]+)'", stubs)) == {generator}
    [protobuf] = set(re.findall(r"# Protobuf Python Version: ([0-9.]+)", messages))

    floors = dict(re.findall(r"^([a-z-]+)\S*>=([0-9.]+)", "\n".join(requirements()), re.MULTILINE))
    for name in ("grpcio", "grpcio-status", "grpcio-health-checking", "grpcio-reflection"):
        assert floors[name] == generator, name
    assert floors["protobuf"] == protobuf.removesuffix(".0")


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["server"]]
