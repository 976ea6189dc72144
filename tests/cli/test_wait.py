"""`rampd wait` against real servers: each way to end, and its exit code."""

import contextlib
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from rich.text import Text

from rampd import Admin, v1
from rampd.testing import RampdServer
from rampd.testing._server import running_server
from rampd_cli.waiting.goal import Goal
from rampd_cli.waiting.progress import lines
from rampd_server import testing
from tests.cli.conftest import PATIENCE_S, Ran, Run
from tests.cli.golden import assert_golden, printed
from tests.cli.terminal import ALTERNATE_SCREEN, CURSOR, in_pipe, on_terminal
from tests.cli.test_verdict import SEEN
from tests.ports import free_address
from tests.waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[RampdServer]:
    with running_server() as found:
        yield found


@pytest.fixture
def component(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test."""
    return f"c{abs(hash(request.node.nodeid))}"


@pytest.fixture
def admin(server: RampdServer, component: str) -> Admin:
    """Current is t1, next is t2, t3 waits."""
    found = server.admin(actor="ada")
    for tag in ("t1", "t2", "t3"):
        found.release(component, tag)
    return found


@pytest.fixture
def wait(run: Run, server: RampdServer, component: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `rampd wait`. To find the release may take longer than `--timeout`, because the machine may be busy."""
    find = Admin.list_releases

    def patient(admin: Admin, name: str, *, timeout: float) -> Iterator[v1.Release]:
        return find(admin, name, timeout=max(timeout, PATIENCE_S))

    monkeypatch.setattr(Admin, "list_releases", patient)

    def wait(*words: str) -> Ran:
        return run("wait", component, *words, "--server", server.target)

    return wait


def test_what_is_so_already_is_done(wait: Run, admin: Admin, component: str) -> None:
    admin.ramp(component, 50)

    ran = wait("--until", "percent=25")

    assert (ran.code, ran.err) == (0, "")
    [row] = ran.rows
    assert row[1:6] == [component, "2", "t2", "ROLLING_OUT", "50"]
    assert row[6].startswith("t2 is at 50 %.")
    assert wait("t2", "--until", "next").code == 0
    assert wait("t1", "--until", "next").code == 0
    assert wait("t1").code == 0
    assert wait("#1", "--until", "ended").code == 0


def test_the_release_is_the_answer_for_a_program(wait: Run, admin: Admin) -> None:
    ran = wait("--until", "next", "-o", "json")

    assert (ran.code, ran.err) == (0, "")
    assert (ran.json["number"], ran.json["tag"], ran.json["state"]) == ("2", "t2", "RELEASE_STATE_NEXT")
    assert "tag: t2\n" in wait("--until", "next", "-o", "yaml").out


def test_a_table_in_a_pipe_has_a_line_for_each_change(wait: Run, admin: Admin) -> None:
    ran = wait("--until", "next", "-o", "table")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)
    assert "  t2 is at 0 %." in ran.out


@pytest.mark.parametrize(
    ("verb", "words", "reason"),
    [
        ("abandon", ["t2"], "ABANDONED"),
        ("rollback", ["t2"], "HELD"),
        ("cancel", ["t3"], "CANCELLED"),
        ("supersede", ["t3"], "SUPERSEDED"),
        ("finalize", ["t2", "--until", "held"], "CURRENT"),
    ],
)
def test_what_can_not_happen_any_more_has_the_code_4(  # noqa: PLR0917
    verb: str, words: list[str], reason: str, wait: Run, admin: Admin, component: str
) -> None:
    match verb:
        case "cancel":
            admin.cancel_release(component, 3)
        case "supersede":
            admin.set_policy(component, v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST))
            admin.release(component, "t4")
        case "finalize":
            admin.finalize(component, force=True)
        case _:
            getattr(admin, verb)(component, note="errors")

    ran, told = wait(*words), wait(*words, "-o", "json")

    assert (ran.code, len(ran.rows), f"({reason})\n" in ran.err) == (4, 1, True)
    error = json.loads(told.err)
    assert (told.code, told.out, error["reason"], error["metadata"]["tag"]) == (4, "", reason, words[0])


def latest(admin: Admin, name: str) -> None:
    admin.set_policy(name, v1.Policy(queue_mode=v1.QUEUE_MODE_LATEST))
    admin.release(name, "t4")


def finalized(admin: Admin, name: str, *, over: bool = True) -> None:
    admin.finalize(name, tag="t2", force=True)
    if over:
        admin.finalize(name, tag="t3", force=True)


def reverted(admin: Admin, name: str, *, quarantine: bool = True, later: bool = False) -> None:
    finalized(admin, name, over=False)
    admin.revert(name, quarantine=quarantine)
    if later:
        admin.finalize(name, tag="t3", force=True)


def released_again(admin: Admin, name: str) -> None:
    """t1 is current, t3 waits with the tag of a previous release, and a Revert makes that one current."""
    finalized(admin, name)
    admin.release(name, "t4")
    admin.release(name, "t2")
    admin.revert(name, tag="t2")
    admin.abandon(name)


ENDS: dict[str, tuple[Callable[[Admin, str], object], str, str]] = {
    # how it ended                       release   current next held ended percent=50
    "replaced":                    (finalized,                                                "#2", "0 0 4 0 0"),
    "current":                     (lambda a, c: finalized(a, c, over=False),                 "#2", "0 0 4 0 0"),
    "current, and quarantined":    (lambda a, c: (finalized(a, c, over=False), a.quarantine(c, "t2")), "#2", "0 0 4 0 0"),
    "replaced, and quarantined":   (lambda a, c: (finalized(a, c), a.quarantine(c, "t2")),    "#2", "0 0 4 0 0"),
    "reverted":                    (reverted,                                                 "#2", "4 4 4 0 4"),
    "reverted, not quarantined":   (lambda a, c: reverted(a, c, quarantine=False),            "#2", "4 4 4 0 4"),
    "reverted, and others came":   (lambda a, c: reverted(a, c, later=True),                  "#2", "4 4 4 0 4"),
    "rolled back":                 (lambda a, c: a.rollback(c),                               "#2", "4 0 0 124 4"),
    "quarantined as next":         (lambda a, c: a.quarantine(c, "t2"),                       "#2", "4 0 0 124 4"),
    "abandoned":                   (lambda a, c: a.abandon(c),                                "#2", "4 4 4 0 4"),
    "cancelled":                   (lambda a, c: a.cancel_release(c, 3),                      "#3", "4 4 4 0 4"),
    "quarantined in the queue":    (lambda a, c: a.quarantine(c, "t3"),                       "#3", "4 4 4 0 4"),
    "superseded by a later one":   (latest,                                                   "#3", "4 4 4 0 4"),
    "superseded by its own tag":   (released_again,                                           "#5", "4 4 4 0 4"),
    "frozen in the queue":         (lambda a, c: (a.freeze(c), a.abandon(c)),                 "#3", "124 124 124 124 124"),
    "deleted before":              (lambda a, c: a.delete_component(c, confirm=c),            "#2", "1 1 1 1 1"),
}  # fmt: skip
GOALS = ("current", "next", "held", "ended", "percent=50")


@pytest.mark.parametrize("end", ENDS)
def test_each_end_has_its_code_for_each_goal(end: str, wait: Run, admin: Admin, component: str) -> None:
    """The table of the ways in which a release can end or get stuck, on a real server."""
    happens, release, text = ENDS[end]
    codes = list(map(int, text.split()))
    happens(admin, component)

    ran = [
        wait(release, "--until", goal, "--timeout", "1s" if code == 124 else "60s")
        for goal, code in zip(GOALS, codes, strict=True)
    ]

    assert [each.code for each in ran] == codes
    assert all(each.err.startswith("rampd: ") for each in ran if each.code)


def test_a_release_that_was_reverted_is_said_to_be(wait: Run, admin: Admin, component: str) -> None:
    reverted(admin, component)

    ran = wait("t2", "-o", "json")

    error = json.loads(ran.err)
    assert (ran.code, error["reason"]) == (4, "REVERTED")
    assert "t2 is RETIRED: reverted to t1 by ada." in error["message"]


@pytest.mark.parametrize("output", ["plain", "json"])
def test_it_ends_with_the_program_that_reads_it(server: RampdServer, admin: Admin, component: str, output: str) -> None:
    """Given a reader that has read enough and a release where nothing happens any more, expect the end."""
    words = (sys.executable, "-m", "rampd_cli", "--server", server.target, "wait", component, "t3", "-o", output)
    reader = "head -1" if output == "plain" else "true"
    line = f"{shlex.join(words)} | {reader}; exit ${{PIPESTATUS[0]}}"

    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False)

    assert (ended.returncode, ended.stderr) == (141, "")
    assert ended.stdout.count("\n") == (output == "plain")


def test_a_pause_by_automation_ends_it_and_a_pause_by_a_person_does_not(
    wait: Run, admin: Admin, component: str
) -> None:
    admin.pause(component, note="lunch")
    assert wait("--timeout", "0.2s").code == 124
    admin.resume(component)
    # The server has no source for checks, so the check gets an error and pauses.
    check = v1.Check(name="slow", query="up", max=1, interval=Duration(seconds=1), errors_allowed=0)
    admin.set_policy(component, v1.Policy(checks=[check]))
    admin.ramp(component, 5)

    ran = wait("--timeout", "100s")

    assert (ran.code, ran.rows[-1][4]) == (4, "PAUSED")
    assert "The check slow got no answer" in ran.err
    assert "--keep-waiting" in ran.err
    assert wait("--timeout", "0.2s", "--keep-waiting").code == 124


def test_a_component_that_is_deleted_ends_it(server: RampdServer, admin: Admin, component: str, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with in_pipe("--server", server.target, "wait", component, errors=errors) as waits:
        waits.has(1)
        admin.delete_component(component, confirm=component)
        assert waits.ends() == 4

    assert errors.read_text().startswith(f"rampd: t2 (release 2 of {component}) does not exist any more. ")


def test_the_end_of_the_time_has_the_code_124(wait: Run, admin: Admin) -> None:
    # A busy machine may need more time for the first answer than the first tries give.
    for limit in ("0.3s", "3s", "30s"):
        ran = wait("t3", "--timeout", limit)
        assert ran.code == 124
        if "t3 waits" in ran.err:
            break
    assert ran.err.startswith("rampd: The time is over, and t3 (release 3 of c")
    assert "is not current. t3 waits at position 1" in ran.err
    assert json.loads(wait("t3", "--timeout", "0.3s", "-o", "json").err)["reason"] == "TIMED_OUT"


@pytest.mark.parametrize("options", [[], ["--timeout", "0.3s"], ["--timeout", "2h"]])
def test_no_server_has_the_code_3(run: Run, options: list[str]) -> None:
    assert run("--server", "127.0.0.1:1", "wait", "restyler", *options).code == 3


def test_what_does_not_exist_is_refused(wait: Run, run: Run, admin: Admin, server: RampdServer) -> None:
    ran = wait("t9")
    assert (ran.code, ran.out) == (1, "")
    assert "no release t9" in ran.err
    assert run("wait", "nobody", "--server", server.target).code == 1


@pytest.mark.parametrize("words", [["--until", "never"], ["--until", "percent=0"], ["--timeout", "soon"]])
def test_what_makes_no_sense_has_the_code_2(run: Run, words: list[str]) -> None:
    assert run("wait", "restyler", *words).code == 2


def test_a_tag_that_is_the_number_of_another_release_is_refused(wait: Run, admin: Admin, component: str) -> None:
    admin.release(component, "1")
    ran = wait("1")
    assert ran.code == 2
    assert "'#4' for the tag, or '#1' for the number" in ran.err


def test_each_change_is_a_line_until_ctrl_c(server: RampdServer, admin: Admin, component: str) -> None:
    with in_pipe("--server", server.target, "wait", component, "t2") as waits:
        waits.has(1)
        admin.ramp(component, 12.5)
        eventually(lambda: "\tROLLING_OUT\t12.5\t" in waits.lines[-1])
        assert waits.interrupt() == 130
    assert "\tROLLING_OUT\t0\t" in waits.lines[0]
    assert len(waits.lines) == len({line.partition("\t")[2] for line in waits.lines})


def test_a_held_release_is_waited_for_if_somebody_asks_so(server: RampdServer, admin: Admin, component: str) -> None:
    admin.rollback(component)
    with in_pipe("--server", server.target, "wait", component, "t2", "--keep-waiting", "-o", "json") as waits:
        admin.finalize(component, force=True)
        assert waits.ends() == 0
    assert json.loads("".join(waits.lines))["state"] == "RELEASE_STATE_CURRENT"


def test_a_restart_of_the_server_is_survived(directory: Path, tmp_path: Path) -> None:
    errors, address = tmp_path / "errors", free_address()
    with contextlib.ExitStack() as stack:
        with testing.run(directory, listen=address) as target, Admin(target) as admin:
            admin.release("restyler", "t1")
            admin.release("restyler", "t2")
            words = ("--server", target, "wait", "restyler", "--until", "percent=50")
            waits = stack.enter_context(in_pipe(*words, errors=errors))
            waits.has(1)
        eventually(lambda: "rampd: This server stops. rampd tries again until a server answers." in errors.read_text())
        with testing.run(directory, listen=target), Admin(target) as admin:
            admin.ramp("restyler", 50)
            assert waits.ends() == 0
    assert "\tROLLING_OUT\t50\t" in waits.lines[-1]
    assert errors.read_text().endswith("rampd: a server answers again.\n")
    assert len(errors.read_text().split("rampd: ")) == 3


def test_a_server_that_does_not_come_back_is_said_at_the_end_of_the_time(directory: Path, tmp_path: Path) -> None:
    # A busy machine may need more time to stop the server than the first try gives.
    for limit in ("15s", "100s"):
        told = told_without_server(directory, tmp_path / "errors", limit)
        if "no server answers" in told:
            break
    assert told.startswith("rampd: The time is over, and no server answers, so nobody knows whether t2 (release 2 of")


def told_without_server(directory: Path, errors: Path, limit: str) -> str:
    """What is said at the end of a time in which the server was stopped."""
    with contextlib.ExitStack() as stack:
        with testing.run(directory) as target, Admin(target) as admin:
            admin.release("restyler", "t1")
            admin.release("restyler", "t2")
            words = ("--server", target, "wait", "restyler", "--timeout", limit)
            waits = stack.enter_context(in_pipe(*words, errors=errors))
            waits.has(1)
        assert waits.ends() == 124
    return errors.read_text().splitlines()[-1]


def test_a_terminal_has_a_live_view_that_stays_at_the_end(server: RampdServer, admin: Admin, component: str) -> None:
    with on_terminal("--server", server.target, "wait", component, "--until", "percent=50") as terminal:
        here = terminal.shows(f"{component} t2 (release 2), until it is at 50 %")
        admin.ramp(component, 10)
        here = terminal.shows("10 %  rolling out", after=here)
        admin.ramp(component, 50)
        terminal.shows("50 %  rolling out", after=here)
        assert terminal.ends() == 0
    assert ALTERNATE_SCREEN not in terminal.raw
    assert terminal.raw.rindex(CURSOR) > terminal.raw.rindex("\x1b[?25l")


def test_a_program_on_a_terminal_gets_the_release_and_the_person_the_way_there(
    server: RampdServer, admin: Admin, component: str
) -> None:
    words = ("--server", server.target, "wait", component, "-o", "json")
    with on_terminal(*words) as terminal:
        terminal.shows("until it is current")
        terminal.types("\x03")
        assert terminal.ends() == 130
    assert terminal.raw.rindex(CURSOR) > terminal.raw.rindex("\x1b[?25l")


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_shows_where_the_release_is(width: int) -> None:
    drawn: list[Text] = []
    for state, found in SEEN.items():
        shown = v1.WatchReleaseResponse()
        shown.CopyFrom(found)
        shown.message = (
            f"t2: {state}. It holds at 10 %: 12 min to go and 140 of 200 jobs reported, and nobody has to act."
        )
        goal, lost = Goal("percent", 50), "Can't reach 127.0.0.1:50051." if state == "current" else ""
        drawn += lines(shown, goal, waited=timedelta(minutes=3, seconds=5), lost=lost, width=width, is_ascii=False)
        drawn.append(Text())
    text = printed(drawn, width)
    assert max(map(len, text.splitlines())) <= width
    assert_golden(f"wait-{width}", text)


def test_no_text_of_the_server_is_more_than_text() -> None:
    hostile = "a\x1b[2Jb\r\nc\u202ed"
    shown = v1.WatchReleaseResponse(
        message=hostile, release=v1.Release(tag=hostile), rollout=v1.Rollout(component=hostile)
    )
    drawn = lines(shown, Goal("next"), waited=timedelta(), lost="", width=1000, is_ascii=False)
    assert all(line.plain.isprintable() for line in drawn)
    assert sum(line.plain.count(r"a\u001b[2Jb\r\nc\u202ed") for line in drawn) == 3


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_terminal_that_can_not_be_drawn_on_gets_a_line_for_each_change(
    server: RampdServer, admin: Admin, component: str, output: str
) -> None:
    words = ("--server", server.target, "-o", output, "wait", component, "--until", "percent=50")
    with on_terminal(*words, environment={"TERM": "dumb"}) as terminal:
        here = terminal.shows("  t2 is at 0 %.")
        admin.ramp(component, 10)
        here = terminal.shows("  t2 is at 10 %.", after=here)
        admin.ramp(component, 50)
        here = terminal.shows("  t2 is at 50 %.", after=here)
        assert terminal.ends() == 0
    assert ("RELEASE_STATE_NEXT" in terminal.text) == (output == "json")
    assert "\x1b" not in terminal.raw


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_restores_the_terminal(
    admin: Admin, server: RampdServer, component: str, number: signal.Signals
) -> None:
    with on_terminal("--server", server.target, "wait", component, "--until", "percent=50") as terminal:
        terminal.shows("rolling out")
        terminal.process.send_signal(number)
        code = terminal.ends()

    assert code == 128 + number
    assert terminal.raw.rindex(CURSOR) > terminal.raw.rindex("\x1b[?25l")
