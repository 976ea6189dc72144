"""The checks of `make run` before it installs anything."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import require

ROOT = Path(__file__).parents[2]


def make(directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAMPD_", "MAKE", "ARGS"))}
    command = [require("make"), f"PYTHON={sys.executable}", *words]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_a_taken_port_is_reported_before_anything_is_installed(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = make(directory, "run", f"PORT={port}")
    assert done.returncode == 2
    assert done.stdout == (
        f"Port {port} is taken, perhaps by another rampd-server. To use a free port: make run ARGS='--listen 127.0.0.1:0'. "
        "If the other server uses this folder too, add --data-dir .rampd2 to ARGS.\n"
    )
    assert not (directory / ".venv").exists()


@pytest.mark.parametrize(
    "words", [("ARGS=--listen 127.0.0.1:0",), ("ARGS=--listen=[::1]:1",), ("RAMPD_LISTEN=127.0.0.1:0",)]
)
def test_with_another_address_the_default_port_is_not_checked(directory: Path, words: tuple[str, ...]) -> None:
    assert "is taken" in make(directory, "-n", "run").stdout
    done = make(directory, "-n", "run", *words)
    assert done.returncode == 0
    assert "is taken" not in done.stdout
    assert "rampd-server" in done.stdout


def test_with_a_free_port_make_goes_on(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert make(directory, "free", f"PORT={port}").returncode == 0
