"""`rampd policy`: policies as files."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from rampd import v1
from rampd.errors import AbortedError, InvalidArgumentError, UnavailableError
from rampd.testing import RampdServer
from rampd_cli.changing import How
from rampd_cli.commands import policy_apply
from rampd_cli.policies import applying
from tests.cli.conftest import RAMPD, AtTerminal, Run, piped
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status

FILE = """\
policies:
  restyler:
    queue_mode: LATEST
    steps:
      - percent: 5
        hold: 10m
        min_jobs: 50
      - percent: 25
        hold: 1h30m
        approval: true
    auto_start: true
    checks:
      - name: slow
        query: up
        max: 3
"""


@pytest.fixture
def admin(rampd: Run, rampd_server: RampdServer) -> Any:
    """Given two components that have releases and no policy."""
    rampd("release", "restyler", "1.0")
    rampd("release", "worker", "1.0")
    return rampd_server.admin()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(text: str = FILE, name: str = "p.yaml") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


def test_what_was_shown_can_be_applied_and_changes_nothing(rampd: Run, admin: Any, file: Any, tmp_path: Path) -> None:
    rampd("policy", "apply", file())
    for output in ("yaml", "json"):
        shown = rampd("policy", "show", "restyler", "worker", "-o", output)
        assert shown.code == 0

        again = rampd("policy", "apply", file(shown.out, f"again.{output}"))

        assert (again.code, [row[:3] for row in again.rows]) == (
            0,
            [["restyler", "no", "2"], ["worker", "no", "1"]],
        )


def test_a_file_is_shown_as_it_was_written_and_the_defaults_are_comments(rampd: Run, admin: Any, file: Any) -> None:
    rampd("policy", "apply", file())

    shown = rampd("policy", "show", "restyler").out

    assert shown.startswith(FILE.replace("        query: up\n        max: 3\n", ""))
    assert shown.splitlines()[14:18] == [
        "        max: 3",
        "    # At their defaults:",
        "    # unit: REPO",
        "    # max_percent: 95",
    ]


def test_without_a_name_every_policy_is_shown(rampd: Run, admin: Any) -> None:
    assert list(json.loads(rampd("policy", "show", "-o", "json").out)["policies"]) == ["restyler", "worker"]


def test_apply_sets_the_whole_policy_and_says_so(rampd: Run, admin: Any, file: Any) -> None:
    admin.set_policy("restyler", v1.Policy(alpha=0.2))

    ran = rampd("policy", "apply", file(), "--note", "from git")

    assert (ran.code, ran.rows[0][:3]) == (0, ["restyler", "yes", "3"])
    policy = admin.get_policy("restyler")
    assert (policy.alpha, policy.queue_mode, len(policy.steps)) == (0.01, v1.QUEUE_MODE_LATEST, 2)
    assert next(admin.list_events("restyler")).note == "from git"


def test_diff_only_reads_and_says_each_field_before_and_after(rampd: Run, admin: Any, file: Any) -> None:
    admin.set_policy("restyler", v1.Policy(alpha=0.2))
    wanted = "policies: {restyler: {max_percent: 50, steps: [{percent: 5}]}, worker: {}}"

    ran = rampd("policy", "diff", file(wanted), "--exit-code")

    assert (ran.code, ran.rows) == (
        6,
        [
            ["restyler", "steps", "", '[{"percent": 5}]'],
            ["restyler", "max_percent", "95", "50"],
            ["restyler", "alpha", "0.2", ""],
        ],
    )
    assert rampd("policy", "diff", file(wanted)).code == 0
    assert admin.get_rollout("restyler").revision == 2


def test_diff_draws_a_patch_of_what_changed_in_a_list(rampd: Run, admin: Any, file: Any) -> None:
    rampd("policy", "apply", file())

    drawn = rampd("policy", "diff", file(FILE.replace("hold: 10m", "hold: 15m")), "-o", "table").out

    assert drawn.splitlines()[1:5] == ["   steps:", "     - percent: 5", "  -    hold: 10m", "  +    hold: 15m"]


@pytest.mark.parametrize(
    "same",
    [
        FILE.replace("90m", "1h30m").replace("LATEST", "QUEUE_MODE_LATEST"),
        FILE.replace("min_jobs: 50", 'minJobs: "50"').replace("10m", "600s"),
        FILE.replace("max: 3\n", "max: 3.0\n        interval: 1m\n        errors_allowed: 4\n"),
        FILE.replace("auto_start: true", "auto_start: True\n    max_percent: 95\n    maturation: 0s"),
        FILE.replace("    steps:", "    steps: &plan") + "  worker: {steps: *plan}\n",
        "".join(FILE.splitlines(keepends=True)[:1]) + '  "restyler": ' + json.dumps({"queueMode": "LATEST"}),
    ],
)
def test_one_policy_can_be_written_in_several_ways(rampd: Run, admin: Any, file: Any, same: str) -> None:
    rampd("policy", "apply", file())

    ran = rampd("policy", "diff", file(same))

    differing = {row[1] for row in ran.rows if row[0] == "restyler"}
    assert differing == ({"steps", "auto_start", "checks"} if "queueMode" in same else set())


def test_prune_resets_what_no_file_names_but_not_without_a_yes(rampd: Run, admin: Any, file: Any) -> None:
    rampd("policy", "apply", file())
    only_worker = file("policies: {worker: {alpha: 0.02}}")

    refused = rampd("policy", "apply", only_worker, "--prune")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert "restyler" in refused.err
    assert len(admin.get_policy("restyler").steps) == 2
    assert admin.get_policy("worker").alpha == 0.01

    done = rampd("policy", "apply", only_worker, "--prune", "--yes")
    assert [row[:2] for row in done.rows] == [["worker", "yes"], ["restyler", "yes"]]
    assert admin.get_rollout("restyler").policy == v1.Policy()


def test_a_dry_run_never_reads_like_a_change(rampd: Run, admin: Any, file: Any) -> None:
    screen = rampd("policy", "apply", file(), "--dry-run", "-o", "table")
    piped = rampd("policy", "apply", file(), "--dry-run")

    assert "restyler: Dry run, nothing is changed. Afterwards: The policy is stored." in screen.out
    assert piped.rows[0][3].startswith("Dry run, nothing is changed. ")


def test_a_dry_run_changes_nothing(rampd: Run, admin: Any, file: Any) -> None:
    ran = rampd("policy", "apply", file(), "--dry-run")

    assert (ran.code, ran.rows[0][:2]) == (0, ["restyler", "would"])
    assert rampd("policy", "apply", file(), "--dry-run", "-o", "json").json["dryRun"] is True
    assert admin.get_rollout("restyler").revision == 1


def test_everything_wrong_is_said_with_its_line_and_nothing_is_written(rampd: Run, admin: Any, file: Any) -> None:
    wrong = "policies:\n  restyler:\n    auto_start: true\n  worker:\n    alpha: 7\n    stepps: []\n    queue_mode: latest\n"

    ran = rampd("policy", "apply", file(wrong))

    assert (ran.code, ran.out) == (2, "")
    assert [line.split(" ", 1)[0] for line in ran.err.splitlines()] == ["p.yaml:5:", "p.yaml:6:", "p.yaml:7:", "rampd:"]
    assert "Did you mean 'steps'?" in ran.err
    assert admin.get_policy("restyler").auto_start is False
    message = json.loads(rampd("policy", "apply", file(wrong), "-o", "json").err)["message"]
    assert len(message.splitlines()) == 3


def test_what_only_the_server_knows_is_said_with_its_line_too(rampd: Run, admin: Any, file: Any) -> None:
    """If one policy is over a limit that is not in the file, expect that the other one is not written either."""
    over = "policies:\n  restyler: {auto_start: true}\n  worker:\n    steps:\n      - percent: 1\n      - percent: 96\n"

    ran = rampd("policy", "apply", file(over))

    assert ran.code == 2
    assert ran.err.startswith("p.yaml:6: worker: steps[1].percent is over max_percent")
    assert admin.get_policy("restyler").auto_start is False


def test_a_component_in_two_files_is_an_error(rampd: Run, admin: Any, file: Any) -> None:
    ran = rampd("policy", "diff", file(name="a.yaml"), file(name="b.yaml"))

    assert (ran.code, ran.err.splitlines()[0]) == (2, "b.yaml:2: restyler is already in a.yaml:2.")


def test_components_that_do_not_exist_are_refused_with_their_lines(rampd: Run, admin: Any, file: Any) -> None:
    """Given a file with one component that exists and two that do not, expect both of them, and that nothing is set."""
    name = file("policies:\n  none: {}\n  restyler: {alpha: 0.2}\n  nobody: {}\n")

    for words in (("apply",), ("apply", "--dry-run"), ("diff",)):
        ran = rampd("policy", *words, name)

        error, *more = ran.err.splitlines()
        assert (ran.code, ran.out, error.endswith("(COMPONENT_NOT_FOUND)")) == (1, "", True)
        assert more == [
            "p.yaml:2: There is no component none.",
            "p.yaml:4: There is no component nobody.",
            "Next: rampd status",
        ]
    assert admin.get_rollout("restyler").revision == 1


NO_POLICY = {
    "": "p.yaml:1: The file is empty. It begins with `policies:`, and has the name of each component below it.",
    "# later": "p.yaml:1: The file is empty. It begins with `policies:`, and has the name of each component below it.",
    "policies:": "p.yaml:1: `policies` must have the name of each component, with its policy below it.",
    "policies: {restyler: {}}\n---\npolicies: {restyler: {}}": (
        "p.yaml:2: The file begins a second document. Write every component into the first one."
    ),
    "policies:\n  a: {}\n  a: {}": "p.yaml:3: The file has 'a' again, which is already on line 2.",
    "policies:\n  a:": "p.yaml:2: a must have fields, such as `queue_mode`. Write {} for a policy that has only defaults.",
}
"""Files from which nobody knows what to set, and what is said about each."""


def test_a_file_that_says_no_policy_is_wrong_use_and_resets_nothing(rampd: Run, admin: Any, file: Any) -> None:
    admin.set_policy("restyler", v1.Policy(alpha=0.2))

    for text, says in NO_POLICY.items():
        for words in (("apply",), ("apply", "--prune", "--yes"), ("diff",)):
            ran = rampd("policy", *words, file(text))

            assert (ran.code, ran.out) == (2, "")
            assert ran.err.splitlines() == [says, "rampd: 1 error. Nothing was changed."]
    assert admin.get_policy("restyler").alpha == 0.2


def test_a_component_without_a_policy_has_that_of_the_defaults(rampd: Run, admin: Any, file: Any) -> None:
    shown = rampd("policy", "show", "restyler")
    assert (shown.code, shown.out.splitlines()[:3]) == (
        0,
        ["policies:", "  restyler: {}", "    # At their defaults:"],
    )

    same = rampd("policy", "diff", file(shown.out), "--exit-code")
    assert (same.code, same.out, same.err) == (0, "", "")
    assert rampd("policy", "diff", file(shown.out), "-o", "table").out == "There is no difference.\n"
    applied = rampd("policy", "apply", file(shown.out))
    assert (applied.code, applied.rows) == (0, [["restyler", "no", "1", "The policy is as the file says."]])


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_a_component_that_does_not_exist_has_no_policy_to_show(rampd: Run, admin: Any, output: str) -> None:
    ran = rampd("policy", "show", "restyler", "none", "-o", output)

    assert (ran.code, ran.out, "COMPONENT_NOT_FOUND" in ran.err) == (1, "", True)


def test_a_file_that_can_not_be_read_is_wrong_use(rampd: Run) -> None:
    assert rampd("policy", "apply", "none.yaml").code == 2


@pytest.mark.parametrize(("name", "says"), [("/dev/zero", "is larger than"), (".", "Is a directory")])
def test_a_file_without_an_end_and_a_folder_are_wrong_use(rampd: Run, name: str, says: str) -> None:
    ran = rampd("policy", "apply", name)

    assert (ran.code, says in ran.err) == (2, True)


def test_what_another_command_writes_can_be_applied(rampd: Run, admin: Any, tmp_path: Path) -> None:
    """Given a pipe such as that of `<(…)`, expect all of it."""
    with piped(tmp_path / "pipe", FILE):
        assert rampd("policy", "apply", "pipe").rows[0][:2] == ["restyler", "yes"]


def test_a_policy_that_changed_meanwhile_is_left_alone_and_a_step_is_no_change(admin: Any) -> None:
    has = applying.present(admin, "restyler")
    admin.release("restyler", "2.0")
    assert applying.set_policy(admin, has, v1.Policy(alpha=0.1), How()).changed

    with pytest.raises(AbortedError):
        applying.set_policy(admin, has, v1.Policy(alpha=0.2), How())

    assert admin.get_policy("restyler").alpha == 0.1


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """An editor that does each thing in turn. Returns the texts that it was given. What stays of them is in the folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def use(*commands: str) -> list[str]:
        script = tmp_path / "editor"
        cases = "\n".join(f"{number}) {command} ;;" for number, command in enumerate(commands))
        script.write_text(
            f'#!/bin/sh\nn=$(ls {tmp_path}/seen.* 2>/dev/null | wc -l)\ncp "$1" {tmp_path}/seen.$n\n'
            f"case $n in\n{cases}\nesac\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("VISUAL", str(script))
        return []

    return use


def seen(tmp_path: Path) -> list[str]:
    return [path.read_text() for path in sorted(tmp_path.glob("seen.*"))]


def test_edit_opens_again_with_what_is_wrong(rampd: Run, admin: Any, file: Any, editor: Any, tmp_path: Path) -> None:
    rampd("policy", "apply", file())
    editor('sed -i "s/percent: 25/percent: 2/" "$1"', 'sed -i "s/percent: 2$/percent: 30/" "$1"')

    ran = rampd("policy", "edit", "restyler", "--note", "slower")

    assert (ran.code, ran.rows[0][:2]) == (0, ["restyler", "yes"])
    assert [step.percent for step in admin.get_policy("restyler").steps] == [5, 30]
    first, second = seen(tmp_path)
    assert "WRONG" not in first
    lines = second.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("# WRONG: restyler: steps[1].percent"))
    assert lines[at + 1] == "      - percent: 2"


def test_edit_shows_what_the_server_refuses(rampd: Run, admin: Any, editor: Any, tmp_path: Path) -> None:
    editor('sed -i "s/restyler: {}/restyler: {steps: [{percent: 96}]}/" "$1"', "true")

    ran = rampd("policy", "edit", "restyler")

    assert ran.code == 5
    assert "# WRONG: restyler: steps[0].percent is over max_percent" in seen(tmp_path)[1]
    kept = Path(ran.err.split("Your text is in ")[1].strip().removesuffix("."))
    assert "percent: 96" in kept.read_text()


def test_a_dry_run_of_an_edit_says_what_would_happen_and_keeps_the_text(rampd: Run, admin: Any, editor: Any) -> None:
    editor('sed -i "s/restyler: {}/restyler: {alpha: 0.1}/" "$1"')

    ran = rampd("policy", "edit", "restyler", "--dry-run")

    assert (ran.code, ran.rows[0][:2]) == (0, ["restyler", "would"])
    assert (admin.get_rollout("restyler").revision, admin.get_policy("restyler").alpha) == (1, 0.01)
    kept = ran.err.split("rampd policy apply ")[1].strip()
    assert rampd("policy", "apply", kept).code == 0
    assert admin.get_policy("restyler").alpha == 0.1


@pytest.mark.parametrize("words", [("edit", "restyler"), ("apply", "p.yaml")], ids=" ".join)
def test_a_policy_is_set_only_at_the_revision_that_is_expected(
    rampd: Run, admin: Any, editor: Any, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "p.yaml").write_text("policies: {restyler: {alpha: 0.1}}")
    editor('sed -i "s/restyler: {}/restyler: {alpha: 0.1}/" "$1"')

    refused = rampd("policy", *words, "--expect-revision", "7", "--yes")
    assert (refused.code, "restyler is at revision 1, not 7" in refused.err) == (1, True)
    assert refused.err.endswith("Next: rampd status restyler\n")
    assert (seen(tmp_path), admin.get_rollout("restyler").revision) == ([], 1)

    assert rampd("policy", *words, "--expect-revision", "1", "--yes").code == 0
    assert admin.get_policy("restyler").alpha == 0.1


def test_a_step_since_the_revision_that_is_expected_is_a_change(admin: Any) -> None:
    """Given a rollout that has gone on while the policy stayed, expect a refusal: the person asked for this revision."""
    has = applying.present(admin, "restyler")
    admin.release("restyler", "2.0")

    with pytest.raises(AbortedError):
        applying.set_policy(admin, has, v1.Policy(alpha=0.1), How(expect_revision=1))


def test_the_revision_of_several_components_can_not_be_expected(rampd: Run, admin: Any, file: Any) -> None:
    ran = rampd("policy", "apply", file("policies: {restyler: {}, worker: {}}"), "--expect-revision", "1")

    assert (ran.code, "for one component" in ran.err) == (2, True)


def test_an_edit_without_a_change_changes_nothing(rampd: Run, admin: Any, editor: Any) -> None:
    editor("true")

    assert rampd("policy", "edit", "restyler").code == 5
    assert admin.get_rollout("restyler").revision == 1


def test_edit_keeps_the_text_if_somebody_else_was_first(rampd: Run, admin: Any, editor: Any, rampd_server: Any) -> None:
    other = f"import rampd; rampd.Admin({rampd_server.target!r}).set_policy('restyler', rampd.v1.Policy(alpha=0.3))"
    editor(f'{__import__("sys").executable} -c "{other}"; sed -i "s/restyler: {{}}/restyler: {{alpha: 0.1}}/" "$1"')

    ran = rampd("policy", "edit", "restyler")

    assert (ran.code, "REVISION_MISMATCH" in ran.err) == (1, True)
    kept = Path(ran.err.split("Your text is in ")[1].split(". ")[0])
    assert "alpha: 0.1" in kept.read_text()
    assert admin.get_policy("restyler").alpha == 0.3


def test_a_note_that_is_too_long_is_no_mistake_of_the_file(
    rampd: Run, admin: Any, file: Any, editor: Any, tmp_path: Path
) -> None:
    editor('sed -i "s/restyler: {}/restyler: {alpha: 0.1}/" "$1"')
    for words in (("apply", file()), ("edit", "restyler")):
        ran = rampd("policy", *words, "--note", "x" * 501)
        assert (ran.code, "note: must be at most 500" in ran.err, "p.yaml:" in ran.err) == (2, True, False)
    assert len(seen(tmp_path)) == 1


def test_a_person_sees_what_changes_and_is_asked_before_policies_are_reset(
    person: AtTerminal, shared_server: RampdServer, component: str, file: Any
) -> None:
    admin = shared_server.admin()
    admin.release(component, "1.0")
    admin.set_policy(component, v1.Policy(alpha=0.2))

    screen = person("policy", "apply", file("policies: {}"), "--prune", typed="n\n")

    assert (screen.code, admin.get_policy(component).alpha) == (5, 0.2)
    lines = screen.text.split("\n")
    at = lines.index(f"{component} at revision 2, which no file names")
    assert lines[at + 1 : at + 3] == ["  -alpha: 0.2", "  +alpha: (its default)"]


def test_an_editor_that_fails_leaves_the_text(rampd: Run, admin: Any, file: Any, editor: Any) -> None:
    rampd("policy", "apply", file())
    editor('sed -i "s/percent: 25/percent: 2/" "$1"', "exit 1")

    ran = rampd("policy", "edit", "restyler")

    assert (ran.code, "Editing failed" in ran.err) == (2, True)
    kept = Path(ran.err.rpartition("Your text is in ")[2].strip().rstrip("."))
    assert "percent: 2\n" in kept.read_text()


def test_a_policy_whose_answer_was_lost_is_not_said_to_be_unset(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rampd("release", "other", "1.0")

    def lost(*_arguments: object) -> None:
        raise UnavailableError("The connection was lost.", reason="UNAVAILABLE")

    monkeypatch.setattr(policy_apply, "set_policy", lost)

    ran = rampd("policy", "apply", file("policies:\n  restyler: {alpha: 0.2}\n  other: {alpha: 0.2}\n"))

    assert (ran.code, ran.err.splitlines()[1]) == (
        3,
        "Set: nothing. Perhaps set: restyler. Not set: other. Type the command again for the rest.",
    )


ENDS = {
    "exit 3": (2, "Editing failed"),
    "kill -9 $$": (2, "Editing failed"),
    "printf '# caf\\351\\n' >> \"$1\"": (2, "is not UTF-8"),
    "kill -INT $PPID; sleep 0.1": (130, "Nothing was changed."),
}
"""What an editor does at last, and how the command ends."""


@pytest.mark.parametrize("last", ENDS, ids=["fails", "is killed", "writes Latin-1", "Ctrl-C"])
def test_no_editor_loses_the_text(
    admin: Any, rampd_server: RampdServer, editor: Any, tmp_path: Path, last: str
) -> None:
    editor(f'echo "# hours of work" >> "$1"; {last}')

    ran = subprocess.run(
        [*RAMPD, "policy", "edit", "restyler"],
        env={**os.environ, "RAMPD_SERVER": rampd_server.target, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        start_new_session=True,
    )

    code, said = ENDS[last]
    assert (ran.returncode, said in ran.stderr) == (code, True)
    (kept,) = tmp_path.glob("rampd-policy-*.yaml")
    assert b"# hours of work\n" in kept.read_bytes()
    assert f"Your text is in {kept}." in ran.stderr


@pytest.mark.parametrize("command", ['sed -i "s/{}/{alpha: 7}/" "$1"', ': > "$1"', 'rm "$1"'])
def test_an_editor_that_nobody_sits_at_ends(
    rampd: Run, admin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\necho >> "$0.calls"\n[ $(wc -l < "$0.calls") -lt 5 ] || exit 9\n{command}\n')
    script.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(script))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    ran = rampd("policy", "edit", "restyler")

    assert ran.code == (2 if command.startswith("rm") else 5)
    assert "alpha must be a number" in ran.err or "alpha" not in command
    kept = [path.read_text() for path in tmp_path.glob("rampd-policy-*.yaml")]
    assert ["alpha: 7" in text and "WRONG" not in text for text in kept] == ([True] if "alpha" in command else [])
    assert admin.get_rollout("restyler").revision == 1


def test_an_editor_that_is_no_command_is_wrong_use(rampd: Run, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "vi 'x")

    ran = rampd("policy", "edit", "restyler")

    assert (ran.code, "is no command" in ran.err) == (2, True)


@pytest.fixture
def scripted(settings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server that lists `lost` and `restyler`, and has the policy of the second one only."""
    has = v1.Rollout(component="restyler", revision=3, policy=v1.Policy(alpha=0.2))
    with scripted_server() as server:
        monkeypatch.setenv("RAMPD_SERVER", server.target)
        server.answers["ListRollouts"] = [v1.ListRolloutsResponse(rollouts=[v1.Rollout(component="lost"), has])]
        server.answers["GetRollout"] = [
            status(grpc.StatusCode.NOT_FOUND, "COMPONENT_NOT_FOUND", "lost does not exist."),
            v1.GetRolloutResponse(rollout=has),
        ]
        server.answers["GetPolicy"] = [v1.GetPolicyResponse(policy=v1.Policy(alpha=0.2))]
        yield server


def test_a_component_that_is_deleted_meanwhile_is_left_out(run: Run, scripted: ScriptedServer) -> None:
    ran = run("policy", "show", "-o", "json")

    assert (ran.code, ran.err, list(ran.json["policies"])) == (0, "", ["restyler"])


@pytest.mark.parametrize("output", ["json", "plain"])
def test_a_damaged_component_leaves_the_others_their_policies(
    run: Run, scripted: ScriptedServer, file: Any, output: str
) -> None:
    damaged = status(grpc.StatusCode.INTERNAL, "STORE_CORRUPT", "lost is damaged.", key="lost")
    for words, code in ((("show",), 1), (("diff", "--prune", file("policies: {}")), 0)):
        scripted.answers["GetRollout"].insert(0, damaged)
        del scripted.answers["GetRollout"][1:-1]

        ran = run("policy", *words, "-o", output)

        assert (ran.code, "restyler" in ran.out) == (code, True)
        if code or output == "plain":
            assert "lost is damaged." in ran.err
        if output == "json":
            assert bool(ran.err) == bool(code)
            assert not ran.err or json.loads(ran.err)["reason"] == "STORE_CORRUPT"


PRUNED = "policies:\n  restyler: {alpha: 0.2, auto_start: true}\n  worker: {alpha: 0.3, steps: [{percent: 5}, {percent: 25}]}\n"
WANTED = {
    "restyler": v1.Policy(alpha=0.2, auto_start=True),
    "worker": v1.Policy(alpha=0.3, steps=[v1.Step(percent=5), v1.Step(percent=25)]),
    "mailer": v1.Policy(),
}
_KILLED_AT = """
import os, signal, sys
from rampd_cli.__main__ import main
from rampd_cli.policies import applying

real, left = applying._set, [int(sys.argv.pop(1))]

def _set(*args, **more):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    answer = real(*args, **more)
    if not left[0] and not more.get("dry_run"):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

applying._set = _set
sys.exit(main())
"""
"""`rampd`, which is killed when the server has been asked so often about a policy: three times to check, three times to set."""


BEFORE = {
    "restyler": v1.Policy(),
    "worker": v1.Policy(max_percent=50),
    "mailer": v1.Policy(alpha=0.4, auto_start=True),
}
"""Three components with policies. The file names two of them."""


def set_policies(admin: Any, wanted: Mapping[str, v1.Policy]) -> None:
    for name, policy in wanted.items():
        admin.set_policy(name, policy, update_mask=[field.name for field in v1.Policy.DESCRIPTOR.fields])


def policies(admin: Any) -> dict[str, v1.Policy]:
    return {name: admin.get_rollout(name).policy for name in WANTED}


def test_an_apply_that_is_killed_leaves_whole_policies_and_its_repeat_the_wanted_ones(
    rampd: Run, admin: Any, rampd_server: RampdServer, file: Any
) -> None:
    admin.release("mailer", "1.0")
    words = ("policy", "apply", file(PRUNED), "--prune", "--yes")
    for asked in range(7):
        set_policies(admin, BEFORE)

        killed = killed_at(asked, words, rampd_server.target)

        assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b""), killed.stderr
        done = max(asked - 3, 0)
        assert list(policies(admin).values()) == [*list(WANTED.values())[:done], *list(BEFORE.values())[done:]]

        again = rampd(*words)

        assert (again.code, policies(admin)) == (0, WANTED)
        assert [row[1] for row in again.rows].count("yes") == 3 - done


def killed_at(asked: int, words: Sequence[str], target: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", _KILLED_AT, str(asked), *words],
        env={**os.environ, "RAMPD_SERVER": target},
        capture_output=True,
        timeout=300,
        check=False,
    )


INTERRUPTED = {
    0: "Nothing was changed.",
    2: "Nothing was changed.",
    3: "Set: nothing. Perhaps set: restyler. Not set: worker, mailer. Type the command again for the rest.",
    5: "Set: restyler, worker. Perhaps set: mailer. Type the command again for the rest.",
}
"""After how many questions about a policy somebody presses Ctrl-C, and what is said."""


def test_ctrl_c_during_an_apply_says_what_was_done_and_what_was_not(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.release("mailer", "1.0")
    real = applying._set

    def pressed(*args: Any, **more: Any) -> Any:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return real(*args, **more)

    monkeypatch.setattr(applying, "_set", pressed)
    for asked, said in INTERRUPTED.items():
        set_policies(admin, BEFORE)
        left = [None] * asked

        ran = rampd("policy", "apply", file(PRUNED), "--prune", "--yes")

        assert (ran.code, ran.out, ran.err.strip()) == (130, "", said)


def test_a_refusal_after_the_first_policy_is_no_wrong_use(
    rampd: Run, admin: Any, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = policy_apply.set_policy

    def refused(client: Any, has: Any, *more: Any) -> Any:
        if has.component == "worker":
            raise InvalidArgumentError("no", reason="INVALID_FIELD", violations=[("policy.alpha", "no")])
        return real(client, has, *more)

    monkeypatch.setattr(policy_apply, "set_policy", refused)

    assert rampd("policy", "apply", file("policies: {worker: {alpha: 0.2}}")).code == 2
    assert rampd("policy", "apply", file("policies: {restyler: {alpha: 0.2}, worker: {alpha: 0.2}}")).code == 1
