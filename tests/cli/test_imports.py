"""A command imports what it uses, and nothing else: imports are most of the time that a person waits."""

import json
import subprocess
import sys

import pytest

from rampd import Admin
from rampd.testing import RampdServer

SLOW = {"grpc", "google.protobuf", "rich", "yaml", "tomlkit"}
_PROGRAM = """
import contextlib, io, json, sys
from rampd_cli.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    code = main(sys.argv[1:])
print(json.dumps([int(code), out.getvalue(), list(sys.modules)]))
"""


def imported(*words: str) -> tuple[str, set[str]]:
    """Runs a command in a fresh interpreter. Returns its output, and which of the slow packages it has imported."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *words], capture_output=True, text=True, check=True)
    code, out, modules = json.loads(done.stdout)
    assert code == 0, done.stderr
    return out, SLOW & set(modules)


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("status", "--help"),
        ("ramp", "--help"),
        ("override", "--help"),
        ("completion", "bash"),
        ("config", "path"),
    ],
)
def test_what_asks_no_server_imports_nothing_slow(settings: None, words: tuple[str, ...]) -> None:
    out, slow = imported(*words)

    assert out
    assert slow == set()


def test_a_command_in_a_pipe_imports_neither_rich_nor_yaml(settings: None, shared_server: RampdServer) -> None:
    with Admin(shared_server.target) as admin:
        admin.release("few-imports", "1.0")
    for words in (("status", "few-imports"), ("status",), ("release", "few-imports", "1.0")):
        out, slow = imported("--server", shared_server.target, "-o", "plain", *words)

        assert "few-imports" in out
        assert slow == {"grpc", "google.protobuf"}
