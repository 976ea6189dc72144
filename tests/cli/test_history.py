"""`rampd history`: who changed what, in one component or in all, now and from now on."""

import contextlib
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from rampd import Admin, v1
from rampd._standing.clock import Clock
from rampd.testing import RampdServer
from rampd_cli.arguments import PAST
from rampd_cli.history.event_row import row
from rampd_cli.history.event_view import drawn, width_of_times
from rampd_server import testing
from tests.cli.conftest import Run
from tests.cli.golden import assert_golden, printed
from tests.cli.terminal import in_pipe
from tests.ports import free_address
from tests.rpc.scripted_server import scripted_server
from tests.waiting import PATIENCE_S, eventually

NOW = datetime(2026, 11, 27, 14, 5, 3, tzinfo=UTC)
HOSTILE = "a\x1b[2Jb\r\nc\u202ed[red]e\x9b1mf"
ESCAPED = r"a\u001b[2Jb\r\nc\u202ed[red]e\u009b1mf"


def event(action: str, *changes: tuple[str, str | None, str | None], ago_s: int = 60, **fields: object) -> v1.Event:
    made = v1.Event(component="restyler", actor="ada", actor_claimed=True, action=action, revision=7, **fields)
    made.time.FromDatetime(NOW - timedelta(seconds=ago_s))
    made.id = f"{made.time.ToMilliseconds()}-1"
    for field, before, after in changes:
        made.changes.add(field=field, before=before, after=after)
    return made


EVENTS = [
    event("Release", ("queue", None, "3"), ("release/3", None, "20200410 QUEUED"), ago_s=400 * 86_400),
    event("BatchSetOverrides", count=1200, ago_s=86_400),
    event("Ramp", ("next_percent", "10", "25"), note="The first step went well. " * 8),
    event("Freeze", ("freeze", None, "by ada"), ago_s=1),
]
EVENTS[3].component = ""


def looks(events: list[v1.Event], width: int) -> str:
    clock = Clock(NOW, is_utc=True)
    console = Console(width=width)
    times = width_of_times(events, clock)
    return printed([line for each in events for line in drawn(each, clock, console, times)], width)


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_each_event_in_a_line_with_its_changes_beneath(width: int) -> None:
    text = looks(EVENTS, width)
    assert max(map(len, text.splitlines())) <= width
    assert_golden(f"history-{width}", text)


def test_no_text_of_an_event_is_more_than_text() -> None:
    hostile = event(HOSTILE, (HOSTILE, HOSTILE, HOSTILE), note=HOSTILE, id=HOSTILE)
    hostile.actor = hostile.component = HOSTILE
    text = looks([hostile], 1000)
    assert text.count(ESCAPED) == 7
    assert text.replace("\n", "").isprintable()


def test_a_row_has_the_changes_in_words() -> None:
    assert row(EVENTS[2])[0:5] == ("2026-11-27T14:04:03Z", "restyler", "ada", "yes", "Ramp")
    assert row(EVENTS[2])[6:8] == ("next_percent: 10 -> 25", "7")
    assert row(EVENTS[0])[6] == "queue: none -> 3; release/3: none -> 20200410 QUEUED"
    assert row(EVENTS[1])[6] == "1,200 overrides"


@pytest.fixture
def three(rampd: Run, rampd_server: RampdServer) -> Run:
    """A server with two components and a freeze of everything."""
    rampd("release", "restyler", "1.0")
    rampd("release", "mailer", "2.0", "--note", "hotfix")
    rampd_server.admin().freeze(all=True, note="holidays")
    return rampd


def test_the_history_of_everything_ends_with_the_newest_event_in_each_form(three: Run) -> None:
    ran = three("history")

    assert [(row[1], row[4], row[5]) for row in ran.rows] == [
        ("restyler", "Release", ""),
        ("mailer", "Release", "hotfix"),
        ("", "Freeze", "holidays"),
    ]
    assert [each["action"] for each in three("history", "-o", "json").json["events"]] == [
        "Release",
        "Release",
        "Freeze",
    ]
    table = three("history", "-o", "table").out
    assert [
        word for line in table.splitlines() for word in ("restyler", "mailer", "all components") if word in line
    ] == [
        "restyler",
        "mailer",
        "all components",
    ]
    assert three("history", "-o", "yaml").out.startswith("events:\n- ")
    assert [row[1] for row in three("history", "mailer").rows] == ["mailer"]


def test_a_limit_and_a_time_choose_the_newest_events(three: Run) -> None:
    assert [row[4] for row in three("history", "--limit", "1").rows] == ["Freeze"]
    assert "Earlier events: --limit 20, or --since 7d." in three("history", "--limit", "1", "-o", "table").out
    with_since = three("history", "--limit", "1", "--since", "1h", "-o", "table").out
    assert "Earlier events: --limit 20." in with_since
    assert len(three("history", "--since", "1h").rows) == 3
    assert three("history", "--since", "0s").rows == []
    assert three("history", "--since", "0s", "-o", "json").json == {"events": []}
    assert three("history", "--since", "0s", "-o", "table").out == "No events.\n"


def test_what_is_no_component_is_refused(rampd: Run) -> None:
    ran = rampd("history", "restyler")
    assert (ran.code, ran.out) == (1, "")
    assert "COMPONENT_NOT_FOUND" in ran.err
    assert rampd("history", "restyler", "--follow").code == 1


@pytest.mark.parametrize("text", ["", "tomorrow", "25:00", "99999999999d"])
def test_what_is_no_time_is_a_mistake_of_usage(run: Run, text: str) -> None:
    ran = run("history", f"--since={text}")
    assert ran.code == 2
    assert "not a time in the past" in ran.err or "too long" in ran.err


def test_a_time_of_day_is_the_last_one() -> None:
    two_hours_ago = PAST.convert("2h", None, None)
    for text in (f"{hour:02}:30" for hour in range(24)):
        found = PAST.convert(text, None, None)
        assert timedelta() <= datetime.now(UTC) - found <= timedelta(days=1, hours=1)
    assert timedelta(hours=2) <= datetime.now(UTC) - two_hours_ago < timedelta(hours=2, minutes=5)


def test_no_server_at_the_start_ends_it(run: Run) -> None:
    assert run("--server", "127.0.0.1:1", "history", "--follow").code == 3


def test_following_goes_on_over_a_restart_of_the_server(directory: Path, tmp_path: Path) -> None:
    """Given events before and after the server was gone, expect each of them once and in order, until Ctrl-C."""
    errors, address = tmp_path / "errors", free_address()
    with contextlib.ExitStack() as stack:
        with testing.run(directory, listen=address) as target, Admin(target) as admin:
            admin.release("restyler", "1.0")
            words = ("--server", target, "history", "--follow")
            follows = stack.enter_context(in_pipe(*words, errors=errors))
            follows.has(1)
            admin.release("mailer", "2.0")
            follows.has(2)
        eventually(lambda: ". rampd tries again until a server answers." in errors.read_text())
        with testing.run(directory, listen=target), Admin(target) as admin:
            admin.release("restyler", "3.0")
            admin.release("mailer", "4.0")
            follows.has(4)
            eventually(lambda: "rampd: a server answers again." in errors.read_text())
            assert follows.interrupt() == 130

    assert [tag_of(line) for line in follows.lines] == ["1.0", "2.0", "3.0", "4.0"]
    assert len(errors.read_text().split("rampd: ")) == 3


def tag_of(line: str) -> str:
    """The tag that an event has released."""
    released = re.search(r"release/\d+: none -> (\S+)", line)
    assert released is not None
    return released[1]


def test_following_ends_with_the_program_that_reads_it(rampd_server: RampdServer) -> None:
    """Given `| head -1` and a server where nothing happens any more, expect the end."""
    rampd_server.admin().release("restyler", "1.0")
    words = [sys.executable, "-m", "rampd_cli", "--server", rampd_server.target, "history", "--follow"]
    line = f"{shlex.join(words)} | head -1; exit ${{PIPESTATUS[0]}}"

    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (ended.returncode, ended.stderr) == (141, "")
    assert ended.stdout.count("\n") == 1


def test_a_history_that_is_damaged_is_named_and_the_others_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    damage = v1.Damage(key="rampd:{default}:mailer:history", problem="It is not a stream.\x1b[2J")
    with scripted_server() as server:
        monkeypatch.setenv("RAMPD_SERVER", server.target)
        server.answers["ListEvents"] = [v1.ListEventsResponse(events=EVENTS[1:2], damage=[damage])]
        ran = run("history")

    assert (ran.code, len(ran.rows)) == (0, 1)
    assert ran.err == "rampd: rampd:{default}:mailer:history is left out: It is not a stream.\\u001b[2J\n"
