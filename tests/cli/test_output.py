"""How `rampd` answers: on stdout for people, pipes and programs, on stderr for errors, and with an exit code."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd_cli.commands import override_list
from tests.cli.conftest import Run


def test_a_change_says_what_it_did_in_one_line_with_tabs(rampd: Run) -> None:
    rampd("release", "restyler", "1.0")
    rampd("release", "restyler", "2.0")

    ran = rampd("ramp", "restyler", "10")

    assert (ran.code, ran.rows, ran.err) == (0, [["restyler", "yes", "3", "2.0 is at 10 %."]], "")


def test_what_was_so_already_is_done(rampd: Run) -> None:
    rampd("release", "restyler", "1.0")
    rampd("release", "restyler", "2.0")
    rampd("ramp", "restyler", "10")

    ran = rampd("ramp", "restyler", "10")

    assert (ran.code, ran.rows[0][1]) == (0, "no")


def test_a_refusal_is_on_stderr_and_its_code_is_1(rampd: Run) -> None:
    ran = rampd("ramp", "restyler", "10")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[0].endswith("(COMPONENT_NOT_FOUND)")


def test_a_server_that_is_not_there_has_the_code_3(run: Run) -> None:
    ran = run("--server", "127.0.0.1:1", "ramp", "restyler", "10", "-o", "json")

    assert (ran.code, ran.out) == (3, "")
    assert '"reason": "UNAVAILABLE"' in ran.err


def test_the_help_says_the_columns_of_a_pipe_and_the_exit_codes(run: Run) -> None:
    said = " ".join(run("override", "list", "--help").out.split())

    assert f"Columns of -o plain, separated by tabs: {', '.join(override_list.command.columns)}" in said
    assert "Exit codes: 0 done, or nothing had to change; 1 refused;" in run("--help").out
    assert "1 there is no such release" in " ".join(run("wait", "--help").out.split())


@pytest.mark.parametrize(
    "words", [["override"], ["policy"], ["quarantine"], ["queue"], ["config"], ["config", "--utc"]]
)
def test_a_command_that_needs_another_one_shows_its_usage_once(run: Run, words: list[str]) -> None:
    ran = run(*words)

    assert (ran.code, ran.out, ran.err.count("Usage: rampd")) == (2, "", 1)
    assert ("Commands:" in ran.err) == (len(words) == 1)


def test_only_the_answer_to_a_dry_run_says_that_it_is_one(rampd: Run) -> None:
    dry = rampd("release", "restyler", "1.0", "--dry-run", "-o", "json").json
    made = rampd("release", "restyler", "1.0", "-o", "json").json

    assert (dry["dryRun"], dry["changed"]) == (True, True)
    assert "dryRun" not in made


@pytest.fixture
def in_india(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of this machine is five and a half hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "IST-5:30")
        time.tzset()
        yield
    time.tzset()


def test_times_are_those_of_this_machine_unless_utc_is_asked_for(in_india: None, rampd: Run) -> None:
    rampd("release", "restyler", "1.0")
    rampd("override", "set", "restyler", "acme/app", "--tag", "2.0", "--expires", "2126-12-01T09:30Z")
    listed = ("override", "list", "restyler", "-o", "table")

    here = rampd(*listed).out
    asked = [rampd(*listed, "--utc").out, rampd("--utc", *listed).out]
    rampd("config", "set", "utc", "true")
    asked.append(rampd(*listed).out)

    assert (" 1 Dec 2126 15:00 " in here, "UTC" in here) == (True, False)
    assert [" 1 Dec 2126 09:30 UTC " in each for each in asked] == [True, True, True]


def names_in(answer: object) -> Iterator[str]:
    if isinstance(answer, dict):
        yield from answer
        answer = list(answer.values())
    if isinstance(answer, list):
        for each in answer:
            yield from names_in(each)


def test_every_name_in_json_is_written_as_in_the_json_of_the_api(rampd: Run) -> None:
    """Except what is quoted from files: `policy diff` names the fields as a file does."""
    rampd("release", "restyler", "1.0")
    rampd("release", "restyler", "2.0")
    Path("o.csv").write_text("repo,tag\nacme/app,1.0\nno repo,1.0\n")
    Path("p.yaml").write_text("policies: {restyler: {auto_start: true, steps: [{percent: 5, min_jobs: 9}]}}")
    seen = set()
    for line in (
        "policy apply p.yaml --dry-run",
        "policy apply p.yaml",
        "override import restyler o.csv --skip-invalid",
        "override list restyler",
        "status",
        "status restyler",
        "history restyler",
        "explain restyler acme/app",
        "plan restyler --jobs-per-hour 500",
        "wait restyler --until next",
        "policy show",
        "quarantine add restyler 0.9",
        "quarantine list restyler",
        "queue list restyler",
        "doctor",
    ):
        ran = rampd(*line.split(), "-o", "json")
        seen |= {
            f"{line}: {name}" for name in names_in(json.loads(ran.out)) if not re.fullmatch("[a-z][A-Za-z0-9]*", name)
        }

    assert seen == set()


def test_rampd_alone_shows_the_help(run: Run) -> None:
    ran = run()

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == run("--help").out
