"""Runs the commands of the README and of docs/admin.md, unchanged and in order. They must print what the documents show."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import program_on_terminal
from tests.servers import ServerProcess, rampd_server, require, short_directory

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
STORY = README + (ROOT / "docs" / "admin.md").read_text()

HTTP = ("--http", "127.0.0.1:0")

# A command ends with the line that closes its quotes or its here-document. Its output ends at the next command.
TYPED = r"\$ ([^\n]*<<'EOF'\n.*?\nEOF|(?:grp)?curl [^\n']*(?:'[^']*'[^\n']*)*|rampd [^\n]*)\n"
FIRST_MINUTE = re.findall(r"^rampd (?:release|explain) .*$", README.partition("## The story")[0], re.MULTILINE)
COMMAND = re.compile(rf"{TYPED}(.*?)(?=^\$ |\Z)", re.DOTALL | re.MULTILINE)


def commands() -> Iterator[tuple[str, list[str]]]:
    for block in re.findall(r"```console\n(.*?)```", STORY, re.DOTALL):
        for command in COMMAND.finditer(block):
            yield command[1], command[2].splitlines()


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with short_directory() as directory, rampd_server(directory, "--insecure-admin", *HTTP) as server:
        server.event("serving")
        yield server


def test_the_story_prints_what_the_documents_show(server: ServerProcess) -> None:
    require("grpcurl")
    require("curl")
    http = str(server.event("listening_http")["address"])
    assert len([*commands()]) == STORY.count("\n$ ") >= 18
    for typed in FIRST_MINUTE:
        on_a_terminal(typed, server)
    for typed, shown in commands():
        here = typed.replace("127.0.0.1:50051", server.target).replace("127.0.0.1:8080", http)
        command, _, script = here.partition(" <<'EOF'\n")
        words = shlex.split(command)
        assert words[0] in {"grpcurl", "curl", "python", "rampd"}
        if words[0] == "rampd":
            printed = on_a_terminal(here, server)
        else:
            words[0] = sys.executable if words[0] == "python" else words[0]
            script = script.removesuffix("EOF")
            done = subprocess.run(words, input=script, check=False, capture_output=True, text=True, timeout=60)
            printed = (done.stdout + done.stderr).rstrip().splitlines()
        assert shows(shown, printed), f"{command}\n" + "\n".join(printed)


def on_a_terminal(command: str, server: ServerProcess) -> list[str]:
    """What `rampd` shows a person whose terminal has 100 columns."""
    rampd = server.directory / "rampd"
    if not rampd.exists():
        rampd.write_text(f'#!/bin/sh\nexec {sys.executable} -m rampd_cli "$@"\n')
        rampd.chmod(0o755)
    left_out = ("RAMPD_", "COLUMNS", "LINES")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(left_out)},
        "PATH": f"{server.directory}:{os.environ['PATH']}",
        "RAMPD_SERVER": server.target,
        "NO_COLOR": "1",
        "TERM": "xterm",
    }
    with program_on_terminal(
        "bash", "-c", command, environment=environment, folder=server.directory, columns=100, rows=50
    ) as terminal:
        terminal.ends()
    return [line.rstrip() for line in terminal.text.replace("\r", "").rstrip().splitlines()]


def shows(shown: list[str], printed: list[str]) -> bool:
    """Whether the lines are the same. A line `...` stands for one or more lines that the document leaves out, and `...` in a line
    for the rest of what is between.
    """
    shown, printed = ([_without_counts(line) for line in lines] for lines in (shown, printed))
    pattern = "".join(
        "(?:[^\n]*\n)+?" if line.strip() == "..." else re.escape(line).replace(r"\.\.\.", "[^\n]+") + "\n"
        for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _without_counts(line: str) -> str:
    """Removes the numbers from a guard's sentence: how many outcomes it has counted depends on the machine."""
    before, guard, sentence = line.partition(" fails more often than ")
    return before + guard + (re.sub(r"[0-9][0-9,.]*", "N", sentence) if guard else sentence)


def test_an_output_that_differs_is_noticed() -> None:
    assert shows(["{", "  ...", '  "a": 1', "}"], ["{", '  "b": 2', '  "c": 3', '  "a": 1', "}"])
    assert not shows(["{", "  ...", '  "a": 1', "}"], ["{", '  "b": 2', '  "a": 2', "}"])
    assert not shows(["{", "  ...", "}"], ["{", "}"])
    assert shows(['{"a":1,...}'], ['{"a":1,"b":2}'])
    assert not shows(['{"a":1,...}'], ['{"a":2,"b":2}'])


def test_the_commands_of_the_first_minute_print_what_the_readme_says(server: ServerProcess) -> None:
    assert len(FIRST_MINUTE) == 2
    printed = [on_a_terminal(each, server) for each in FIRST_MINUTE]
    assert printed[-1][0].startswith("acme/app gets 1.0")
    assert "It prints that `acme/app gets 1.0`." in README
