"""Tab in a real bash, zsh and fish: what a person has typed is completed with names of the server, and no name becomes code."""

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from rampd import Admin, v1
from rampd.testing import RampdServer
from rampd_cli import completing
from rampd_cli.arguments import Duration, End, Past, Percent, Time
from rampd_cli.command import Command
from rampd_cli.shells import SCRIPTS, Line
from tests.cli.conftest import Run
from tests.cli.terminal import program_on_terminal
from tests.cli_document import commands
from tests.servers import require

HOSTILE = (
    "evil/$(touch${IFS}harm)",
    "evil/`touch${IFS}harm`",
    "evil/;touch${IFS}harm;",
    "evil/*",
    "evil/a'b",
    'evil/a"b',
    "evil/a\\b",
    "evil/~",
    "evil/!!",
    "evil/{a,b}",
    "evil/a,b",
    "evil/%s",
    "evil/[a-z]?",
    "evil/-rf",
    "evil/a:b",
    "evil/#&<>|()",
)
"""Repos that the server takes. Each begins with a number in the tests, so that one is typed unambiguously."""
STARTS = {"bash": "--norc --noprofile -i", "zsh": "-f -i", "fish": "--no-config -i"}
PROMPT = "@ready@"
PROMPTS = {
    "bash": "PS1='@rea''dy@ '",
    "zsh": "autoload -Uz compinit; compinit -u -D; PS1='@rea''dy@ '",
    # fish shows its prompt again and again.
    "fish": "function ready --on-event fish_prompt; echo '@rea''dy@'; end",
}


PATIENT = """
import sys
from rampd_cli import completing
from rampd_cli.__main__ import main
completing.WITHIN_S = 60.0
sys.exit(main([]))
"""
"""`rampd`, with more time for the server than a person has: the machine may be busy with other tests."""


class Shell:
    """A shell at a terminal. The command `rampd` completes, and otherwise writes down its arguments."""

    def __init__(self, name: str, home: Path, target: str) -> None:
        self.home = home
        programs = home / "bin"
        programs.mkdir()
        self._seen, self._asked = home / "seen", home / "asked"
        rampd = programs / "rampd"
        rampd.write_text(
            f'#!/bin/sh\nif [ -n "$_RAMPD_COMPLETE" ]; then {sys.executable} {home}/patient.py; echo >>{self._asked}; exit; fi\n'
            f"printf '%s\\n' \"$@\" >{self._seen}.new; mv {self._seen}.new {self._seen}\n"
        )
        (home / "patient.py").write_text(PATIENT)
        rampd.chmod(0o755)
        (home / "script").write_text(SCRIPTS[name])
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(home),
            "TERM": "dumb" if name == "fish" else "xterm",
            "RAMPD_SERVER": target,
            "PYTHONPATH": ":".join(sys.path),
            "LC_ALL": "C.UTF-8",
        }
        command = [require(name), *STARTS[name].split()]
        self._stack = contextlib.ExitStack()
        self._terminal = self._stack.enter_context(program_on_terminal(*command, environment=environment, folder=home))
        # The quotes keep the terminal from showing the prompt while it is typed.
        self._terminal.types(f"{PROMPTS[name]}; . {home}/script\r")
        self._at = self._terminal.shows(PROMPT)

    def completes(self, line: str) -> list[str]:
        """Types a line, Tab and Enter. Returns the arguments that the program gets."""
        asked = self._count()
        self._terminal.types(f"{line}\t")
        self._until(lambda: self._count() > asked)
        self._terminal.types("\r")
        self._until(self._seen.exists)
        words = self._seen.read_text().splitlines()
        self._seen.unlink()
        # What is typed before the prompt may be lost.
        self._at = self._terminal.shows(PROMPT, after=self._at)
        return words

    def _count(self) -> int:
        return len(self._asked.read_text()) if self._asked.exists() else 0

    def _until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 100
        while not is_so():
            # A terminal that nobody reads is full at some time.
            assert self._terminal.reads(), self._terminal.text
            assert time.monotonic() < end, self._terminal.text

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def filled(shared_server: RampdServer) -> RampdServer:
    """A server with a component whose names are as hostile as the server allows."""
    with Admin(shared_server.target) as admin:
        admin.release("tab-target", "1.0")
        admin.release("tab-target", "2020:04@09=1(x)")
        admin.release("tab-other", "1.0")
        admin.set_override("tab-target", "acme/*", tag="t1")
        for number, repo in enumerate(HOSTILE):
            admin.set_override("tab-target", f"{number}:{repo}", tag="t1")
    return shared_server


@pytest.fixture(params=sorted(SCRIPTS))
def shell(request: pytest.FixtureRequest, filled: RampdServer, tmp_path: Path) -> Iterator[Shell]:
    found = Shell(request.param, tmp_path, filled.target)
    yield found
    found.close()


def test_tab_completes_commands_components_tags_and_repos(shell: Shell) -> None:
    assert shell.completes("rampd roll") == ["rollback"]
    assert shell.completes("rampd rollback tab-t") == ["rollback", "tab-target"]
    assert shell.completes("rampd quarantine add tab-target 2020") == [
        "quarantine", "add", "tab-target", "2020:04@09=1(x)",
    ]  # fmt: skip
    assert shell.completes("rampd override remove tab-target ac") == ["override", "remove", "tab-target", "acme/*"]


def test_tab_completes_what_comes_after_an_equals_sign(shell: Shell) -> None:
    assert shell.completes("rampd ramp tab-target 10 --tag=20") == ["ramp", "tab-target", "10", "--tag=2020:04@09=1(x)"]
    assert shell.completes("rampd wait tab-target --until=per")[-1] == "--until=percent=50"
    assert shell.completes("rampd wait tab-target --until per")[-1] == "percent=50"
    assert shell.completes("rampd -o js") == ["-o", "json"]


def test_a_word_with_a_colon_is_completed_to_its_end(shell: Shell) -> None:
    assert shell.completes("rampd quarantine add tab-target 2020:04@")[-1] == "2020:04@09=1(x)"


def test_no_name_becomes_code(shell: Shell) -> None:
    for number, repo in enumerate(HOSTILE):
        typed = f"rampd override remove tab-target {number}:"
        assert shell.completes(typed) == ["override", "remove", "tab-target", f"{number}:{repo}"], repo
    assert not (shell.home / "harm").exists()


def test_a_name_in_quotes_that_are_open_is_completed(shell: Shell) -> None:
    for quote in "'\"":
        typed = f"rampd override remove tab-target {quote}0:"
        assert shell.completes(typed) == ["override", "remove", "tab-target", f"0:{HOSTILE[0]}"]
    assert not (shell.home / "harm").exists()


def test_the_server_of_the_line_is_asked(shell: Shell, filled: RampdServer) -> None:
    """Given an environment with a server that is not there, expect the names of the one that is typed."""
    before = shell.completes("rampd --server 127.0.0.1:1 rollback tab-t")
    assert before == ["--server", "127.0.0.1:1", "rollback", "tab-t"]
    assert shell.completes(f"rampd --server {filled.target} rollback tab-t")[-1] == "tab-target"
    assert shell.completes(f"rampd rollback --server={filled.target} tab-t")[-1] == "tab-target"


def test_files_are_completed(shell: Shell) -> None:
    (shell.home / "policy.yaml").touch()
    assert shell.completes("rampd policy apply pol") == ["policy", "apply", "policy.yaml"]
    assert shell.completes("rampd plan tab-target --policy pol")[-1] == "policy.yaml"
    assert shell.completes("rampd plan tab-target --policy=pol")[-1] == "--policy=policy.yaml"
    assert shell.completes("rampd config set token_file pol")[-1] == "policy.yaml"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_completion_prints_the_script_of_a_shell(run: Run, name: str) -> None:
    ran = run("completion", name)

    assert (ran.code, ran.out, ran.err) == (0, SCRIPTS[name], "")


Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(settings: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """Asks for the candidates of a line, as the script of fish does."""
    from rampd_cli import app

    monkeypatch.setattr(completing, "WITHIN_S", 60.0)

    def ask(line: str) -> list[str]:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setenv("_RAMPD_COMPLETE", "fish_complete")
            patch.setenv("COMP_LINE", line)
            with pytest.raises(SystemExit) as ended:
                app.run(())
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        return [each.split("\t")[1] for each in out.splitlines() if each]

    return ask


def test_tags_are_those_of_the_component_on_the_line_and_in_use_first(
    complete: Complete, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Admin(shared_server.target) as admin:
        admin.release("tags-of-one", "a1")
        admin.release("tags-of-one", "a2")
        admin.release("tags-of-one", "a3")
        admin.quarantine("tags-of-one", "a0")
        admin.release("tags-of-other", "b1")
    monkeypatch.setenv("RAMPD_SERVER", shared_server.target)

    assert complete("rampd wait tags-of-one ") == ["a2", "a1", "a3"]
    assert complete("rampd wait tags-of-other ") == ["b1"]
    assert complete("rampd queue cancel tags-of-one ") == ["a3"]
    assert complete("rampd quarantine remove tags-of-one ") == ["a0"]
    assert complete("rampd wait tags-of-nobody ") == []


def test_a_name_that_is_not_one_word_is_not_offered(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a server that does not keep to the grammar, expect only the names that do."""
    wrong = ["a b", "a\nfile\t/etc", "a\x1b[2J", "a\u202eb", ""]
    monkeypatch.setitem(completing.KINDS, "component", lambda question: iter([*wrong, "a-b"]))

    assert complete("rampd rollback ") == ["a-b"]


def test_there_are_at_most_200_candidates(
    complete: Complete, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Admin(shared_server.target) as admin:
        admin.release("many-repos", "a1")
        changes = [v1.OverrideChange(repo=f"acme/{number}", tag="t1") for number in range(300)]
        admin.batch_set_overrides("many-repos", changes)
    monkeypatch.setenv("RAMPD_SERVER", shared_server.target)

    assert len(complete("rampd override remove many-repos ac")) == 200


@pytest.mark.parametrize("how", ["no server", "no answer", "no credential", "no profile", "not TOML"])
def test_without_an_answer_there_are_no_names_no_error_and_no_long_wait(
    complete: Complete, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    monkeypatch.setattr(completing, "WITHIN_S", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("RAMPD_SERVER", "127.0.0.1:1" if how == "no server" else address)
        if how == "no credential":
            monkeypatch.setenv("RAMPD_TOKEN_FILE", str(tmp_path / "missing"))
        if how == "not TOML":
            (tmp_path / "config" / "rampd").mkdir(parents=True)
            (tmp_path / "config" / "rampd" / "config.toml").write_text("[")
        began = time.monotonic()
        names = complete(f"rampd {'--profile nobody ' if how == 'no profile' else ''}rollback ")
        took = time.monotonic() - began

    assert names == []
    # As long as a call usually takes, it would be 60 s.
    assert took < 30


def test_profiles_are_completed(complete: Complete, run: Run) -> None:
    run("config", "set", "server", "127.0.0.1:1", "--profile", "production")

    assert complete("rampd --profile p") == ["production"]
    assert complete("rampd config use ") == ["production"]


def test_servers_of_profiles_are_completed(complete: Complete, run: Run) -> None:
    for name, server in (("a", "unix:/run/a.sock"), ("b", "https://b.example:443"), ("c", "https://b.example:443")):
        run("config", "set", "server", server, "--profile", name)

    assert complete("rampd --server ") == ["unix:/run/a.sock", "https://b.example:443"]
    assert complete("rampd status --server=h") == ["--server=https://b.example:443"]
    assert complete("rampd config set server u") == ["unix:/run/a.sock"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rampd -o ", ["table", "plain", "json", "yaml"]),
        ("rampd status --output=j", ["--output=json"]),
        ("rampd wait c --until ", ["current", "next", "held", "ended", "percent=50"]),
        ("rampd wait c --until=p", ["--until=percent=50"]),
        ("rampd override set c acme/app --channel ", ["current", "next"]),
        ("rampd override import c --format ", ["csv", "jsonl"]),
        ("rampd config set u", ["utc"]),
        ("rampd config unset tok", ["token_file"]),
        ("rampd config set utc ", ["true", "false"]),
        ("rampd config set output p", ["plain"]),
        ("rampd config set nonsense ", []),
        ("rampd completion ", ["bash", "zsh", "fish"]),
        ("rampd pause c --note ", []),
        ("rampd ramp c ", []),
    ],
)
def test_values_that_rampd_knows_are_offered(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_revert_is_offered_what_it_can_go_back_to(
    complete: Complete, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch, component: str
) -> None:
    with Admin(shared_server.target) as admin:
        for tag in ("1.0", "2.0", "3.0"):
            admin.release(component, tag, expedite=True)
        admin.release(component, "4.0")
    monkeypatch.setenv("RAMPD_SERVER", shared_server.target)

    assert complete(f"rampd revert {component} --to ") == ["2.0", "1.0"]


@pytest.mark.parametrize(
    "line", ["confirm {} --tag ", "ramp {} 10 --tag ", "finalize {} --tag ", "abandon {} --tag ", "rollback {} --tag "]
)
def test_a_guard_is_offered_the_only_tag_that_it_lets_through(
    complete: Complete, shared_server: RampdServer, monkeypatch: pytest.MonkeyPatch, component: str, line: str
) -> None:
    with Admin(shared_server.target) as admin:
        admin.release(component, "1.0")
        monkeypatch.setenv("RAMPD_SERVER", shared_server.target)
        assert complete(f"rampd {line.format(component)}") == []
        for tag in ("2.0", "3.0"):
            admin.release(component, tag)

    assert complete(f"rampd {line.format(component)}") == ["2.0"]


FREE = {"note", "request_id", "actor", "attribute", "job_id"}
"""Texts that only the person knows."""
NUMBERS = (Percent, Duration, Time, End, Past, click.types.IntParamType, click.types.FloatParamType)


@pytest.mark.parametrize(("path", "command"), commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_is_offered_and_every_value_that_can_be_known(
    complete: Complete, path: str, command: Command
) -> None:
    """Given each command, expect its options, and that each value is offered, a number or a time, or a text of the person's own."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert {*complete(f"{path} --")} == {name for each in options for name in each.opts if name.startswith("--")} | {
        "--help"
    } | {name for each in options for name in each.secondary_opts}

    for param in command.params:
        is_flag = isinstance(param, click.Option) and param.is_flag
        if not (is_flag or param.name in FREE or isinstance(param.type, NUMBERS)):
            offers = type(param.type).shell_complete
            assert offers is not click.ParamType.shell_complete, param.name


def test_what_an_option_is_for_stays_in_its_line() -> None:
    """Given what a shell reads line by line, expect no line end and no tab in any of it."""
    for _, command in commands():
        for param in command.params:
            about = getattr(param, "help", None) or ""
            assert about.isprintable(), param.name


def test_commands_come_with_a_line_and_no_command_is_imported(
    complete: Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rampd_cli.command.import_module", pytest.fail)

    assert complete("rampd re") == ["release", "resume", "revert"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", Line()),
        ("rampd", Line([], "rampd")),
        ("rampd  a ", Line(["rampd", "a"])),
        ("rampd 'a b", Line(["rampd"], "a b", "'")),
        ('rampd "a\\" b', Line(["rampd"], 'a" b', '"')),
        ("rampd 'a b' c", Line(["rampd", "a b"], "c")),
        ("rampd a\\ b", Line(["rampd"], "a b")),
        ("rampd '' ", Line(["rampd", ""])),
        ("rampd 'a\\", Line(["rampd"], "a\\", "'")),
        ("rampd a\\", Line(["rampd"], "a")),
        ("rampd x:a", Line(["rampd"], "x:a", start=2)),
        ("rampd x@a", Line(["rampd"], "x@a", start=1)),
        ("rampd x\\:a", Line(["rampd"], "x:a")),
        ("rampd 'x:a", Line(["rampd"], "x:a", "'")),
        ("rampd x'y", Line(["rampd"], "xy", "'", start=1)),
    ],
)
def test_a_line_is_read_as_a_shell_reads_it(text: str, line: Line) -> None:
    assert Line.read(text, ":=@") == line
