"""Runs the commands of the README and of docs/admin.md, unchanged and in order. They must print what the documents show."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import rampd_server, require, short_directory

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
STORY = README + (ROOT / "docs" / "admin.md").read_text()

# A command ends with the line that closes its quotes or its here-document. Its output ends at the next command.
TYPED = r"\$ (grpcurl [^\n']*(?:'[^']*'[^\n']*)*|[^\n]*<<'EOF'\n.*?\nEOF)\n"
COMMAND = re.compile(rf"{TYPED}(.*?)(?=^\$ |\Z)", re.DOTALL | re.MULTILINE)


def commands() -> Iterator[tuple[str, list[str]]]:
    for block in re.findall(r"```console\n(.*?)```", STORY, re.DOTALL):
        for command in COMMAND.finditer(block):
            yield command[1], command[2].splitlines()


@pytest.fixture
def target() -> Iterator[str]:
    with short_directory() as directory, rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        yield server.target


def test_the_story_prints_what_the_documents_show(target: str) -> None:
    require("grpcurl")
    assert len([*commands()]) == STORY.count("\n$ ") >= 18
    for typed, shown in commands():
        command, _, script = typed.replace("127.0.0.1:50051", target).partition(" <<'EOF'\n")
        words = shlex.split(command)
        assert words[0] in {"grpcurl", ".venv/bin/python"}
        if words[0] != "grpcurl":
            words[0] = sys.executable
        script = script.removesuffix("EOF")
        done = subprocess.run(words, input=script, check=False, capture_output=True, text=True, timeout=60)
        printed = (done.stdout + done.stderr).rstrip().splitlines()
        assert shows(shown, printed), f"{command}\n" + "\n".join(printed)


def shows(shown: list[str], printed: list[str]) -> bool:
    """Whether the lines are the same. `...` stands for one or more lines that the document leaves out."""
    shown, printed = ([_without_counts(line) for line in lines] for lines in (shown, printed))
    pattern = "".join("(?:[^\n]*\n)+?" if line.strip() == "..." else re.escape(line) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _without_counts(line: str) -> str:
    """Removes the numbers from a guard's sentence: how many outcomes it has counted depends on the machine."""
    before, guard, sentence = line.partition(" fails more often than ")
    return before + guard + (re.sub(r"[0-9][0-9,.]*", "N", sentence) if guard else sentence)


def test_an_output_that_differs_is_noticed() -> None:
    assert shows(["{", "  ...", '  "a": 1', "}"], ["{", '  "b": 2', '  "c": 3', '  "a": 1', "}"])
    assert not shows(["{", "  ...", '  "a": 1', "}"], ["{", '  "b": 2', '  "a": 2', "}"])
    assert not shows(["{", "  ...", "}"], ["{", "}"])


def test_the_client_example_of_the_first_minute_prints_what_the_readme_says(target: str) -> None:
    script = re.search(r"<<'EOF'\n(.*?)EOF", README, re.DOTALL)
    assert script is not None
    done = subprocess.run(
        [sys.executable, "-c", script[1].replace("127.0.0.1:50051", target)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("1.0\n", "")
    assert "It prints `1.0`." in README
