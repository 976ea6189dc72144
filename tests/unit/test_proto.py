"""`make lint` refuses a change of proto/ that would break programs of users, and a change that others could not read."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).parents[2]
BASELINE = "proto/baseline.binpb"


def buf_commands() -> list[list[str]]:
    """Returns the checks of `make lint` that concern proto/, as the Makefile has them."""
    # Without the flags of an outer make.
    environment = {"PATH": os.environ["PATH"]}
    planned = subprocess.run(
        ["make", "--dry-run", "lint"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return [line.split()[1:] for line in planned.stdout.splitlines() if re.match(r"\S+/buf ", line)]


def lint(folder: Path) -> str:
    """Runs these checks in a folder. Returns what they complain about."""
    complaints = ""
    for command in buf_commands():
        done = subprocess.run(
            [Path(sys.executable).parent / "buf", *command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (done.stdout == ""), done
        complaints += done.stdout
    return complaints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def change(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "proto" / "rampd" / "v1" / file
    text = path.read_text()
    assert text.count(old) == 1, f"{old} is there {text.count(old)} times"
    path.write_text(text.replace(old, new))


def test_lint_runs_both_checks_and_finds_nothing(folder: Path) -> None:
    assert [command[0] for command in buf_commands()] == ["lint", "breaking"]
    assert lint(folder) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("resolver_service.proto", "  int64 min_revision = 4;\n", "", 'field "4" with name "min_revision"'),
        (
            "resolver_service.proto",
            "int64 min_revision = 4;",
            "int64 at_revision = 4;",
            '"min_revision" to "at_revision"',
        ),
        (
            "resolver_service.proto",
            "int64 min_revision = 4;",
            "int64 min_revision = 5;",
            '"4" with name "min_revision"',
        ),
        ("resolver_service.proto", "optional int32 bucket = 6;", "optional int64 bucket = 6;", '"int32" to "int64"'),
        ("resolver_service.proto", "  RESOLVE_REASON_STALE = 5;\n", "", 'value "5" on enum "ResolveReason"'),
        ("rollout_service.proto", "rpc Abandon(", "rpc Drop(", '"Abandon"'),
    ],
    ids=["field deleted", "field renamed", "field renumbered", "type changed", "value deleted", "RPC renamed"],
)
def test_a_change_that_breaks_programs_of_users_is_refused(
    folder: Path, file: str, old: str, new: str, complaint: str
) -> None:
    change(folder, file, old, new)
    found = lint(folder)
    assert f"rampd/v1/{file}" in found
    assert complaint in found


@pytest.mark.parametrize(
    ("added", "complaint"),
    [
        ("int64 more = 1000;", "comment"),
        ("// More.\n  int64 moreOfIt = 1000;", "lower_snake_case"),
    ],
    ids=["no comment", "another style"],
)
def test_a_field_that_others_could_not_read_is_refused(folder: Path, added: str, complaint: str) -> None:
    old = "  int64 min_revision = 4;\n"
    change(folder, "resolver_service.proto", old, f"{old}  {added}\n")
    assert complaint in lint(folder)


def test_a_new_field_is_no_change_that_breaks(folder: Path) -> None:
    old = "  int64 min_revision = 4;\n"
    change(folder, "resolver_service.proto", old, f"{old}  // More.\n  int64 more = 1000;\n")
    assert lint(folder) == ""


def test_the_baseline_has_every_file_of_the_api() -> None:
    image = FileDescriptorSet.FromString((ROOT / BASELINE).read_bytes())
    there = {str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto")}
    # A file that was added after the last release is not in the baseline yet.
    known = {file.name for file in image.file if not file.name.startswith("google/protobuf/")}
    assert known <= there
    assert {
        "rampd/v1/resolver_service.proto",
        "rampd/v1/release_service.proto",
        "rampd/v1/rollout_service.proto",
    } <= known
