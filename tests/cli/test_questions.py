"""`rampd` asks a person only where there is no way back, and what the person saw is what is changed."""

import io
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import grpc
import pytest

from rampd import Admin, v1
from rampd.testing import RampdServer
from tests.cli.conftest import RAMPD, AtTerminal, Run
from tests.rpc.scripted_server import scripted_server, status


@pytest.fixture
def admin(shared_server: RampdServer) -> Admin:
    return shared_server.admin()


@pytest.fixture
def released(admin: Admin, component: str) -> str:
    admin.release(component, "1.0")
    admin.release(component, "2.0")
    return component


def test_a_person_who_says_yes_sees_first_what_will_happen(person: AtTerminal, admin: Admin, released: str) -> None:
    screen = person("finalize", released, "--force", typed="y\n")

    assert (screen.code, admin.get_rollout(released).current.tag) == (0, "2.0")
    seen, _, after = screen.text.partition("[y/N]:")
    assert "What would happen: " in seen
    assert f"{released}: current 2.0" in after


@pytest.mark.parametrize("typed", ["n\n", "\n", "nonsense\n", "\x04"], ids=["no", "enter", "nonsense", "end of input"])
def test_any_other_answer_changes_nothing(person: AtTerminal, admin: Admin, released: str, typed: str) -> None:
    screen = person("finalize", released, "--force", typed=typed)

    assert (screen.code, admin.get_rollout(released).current.tag) == (5, "1.0")
    assert screen.text.rstrip().endswith("Nothing was changed.")


def test_delete_asks_for_the_name(person: AtTerminal, admin: Admin, released: str) -> None:
    for typed in ("y\n", "yes\n", f"{released}x\n"):
        screen = person("delete", released, typed=typed)
        assert screen.code == 5
        assert f"Type {released} to go on: " in screen.text
    assert admin.get_rollout(released).current.tag == "1.0"

    assert person("delete", released, typed=f"{released}\n").code == 0
    assert released not in {each.component for each in admin.list_rollouts()}


def test_expedite_asks(person: AtTerminal, admin: Admin, released: str) -> None:
    assert person("release", released, "3.0", "--expedite", typed="n\n").code == 5
    assert person("release", released, "3.0", "--expedite", typed="y\n").code == 0
    assert admin.get_rollout(released).current.tag == "3.0"


def test_the_first_release_of_a_component_can_be_expedited(person: AtTerminal, component: str) -> None:
    assert person("release", component, "1.0", "--expedite", typed="y\n").code == 0


@pytest.mark.parametrize(
    ("words", "asks"),
    [(["--to", "0.1"], True), (["--to", "0.2"], False), ([], False)],
    ids=["beyond one", "by one", "without a tag"],
)
def test_going_back_asks_only_beyond_one(
    person: AtTerminal, admin: Admin, component: str, words: list[str], asks: bool
) -> None:
    for tag in ("0.1", "0.2", "1.0"):
        admin.release(component, tag, expedite=True)

    screen = person("revert", component, *words, typed="y\n")

    assert (screen.code, "[y/N]" in screen.text) == (0, asks)
    assert ("goes back over 1.0, 0.2." in screen.text) is asks


@pytest.mark.parametrize("mark", [True, False], ids=["quarantine", "no quarantine"])
def test_a_second_step_back_is_beyond_one(person: AtTerminal, admin: Admin, component: str, mark: bool) -> None:
    """Given a current that a Revert has restored, expect a question that names it before it is left, too."""
    for tag in ("0.1", "0.2", "1.0"):
        admin.release(component, tag, expedite=True)
    admin.revert(component, quarantine=mark)
    words = ("revert", component, "--to", "0.1", *([] if mark else ["--no-quarantine"]))

    screen = person(*words, typed="n\n")

    assert (screen.code, admin.get_rollout(component).current.tag) == (5, "0.2")
    said = screen.text.replace("\n", " ")
    assert "0.2 is what the last Revert has restored." in said
    assert ("0.2 is quarantined. Go on?" in said) is mark
    assert person(*words, "--yes").code == 0
    assert admin.get_rollout(component).current.tag == "0.1"


def test_one_step_back_from_what_came_after_a_revert_asks_nothing(
    person: AtTerminal, admin: Admin, component: str
) -> None:
    """Given a tag that a Revert has restored once, and that a release has made current now, expect no question."""
    for tag in ("0.1", "0.2"):
        admin.release(component, tag, expedite=True)
    admin.revert(component)
    for tag in ("1.0", "0.1"):
        admin.release(component, tag, expedite=True)

    screen = person("revert", component, "--to", "1.0", typed="n\n")

    assert (screen.code, "[y/N]" in screen.text) == (0, False)


@pytest.mark.parametrize("words", [[], ["--no-quarantine"]])
def test_to_undo_a_revert_asks_only_if_it_quarantines_what_was_restored(
    person: AtTerminal, admin: Admin, component: str, words: list[str]
) -> None:
    for tag in ("0.1", "0.2"):
        admin.release(component, tag, expedite=True)
    admin.revert(component, quarantine=False)

    screen = person("revert", component, "--to", "0.2", *words, typed="y\n")

    assert (screen.code, "[y/N]" in screen.text) == (0, not words)
    assert admin.get_rollout(component).current.tag == "0.2"


def test_a_second_step_back_without_a_terminal_names_yes(cli: Run, admin: Admin, component: str) -> None:
    for tag in ("0.1", "0.2", "1.0"):
        admin.release(component, tag, expedite=True)
    admin.revert(component)

    ran = cli("revert", component, "--to", "0.1")

    assert (ran.code, "--yes" in ran.err) == (2, True)
    assert admin.get_rollout(component).current.tag == "0.2"


@pytest.mark.parametrize(
    "words", [["ramp", "{c}", "100"], ["rollback", "{c}"], ["abandon", "{c}"], ["freeze", "{c}"]], ids=" ".join
)
def test_what_can_be_taken_back_is_done_without_a_question(person: AtTerminal, released: str, words: list[str]) -> None:
    screen = person(*(word.format(c=released) for word in words))

    assert (screen.code, "[y/N]" in screen.text) == (0, False)


def test_what_changed_since_it_was_shown_is_not_changed_again(
    person: AtTerminal, admin: Admin, released: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given somebody else's change while the question stands, expect a refusal."""
    from rampd_cli.session import Session

    confirm = Session.confirm

    def late(self: Session, question: str, *, answer: str = "") -> None:
        confirm(self, question, answer=answer)
        admin.ramp(released, 30)

    monkeypatch.setattr(Session, "confirm", late)
    screen = person("finalize", released, "--force", typed="y\n")

    assert (screen.code, "(REVISION_MISMATCH)" in screen.text) == (1, True)
    assert admin.get_rollout(released).current.tag == "1.0"


@pytest.mark.parametrize("was_deleted", [False, True], ids=["new", "deleted before"])
@pytest.mark.parametrize("is_overtaken", [False, True], ids=["alone", "overtaken"])
def test_the_first_release_overtakes_none_that_came_since_the_question(  # noqa: PLR0917
    person: AtTerminal,
    admin: Admin,
    component: str,
    monkeypatch: pytest.MonkeyPatch,
    was_deleted: bool,
    is_overtaken: bool,
) -> None:
    """Given somebody else's first release while the question stands, expect a refusal."""
    from rampd_cli.session import Session

    if was_deleted:
        admin.release(component, "0.1")
        admin.delete_component(component, confirm=component)
    confirm = Session.confirm

    def late(self: Session, question: str, *, answer: str = "") -> None:
        confirm(self, question, answer=answer)
        if is_overtaken:
            admin.release(component, "0.9")

    monkeypatch.setattr(Session, "confirm", late)
    screen = person("release", component, "1.0", "--expedite", typed="y\n")

    assert (screen.code, ": somebody changed it." in screen.text) == (int(is_overtaken), is_overtaken)
    assert admin.get_rollout(component).current.tag == ("0.9" if is_overtaken else "1.0")


@pytest.mark.parametrize("is_mended", [False, True], ids=["still damaged", "restored"])
def test_what_was_damaged_at_the_question_is_deleted_only_if_it_still_is(
    at_terminal: AtTerminal, is_mended: bool
) -> None:
    """Given data that somebody restores while the question stands, expect a refusal: no revision guards damaged data."""
    damaged = status(grpc.StatusCode.INTERNAL, "STORE_CORRUPT", "c is damaged.", key="c")
    with scripted_server() as server:
        server.answers["GetRollout"] = [damaged, v1.GetRolloutResponse(rollout=v1.Rollout(component="c", revision=7))]
        if not is_mended:
            del server.answers["GetRollout"][1:]
        server.answers["DeleteComponent"] = [v1.DeleteComponentResponse(message="c is deleted.", changed=True)]

        screen = at_terminal("delete", "c", "--server", server.target, typed="c\n")

        assert (screen.code, "was damaged when you were asked" in screen.text) == (int(is_mended), is_mended)
        assert bool(server.requests("DeleteComponent")) is not is_mended


@pytest.mark.parametrize(
    "before",
    [["0.1", "0.2", "1.0"], ["0.1", "1.0"]],
    ids=["beyond one", "by one"],
)
def test_going_back_goes_no_further_than_what_was_seen(
    person: AtTerminal,
    admin: Admin,
    component: str,
    monkeypatch: pytest.MonkeyPatch,
    before: list[str],
) -> None:
    """Given a newer version that becomes current after `rampd` has looked how far it goes back, expect a refusal."""
    from rampd_cli.commands import revert

    for tag in before:
        admin.release(component, tag, expedite=True)
    beyond_one = revert._beyond_one

    def late(rollout: v1.Rollout, releases: Iterable[v1.Release], to: str, *, quarantine: bool) -> str:
        admin.release(component, "2.0", expedite=True)
        return beyond_one(rollout, releases, to, quarantine=quarantine)

    monkeypatch.setattr(revert, "_beyond_one", late)
    screen = person("revert", component, "--to", "0.1", typed="y\n")

    assert (screen.code, "(REVISION_MISMATCH)" in screen.text, "[y/N]" in screen.text) == (1, True, False)
    assert admin.get_rollout(component).current.tag == "2.0"


def test_what_is_so_already_needs_no_question(person: AtTerminal, admin: Admin, component: str) -> None:
    admin.release(component, "1.0")

    screen = person("release", component, "1.0", "--expedite")

    assert (screen.code, "[y/N]" in screen.text) == (0, False)


def test_a_refusal_comes_before_the_question(person: AtTerminal, admin: Admin, released: str) -> None:
    admin.freeze(released)

    screen = person("finalize", released, "--force")

    assert (screen.code, "[y/N]" in screen.text, "(FROZEN)" in screen.text) == (1, False, True)


def test_without_a_terminal_a_refusal_comes_first_too(cli: Run, component: str) -> None:
    """Given a component that there is not and nobody to ask, expect that nobody reads that it is deleted."""
    ran = cli("delete", component)

    assert (ran.code, "(COMPONENT_NOT_FOUND)" in ran.err, "deleted" in ran.err) == (1, True, False)


def test_without_a_terminal_what_is_so_already_is_done(cli: Run, released: str) -> None:
    assert cli("release", released, "1.0", "--expedite").code == 0


def test_without_a_terminal_the_question_does_not_read_like_an_answer(cli: Run, admin: Admin, released: str) -> None:
    ran = cli("delete", released)

    assert ran.code == 2
    assert "Nothing was changed: this needs a yes, and there is no terminal to ask at." in ran.err
    assert "--yes" in ran.err
    assert admin.get_rollout(released).current.tag == "1.0"


def test_yes_asks_nothing_and_sends_one_call(person: AtTerminal, released: str) -> None:
    screen = person("finalize", released, "--force", "--yes")

    assert (screen.code, "[y/N]" in screen.text, "would" in screen.text) == (0, False, False)


def test_a_question_leaves_stdout_to_the_answer(
    cli: Run, released: str, shared_server: RampdServer, tmp_path: Path
) -> None:
    """Given a terminal for the question and a file for the answer, expect nothing but the answer in the file."""
    ours, theirs = pty.openpty()
    out = tmp_path / "out"
    with out.open("w") as file:
        process = _started(["finalize", released, "--force", "-o", "json"], theirs, stdout=file)
        _seen_until(ours, "[y/N]: ")
        os.write(ours, b"y\n")
        assert process.wait(300) == 0
    os.close(ours)
    assert out.read_text().startswith("{\n")


def test_ctrl_c_at_a_question_changes_nothing(
    cli: Run, admin: Admin, released: str, shared_server: RampdServer
) -> None:
    ours, theirs = pty.openpty()
    process = _started(["delete", released], theirs)
    _seen_until(ours, "to go on: ")

    os.write(ours, b"\x03")

    assert process.wait(300) == 130
    assert "Nothing was changed." in _seen_until(ours, "Nothing was changed.")
    os.close(ours)
    assert admin.get_rollout(released).current.tag == "1.0"


@pytest.mark.parametrize(
    "before", [(), ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")], ids=["hung up", "as after nohup"]
)
def test_without_its_terminal_a_question_has_no_answer(
    cli: Run, admin: Admin, released: str, shared_server: RampdServer, before: Sequence[str]
) -> None:
    """Given a terminal that is closed at the question, expect nothing changed, also if the command outlives the terminal."""
    ours, theirs = pty.openpty()
    process = _started(["delete", released], theirs, before=before)
    _seen_until(ours, "to go on: ")

    os.close(ours)

    assert process.wait(300) == 5
    assert admin.get_rollout(released).current.tag == "1.0"


def _started(
    words: list[str], terminal: int, stdout: object = None, before: Sequence[str] = ()
) -> "subprocess.Popen[bytes]":
    """Starts `rampd` with a terminal, in a process of its own."""
    process = subprocess.Popen(
        [*before, *RAMPD, *words],
        stdin=terminal,
        stdout=terminal if stdout is None else stdout,  # type: ignore[arg-type]
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    return process


def _seen_until(terminal: int, text: str) -> str:
    seen, end = b"", time.monotonic() + 300
    while text.encode() not in seen:
        assert time.monotonic() < end
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
    return seen.decode()


def test_an_answer_of_another_encoding_is_a_no(
    cli: Run, admin: Admin, released: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rampd_cli.session import Session

    monkeypatch.setattr(Session, "is_interactive", True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xe9\n"), encoding="utf-8"))

    ran = cli("delete", released)

    assert (ran.code, "Nothing was changed." in ran.err) == (5, True)
    assert admin.get_rollout(released).current.tag == "1.0"
