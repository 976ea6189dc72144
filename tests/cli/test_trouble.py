"""What `rampd` says when a server is too old, does not answer, or ends in the middle of a change."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from rampd import Admin, v1
from rampd_cli.planning import detection
from tests.cli.conftest import RAMPD, AtTerminal, Run, be_impatient
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status
from tests.servers import rampd_server, short_directory
from tests.waiting import eventually


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer, settings: None, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    monkeypatch.setenv("RAMPD_SERVER", running.target)
    running.answers.clear()
    running.asked.clear()
    return running


def test_an_old_server_gets_no_dry_run(run: Run, server: ScriptedServer) -> None:
    ran = run("ramp", "restyler", "10", "--dry-run")

    assert (ran.code, ran.out, "Nothing was sent" in ran.err) == (1, "", True)
    assert [asked.method for asked in server.asked] == ["WhoAmI"]


def test_an_old_server_gets_the_change_only_after_the_answer_to_the_question(
    at_terminal: AtTerminal, server: ScriptedServer
) -> None:
    server.answers["GetRollout"] = [v1.GetRolloutResponse(rollout=v1.Rollout(component="restyler", revision=7))]

    declined = at_terminal("finalize", "restyler", "--force", typed="n\n")
    assert (declined.code, server.requests("Finalize")) == (5, [])
    done = at_terminal("finalize", "restyler", "--force", typed="y\n")

    assert (done.code, "can't say what would happen" in done.text) == (0, True)
    [sent] = server.requests("Finalize")
    assert (sent.dry_run, sent.expected_revision) == (False, 7)


def test_a_change_with_an_unknown_end_says_how_to_repeat_it(run: Run, server: ScriptedServer) -> None:
    server.answers["Ramp"] = [status(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")]

    ran = run("ramp", "restyler", "10")

    request_id = server.requests("Ramp")[0].request_id
    assert ran.code == 3
    assert ran.err.splitlines()[1].endswith(f"--request-id {request_id}")
    own = run("ramp", "restyler", "10", "--request-id", "mine", "-o", "json")
    assert (own.code, json.loads(own.err)["metadata"]["request_id"]) == (3, "mine")


def test_a_change_with_a_question_is_repeated_without_it_and_with_the_same_guard(
    at_terminal: AtTerminal, server: ScriptedServer
) -> None:
    server.answers["WhoAmI"] = [v1.WhoAmIResponse(flags=["dry_run"])]
    server.answers["GetRollout"] = [v1.GetRolloutResponse(rollout=v1.Rollout(component="restyler", revision=7))]
    would = v1.FinalizeResponse(changed=True, message="It would.")
    server.answers["Finalize"] = [would, status(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")]

    screen = at_terminal("finalize", "restyler", "--force", typed="y\n")

    request_id = server.requests("Finalize")[1].request_id
    assert (screen.code, f"--request-id {request_id} --yes --expect-revision 7" in screen.text) == (3, True)


def test_going_back_to_a_tag_is_repeated_with_the_revision_that_was_seen(run: Run, server: ScriptedServer) -> None:
    server.answers["GetRollout"] = [v1.GetRolloutResponse(rollout=v1.Rollout(component="restyler", revision=7))]
    server.answers["Revert"] = [status(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")]

    ran = run("revert", "restyler", "--to", "1.0")

    sent = server.requests("Revert")[0]
    assert (ran.code, sent.expected_revision) == (3, 7)
    assert ran.err.splitlines()[1].endswith(f"--request-id {sent.request_id} --expect-revision 7")


def test_a_change_that_depends_on_the_time_of_its_repeat_has_no_request_id_to_repeat(
    run: Run, server: ScriptedServer
) -> None:
    server.answers["Freeze"] = [status(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")]

    ran = run("freeze", "restyler", "--for", "2h")

    assert (ran.code, ran.err.splitlines()[1]) == (3, "Type it again: a repeat does no harm.")


def test_a_refused_change_has_no_unknown_end(run: Run, server: ScriptedServer) -> None:
    server.answers["Ramp"] = [status(grpc.StatusCode.FAILED_PRECONDITION, "NO_ROLLOUT")]

    assert "--request-id" not in run("ramp", "restyler", "10").err


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "BAD_CREDENTIALS", 1),
        (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED", 1),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 1),
        (grpc.StatusCode.INTERNAL, "STORE_CORRUPT", 1),
        (grpc.StatusCode.UNAVAILABLE, "STORE_RESET", 3),
    ],
)
def test_each_kind_of_failure_has_its_code(
    run: Run, server: ScriptedServer, code: grpc.StatusCode, reason: str, exit_code: int
) -> None:
    server.answers["Pause"] = [status(code, reason, "The reason is this.")]

    ran = run("pause", "restyler")

    assert (ran.code, ran.out) == (exit_code, "")
    assert ran.err.startswith(f"rampd: The reason is this. ({reason})\n")


def interrupted(server: ScriptedServer, method: str, *words: str, by: int = signal.SIGINT) -> tuple[int, str, str]:
    """The code, the output and the errors of a command that is interrupted while a method does not answer."""
    server.answers[method] = [server.hang]
    process = subprocess.Popen([*RAMPD, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: server.requests(method), 300)

    process.send_signal(by)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_ctrl_c_during_a_call_says_how_to_repeat_it(server: ScriptedServer) -> None:
    code, out, err = interrupted(server, "Ramp", "ramp", "restyler", "10")

    assert (code, out) == (130, "")
    assert f"--request-id {server.requests('Ramp')[0].request_id}" in err


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize(
    ("method", "words", "said"),
    [
        ("Ramp", ("ramp", "restyler", "10"), "The change may have been made."),
        ("BatchSetOverrides", ("override", "import", "restyler", "o.csv"), "Of 1 change, at least 0 are made."),
        ("SetPolicy", ("policy", "apply", "p.yaml"), "Perhaps set: restyler."),
    ],
    ids=["ramp", "import", "apply"],
)
def test_a_program_reads_that_an_interrupted_change_may_have_been_made(  # noqa: PLR0917
    server: ScriptedServer, tmp_path: Path, method: str, words: tuple[str, ...], said: str, by: int
) -> None:
    (tmp_path / "o.csv").write_text("repo,tag\nacme/app,1.0\n")
    (tmp_path / "p.yaml").write_text("policies: {restyler: {alpha: 0.2}}\n")

    code, out, err = interrupted(server, method, *words, "-o", "json", by=by)

    error = json.loads(err)
    request_id = server.requests(method)[0].request_id
    assert (code, out, error["reason"]) == (128 + by, "", "INTERRUPTED")
    assert (said in error["message"], error["metadata"]) == (True, {"request_id": request_id})


def test_a_program_reads_after_ctrl_c_that_the_release_it_waits_for_is_handed_in(server: ScriptedServer) -> None:
    server.answers["Release"] = [v1.ReleaseResponse(changed=True, release=2, message="2.0 is next, at 0 %.")]
    server.answers["ListReleases"] = [v1.ListReleasesResponse(releases=[v1.Release(number=2, tag="2.0")])]

    code, out, err = interrupted(server, "WatchRelease", "release", "restyler", "2.0", "--wait", "-o", "json")

    request_id = server.requests("Release")[0].request_id
    assert (code, out) == (130, "")
    assert json.loads(err) == {
        "reason": "INTERRUPTED",
        "message": f"The change is made (request id {request_id}).",
        "metadata": {"request_id": request_id},
    }


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("ListOverrides", ("override", "export", "restyler", "o.csv")),
        ("GetPolicy", ("plan", "restyler", "--jobs-per-hour", "400")),
        ("WhoAmI", ("doctor",)),
        ("GetServer", ("doctor",)),
    ],
    ids=["export", "plan", "doctor: who am I", "doctor: the server"],
)
def test_ctrl_c_in_what_only_reads_says_nothing_and_leaves_nothing_behind(
    server: ScriptedServer, tmp_path: Path, method: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "o.csv").write_text("as it was")

    assert interrupted(server, method, *words) == (130, "", "")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("o.csv", "as it was")]


def test_ctrl_c_while_a_plan_is_simulated_says_nothing(
    run: Run, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = v1.Policy(steps=[v1.Step(percent=10)])
    server.answers["GetPolicy"] = [v1.GetPolicyResponse(policy=policy)]
    simulated = []

    def pressed(*arguments: Any) -> detection.Chances:
        if simulated:
            raise KeyboardInterrupt
        simulated.append(arguments)
        return real(*arguments)

    real = detection.chances
    monkeypatch.setattr(detection, "chances", pressed)

    ran = run("plan", "restyler", "--jobs-per-hour", "400")

    assert (ran.code, ran.out, ran.err, len(simulated)) == (130, "", "", 1)


def test_a_change_is_made_once_if_a_server_that_did_not_answer_is_asked_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that stops in the middle of a change, expect code 3, and a command that makes the change once."""
    with short_directory() as directory, rampd_server(directory) as server:
        server.event("listening")
        monkeypatch.setenv("RAMPD_SERVER", f"unix:{server.socket}")
        for tag in ("1.0", "2.0"):
            run("release", "restyler", tag)

        with monkeypatch.context() as patch:
            be_impatient(patch)
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                stuck = run("ramp", "restyler", "10")
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
        again = re.search(r"--request-id (\w+)", stuck.err)
        assert again is not None
        repeated = run("ramp", "restyler", "10", "--request-id", again[1])

        with Admin(f"unix:{server.socket}", timeout=60) as admin:
            rollout = admin.get_rollout("restyler")

    assert (stuck.code, stuck.out, repeated.code) == (3, "", 0)
    assert (rollout.next_percent, rollout.revision) == (10, 3)
