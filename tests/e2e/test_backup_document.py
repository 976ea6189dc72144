"""Types the commands of docs/backup.md, in their order, with other stores, and compares its format with a real export."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import redis

from tests.e2e.test_operations_document import typed
from tests.e2e.test_readme import shows
from tests.servers import Stubs, rampd_server, require, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

DOCUMENT = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
BOXES = re.findall(r"^```console\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
[TABLE] = re.findall(r"^```csv\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
[FORMAT] = re.findall(r"^```json\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
VARIABLE = [(r"\d{13}-\d+", "ENTRY"), (r"\b[0-9a-f]{16}\b", "EPOCH")]


def without_variable(line: str) -> str:
    for pattern, name in VARIABLE:
        line = re.sub(pattern, name, line)
    return line


class Terminal:
    """A person's terminal, where the names of the document are two stores of the test."""

    def __init__(self, directory: Path, one: StoreServer, other: StoreServer) -> None:
        self.directory = directory
        self._names = {"redis://redis-1.example.com:6379": one.url, "redis://redis-2.example.com:6379": other.url}
        programs = directory / "bin"
        programs.mkdir()
        for name, runs in (
            ("rampd-server", f'{sys.executable} -m rampd_server "$@"'),
            # redis-cli has no URL of a socket.
            (
                "redis-cli",
                f'[ "$1" = -u ] && shift 2; {require("redis-cli")} -s {one.url.removeprefix("unix://")} "$@"',
            ),
        ):
            (programs / name).write_text(f"#!/bin/sh\n{runs}\n")
            (programs / name).chmod(0o755)
        self._path = f"{programs}:{os.environ['PATH']}"
        self._variables = ""

    def here(self, text: str) -> str:
        for shown, actual in self._names.items():
            text = text.replace(shown, actual)
        return text

    def types(self, box: str) -> None:
        for command, shown in typed(box):
            if command.startswith("export "):
                self._variables += f"{self.here(command)}\n"
                continue
            done = subprocess.run(
                ["bash", "-c", self._variables + self.here(command)],
                cwd=self.directory, env={**os.environ, "PATH": self._path},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            lines = [without_variable(line) for line in done.stdout.splitlines()]
            assert shows([without_variable(line) for line in self.here(shown).splitlines()], lines), done.stdout


def fill(call: Stubs) -> None:
    call("Release", component="restyler", tag="20200301")
    call("Release", component="restyler", tag="20200409")
    call("Ramp", component="restyler", percent=10)
    call("SetOverride", component="restyler", repo="acme/app", tag="20200301")
    call("Release", component="hlint", tag="7")
    call("Freeze", all=True, note="holidays")


def test_the_commands_print_what_the_document_shows(directory: Path) -> None:
    back_up, restore, discard, merge, move, begin = BOXES
    with store_server(REDIS) as one, store_server(REDIS) as other:
        terminal = Terminal(directory, one, other)
        (directory / "table.csv").write_text(TABLE)
        with rampd_server(directory / "s", "--redis-url", one.url) as server, stubs(f"unix:{server.socket}") as call:
            server.event("serving")
            fill(call)
            terminal.types(back_up)
            terminal.types(restore)
            eventually(lambda: not call("Resolve", component="hlint", repo="acme/app").stale)
            terminal.types(discard)
            # The server refuses changes until it follows the new epoch.
            eventually(lambda: call("Ramp", component="restyler", percent=5), suppressed=grpc.RpcError)
            call("DeleteOverride", component="restyler", repo="acme/app")
            terminal.types(merge)
            eventually(lambda: call("GetRollout", component="restyler").rollout.next_percent == 10)
        terminal.types(move)
        terminal.types(begin)
        with redis.Redis.from_url(other.url, decode_responses=True) as client:
            assert client.hget("rampd:{default}:rollout:restyler", "next_tag") == "20200409"
        with redis.Redis.from_url(one.url, decode_responses=True) as client:
            found = client.hgetall("rampd:{blue}:rollout:restyler")
            assert (found["current_tag"], found["next_tag"], found["next_percent"]) == ("20200301", "20200409", "10")
        check_format((directory / "backup.jsonl").read_text())


def check_format(exported: str) -> None:
    """Each kind of line has the same fields, of the same types."""

    def kinds(text: str) -> dict[str, dict[str, type]]:
        values: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        return {next(iter(value)): {name: type(part) for name, part in value.items()} for value in values}

    shown, written = kinds(FORMAT), kinds(exported)
    shown["rampd_export"]["freeze"] = str  # the test has frozen everything
    assert shown == written
    first, last = (json.loads(exported.splitlines()[place]) for place in (0, -1))
    assert (first["rampd_export"], first["schema"]) == tuple(
        json.loads(FORMAT.splitlines()[0])[name] for name in ("rampd_export", "schema")
    )
    assert last["lines"] == len(exported.splitlines()) - 1
