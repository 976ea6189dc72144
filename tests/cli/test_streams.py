"""Streams that are full, closed, or of another encoding than UTF-8, and what no code expects: never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from rampd import v1
from rampd.testing import RampdServer
from tests.cli.conftest import AtTerminal, Run
from tests.rpc.scripted_server import ScriptedServer, scripted_server


def in_shell(
    *words: str, redirect: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirect}', "sh", sys.executable, "-m", "rampd_cli", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env={**os.environ, **(environment or {})},
    )


@pytest.mark.parametrize("words", [("--help",), ("config", "path"), ("config", "list", "-o", "table")], ids=" ".join)
def test_a_full_disk_is_said_and_has_its_own_code(settings: None, words: tuple[str, ...]) -> None:
    ran = in_shell(*words, redirect=">/dev/full")

    assert (ran.returncode, ran.stderr) == (74, "rampd: The answer can't be written: No space left on device.\n")


def test_a_full_disk_is_said_as_json_to_a_program(settings: None) -> None:
    ran = in_shell("config", "path", "-o", "json", redirect=">/dev/full")

    assert (ran.returncode, json.loads(ran.stderr)["reason"]) == (74, "NOT_WRITTEN")


def test_nothing_is_said_where_nothing_can_be_said(settings: None) -> None:
    ran = in_shell("config", "path", redirect=">/dev/full 2>&1")

    assert ran.returncode == 74


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("config", "get", "nothing"), 2),
        (("status", "--nonsense"), 2),
        (("override",), 2),
        (("--server", "127.0.0.1:1", "status"), 3),
    ],
    ids=["wrong use", "usage", "help", "no server"],
)
def test_an_error_that_nobody_can_read_keeps_its_code(settings: None, words: tuple[str, ...], code: int) -> None:
    """Given a full disk for stderr, expect no code that says that the change is made."""
    assert in_shell(*words, redirect="2>/dev/full").returncode == code


@pytest.mark.parametrize(
    ("words", "redirect", "code"),
    [
        (("override", "import", "restyler", "-"), "<&-", 2),
        (("policy", "diff", "-"), "<&-", 2),
        (("--server", "127.0.0.1:1", "delete", "restyler"), "<&-", 3),
        (("config", "path"), ">&-", 0),
        (("config", "get", "nothing"), "2>&-", 2),
    ],
)
def test_a_closed_stream_is_like_an_empty_one(settings: None, words: tuple[str, ...], redirect: str, code: int) -> None:
    ran = in_shell(*words, redirect=redirect)

    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False)


def test_a_file_is_never_in_the_place_of_a_closed_stream(settings: None, tmp_path: Path) -> None:
    """Given stderr that is closed, expect that no error is written into a file of the command, which would get its number."""
    (tmp_path / "config" / "rampd").mkdir(parents=True)
    shown = in_shell("config", "set", "server", "[::1]:1", redirect="<&- >&- 2>&-")
    text = (tmp_path / "config" / "rampd" / "config.toml").read_text()

    assert (shown.returncode, text.splitlines()[-1]) == (0, 'server = "[::1]:1"')


def test_a_line_has_escapes_for_what_its_encoding_has_not(settings: None) -> None:
    ran = in_shell("config", "path", redirect="", environment={"PYTHONIOENCODING": "latin-1", "XDG_CONFIG_HOME": "/“"})

    assert (ran.returncode, ran.stdout) == (0, "/\\u201c/rampd/config.toml\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("output", ["json", "yaml"])
def test_a_document_is_utf_8_in_every_encoding(settings: None, tmp_path: Path, encoding: str, output: str) -> None:
    """Given a text of which Latin-1 has one letter, expect a document that a program reads as UTF-8, as it was."""
    file = tmp_path / "config" / "rampd" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[profiles."é “😀€”"]\noutput = "json"\n', encoding="utf-8")

    ran = in_shell("config", "list", "-o", output, redirect="", environment={"PYTHONIOENCODING": encoding})
    wrong = in_shell("config", "get", "é", "-o", output, redirect="", environment={"PYTHONIOENCODING": encoding})

    read = json.loads if output == "json" else yaml.safe_load
    assert (ran.returncode, list(read(ran.stdout)["profiles"])) == (0, ["é “😀€”"])
    assert "'é'" in json.loads(wrong.stderr)["message"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_policy_that_was_shown_is_applied_as_it_was_in_every_encoding(
    rampd: Run, rampd_server: RampdServer, encoding: str
) -> None:
    rampd("release", "restyler", "1.0")
    checks = [v1.Check(name="slow", query='é{zone="10 €"}', max=3)]
    rampd_server.admin().set_policy("restyler", v1.Policy(checks=checks), update_mask=["checks"])

    shown = in_shell("policy", "show", redirect="> p.yaml", environment={"PYTHONIOENCODING": encoding})

    assert shown.returncode == 0
    assert rampd("policy", "apply", "p.yaml").rows[0][1] == "no"


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.mark.parametrize("words", [("status",), ("status", "restyler"), ("status", "--watch")], ids=" ".join)
def test_an_answer_that_makes_no_sense_is_an_error_and_no_traceback(
    run: Run, running: ScriptedServer, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("RAMPD_SERVER", running.target)
    rollout = v1.Rollout(component="restyler")
    rollout.current.update_time.seconds = 1 << 60
    running.answers["ListRollouts"] = [v1.ListRolloutsResponse(rollouts=[rollout])]
    running.answers["GetRollout"] = [v1.GetRolloutResponse(rollout=rollout)]

    ran = run(*words)
    program = run(*words, "-o", "json")

    assert (ran.code, ran.out, ran.err.count("\n"), "makes no sense" in ran.err) == (1, "", 1, True)
    assert json.loads(program.err)["reason"] == "INTERNAL"


NONSENSE = v1.RampResponse(changed=True, message="2.0 is at 10 %.", rollout=v1.Rollout(component="restyler"))
NONSENSE.rollout.current.update_time.seconds = 1 << 60


@pytest.mark.parametrize(
    ("words", "redirect", "why"),
    [
        (("-o", "json"), "", "can't be shown"),
        (("-o", "plain"), ">/dev/full", "can't be written: No space left on device."),
    ],
    ids=["nonsense", "full disk"],
)
def test_a_change_that_is_made_is_said_to_be_though_its_answer_is_not_shown(
    settings: None, running: ScriptedServer, words: tuple[str, ...], redirect: str, why: str
) -> None:
    running.answers["Ramp"] = [NONSENSE]
    running.asked.clear()

    ran = in_shell("--server", running.target, "ramp", "restyler", "10", *words, redirect=redirect)

    request_id = running.requests("Ramp")[0].request_id
    assert (ran.returncode, ran.stdout) == (74, "")
    assert f"The change is made (request id {request_id}), but its answer {why}" in ran.stderr
    if "json" in words:
        error = json.loads(ran.stderr)
        assert (error["reason"], error["metadata"]) == ("NOT_WRITTEN", {"request_id": request_id})


@pytest.mark.parametrize("name", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("size", ["²", "0", "-5", "many", "9" * 5000])
def test_a_size_that_makes_no_sense_is_taken_as_not_set(
    at_terminal: AtTerminal, running: ScriptedServer, monkeypatch: pytest.MonkeyPatch, name: str, size: str
) -> None:
    running.answers.clear()
    rollouts = [v1.Rollout(component=f"c{number}", current=v1.Release(tag="1.0")) for number in range(40)]
    running.answers["ListRollouts"] = [v1.ListRolloutsResponse(rollouts=rollouts)]
    monkeypatch.delenv("COLUMNS")
    usual = at_terminal("--server", running.target, "status")
    monkeypatch.setenv(name, size)

    assert at_terminal("--server", running.target, "status") == usual
    assert (usual.code, max(map(len, usual.text.splitlines())) <= 80) == (0, True)


def test_ctrl_c_while_python_imports_is_no_traceback() -> None:
    program = """
import sys
class Pressed:
    def find_spec(self, name, *_):
        if name == "rampd_cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Pressed())
from rampd_cli.__main__ import main
sys.exit(main(["status"]))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")
