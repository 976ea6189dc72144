"""docs/cli.md and the man page say what the code of `rampd` does, and their examples are commands."""

import inspect
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from rampd_cli import profiles
from rampd_cli.app import root
from rampd_cli.failures import Exit
from tests.cli_document import (
    DOCS,
    ENVIRONMENT,
    FILES,
    FOR_CHANGES,
    Typed,
    commands,
    document,
    lacking,
    markdown,
    of_command,
    roff,
    said_about,
)
from tests.servers import require

ROOT = DOCS.parent
NOT_FOR_PEOPLE = {"GRPC_VERBOSITY", "COMP_LINE", "COMP_WORDBREAKS", "_RAMPD_COMPLETE"}
"""What the command sets for gRPC, and what the scripts of shells set."""
ONLY_READS = {
    *("status", "history", "explain", "plan", "wait", "doctor", "completion"),
    *("override list", "override export", "quarantine list", "queue list"),
    *("policy show", "policy diff", "policy schema"),
    *("config list", "config get", "config path"),
}
OF_THIS_MACHINE = {"config set", "config unset", "config use"}
"""They change a file of the person, and nothing in the store."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == FILES[path](document()), "type: make docs"


def examples() -> list[str]:
    boxes = [block.lines for block in document() if isinstance(block, Typed) and not block.language]
    lines = [line for box in boxes for line in box.splitlines()]
    return [line for line in lines if line.startswith("rampd ") and "[OPTIONS]" not in line]


def test_each_command_has_an_example_of_itself() -> None:
    without = [path for path, _ in commands() if not any(f"{line} ".startswith(f"{path} ") for line in examples())]
    # Its output goes into another command.
    assert without == ["rampd config path"]


@pytest.mark.parametrize("line", examples())
def test_an_example_is_a_command_line_that_rampd_understands(line: str) -> None:
    words = shlex.split(re.split(r" [|>] ", line)[0])[1:]
    ctx: click.Context = root.make_context("rampd", words)
    while isinstance(ctx.command, click.Group):
        name, command, rest = ctx.command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert command is not None
        ctx = command.make_context(name, rest, parent=ctx)


def test_every_command_that_changes_something_has_the_options_of_every_change() -> None:
    found = {path.removeprefix("rampd "): lacking(command) for path, command in commands()}
    assert found.keys() >= ONLY_READS | OF_THIS_MACHINE
    for path in ONLY_READS | OF_THIS_MACHINE:
        assert found.pop(path) == {*FOR_CHANGES}, path
    # A request id is that of one request.
    assert {path: missing for path, missing in found.items() if missing} == {
        "override import": {"request_id"},
        "policy apply": {"request_id"},
    }


def test_every_command_that_asks_says_so() -> None:
    """Given the code of each command, expect that it asks a person if and only if the document says so."""
    for path, command in commands():
        assert command.callback is not None
        code = inspect.getsource(inspect.getmodule(command.callback))
        assert bool(command.asks) is bool(re.search(r"\.confirm\(|\basks=asks\b", code)), path
        assert not command.asks or command.asks.startswith(f"`{path}"), path


def test_every_variable_that_the_code_reads_is_described() -> None:
    read = set()
    for folder in ("rampd_cli", "rampd/_calls"):
        for path in (ROOT / "client" / folder).rglob("*.py"):
            read |= set(re.findall(r"""environ(?:ment)?(?:\.\w+\(|\[)\s*"([A-Z_]+)["]""", path.read_text()))
    described = {name for names in ENVIRONMENT for name in names.split(", ")}
    assert read - NOT_FOR_PEOPLE <= described
    # Read by libraries.
    assert described - read == {"NO_COLOR", "COLUMNS", "TERM", "VISUAL", "EDITOR"}


def test_every_setting_and_every_exit_code_is_described() -> None:
    assert set(profiles.SETTINGS) <= set(said_about(profiles.Profile))
    assert set(Exit.__members__) == set(said_about(Exit))


def test_the_man_page_is_well_formed() -> None:
    if shutil.which("mandoc"):
        checked = subprocess.run(
            ["mandoc", "-Tlint", "-Wwarning", str(DOCS / "rampd.1")], capture_output=True, text=True, check=False
        )
        # It is as old as the release that it comes with.
        assert [line for line in checked.stdout.splitlines() if "missing date" not in line] == []
    require("mandb")  # other programs called `man` have no warnings
    shown = subprocess.run(
        ["man", "--warnings", "-l", str(DOCS / "rampd.1")],
        env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    text = re.sub(r".\x08", "", shown.stdout)
    assert "rampd ramp restyler 25 --confirm-within 15m\n" in text
    assert "~/.config/rampd/token" in text


def test_roff_does_not_take_a_text_for_a_request_or_an_escape() -> None:
    page = roff([Typed(".so /etc/passwd\n\\fB 'a' `b` ^~-")])
    assert ".nf\n\\&.so /etc/passwd\n\\efB \\(aqa\\(aq \\(gab\\(ga \\(ha\\(ti\\-\n.fi\n" in page


def test_a_line_is_not_broken_inside_of_code() -> None:
    ctx = click.Context(root, info_name="rampd")
    page = markdown(of_command("status", root, ctx))
    assert all(line.count("`") % 2 == 0 for line in page.splitlines() if not line.startswith("```"))


def test_the_wheel_has_the_man_page() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert settings["shared-data"] == {"docs/rampd.1": "share/man/man1/rampd.1"}
