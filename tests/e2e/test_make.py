"""The checks of `make run` before it installs anything, and what it says while it installs."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
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


@pytest.mark.parametrize(("variable", "flag"), [("PORT", "--listen"), ("HTTP_PORT", "--http")])
def test_a_taken_port_is_reported_before_anything_is_installed(directory: Path, variable: str, flag: str) -> None:
    free = f"PORT={free_port()}", f"HTTP_PORT={free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = make(directory, "run", *free, f"{variable}={port}")
    assert done.returncode == 2
    assert done.stdout == (
        f"Port {port} is taken, perhaps by another rampd-server. To use free ports: make run ARGS='{flag} 127.0.0.1:0'. "
        "If the other server uses this folder too, add --data-dir .rampd2 to ARGS.\n"
    )
    assert not (directory / ".venv").exists()


def test_all_taken_ports_are_reported_at_once_with_what_was_typed(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
        words = ("run", f"PORT={ports[0]}", f"HTTP_PORT={ports[1]}")
        both = make(directory, *words, "ARGS=--data-dir .rampd2")
        second = make(directory, *words, "ARGS=--listen 127.0.0.1:0")
    assert both.stdout == (
        f"Port {ports[0]} and port {ports[1]} are taken, perhaps by another rampd-server. To use free ports: "
        "make run ARGS='--data-dir .rampd2 --listen 127.0.0.1:0 --http 127.0.0.1:0'.\n"
    )
    assert f"Port {ports[1]} is taken" in second.stdout
    assert "make run ARGS='--listen 127.0.0.1:0 --http 127.0.0.1:0'. If the other server" in second.stdout


BOTH = ["--listen,50051", "--http,8080"]


@pytest.mark.parametrize(
    ("words", "checked"),
    [
        ((), BOTH),
        (("ARGS=--listen 127.0.0.1:0",), BOTH[1:]),
        (("ARGS=--listen=[::1]:1",), BOTH[1:]),
        (("RAMPD_LISTEN=127.0.0.1:0",), BOTH[1:]),
        (("ARGS=--http 127.0.0.1:0",), BOTH[:1]),
        (("RAMPD_HTTP=127.0.0.1:0",), BOTH[:1]),
        (("ARGS=--listen 127.0.0.1:0 --http 127.0.0.1:0",), []),
    ],
)
def test_only_the_default_ports_that_are_used_are_checked(
    directory: Path, words: tuple[str, ...], checked: list[str]
) -> None:
    done = make(directory, "-n", "run", *words)
    assert done.returncode == 0
    assert [each for each in BOTH if each in done.stdout] == checked
    assert ("perhaps by another" in done.stdout) == bool(checked)
    [command] = [line for line in done.stdout.splitlines() if "rampd-server --insecure-admin" in line]
    assert ("--http 127.0.0.1:8080" in command) == (BOTH[1] in checked)


def test_with_free_ports_make_goes_on(directory: Path) -> None:
    assert make(directory, "free", f"PORT={free_port()}", f"HTTP_PORT={free_port()}").returncode == 0


def test_make_says_what_it_does_while_pip_says_nothing(directory: Path) -> None:
    programs = directory / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("pip", "rampd-server"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    words = ("run", f"PORT={free_port()}", f"HTTP_PORT={free_port()}")

    first, second = make(directory, *words), make(directory, *words)

    assert first.stdout.splitlines()[0] == ("Installing rampd in .venv. This takes a minute or more.")
    assert (second.stdout, second.returncode) == ("", 0)
