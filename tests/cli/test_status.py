"""`rampd status` against a real server."""

import asyncio
import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from rampd import Admin, v1
from rampd.testing import RampdServer
from rampd_cli.commands.status import COLUMNS
from rampd_cli.status.rows import row
from rampd_server.testing import run as server_on
from tests.cli.conftest import RAMPD, Run
from tests.cli.terminal import ALTERNATE_SCREEN, CURSOR, NORMAL_SCREEN, in_pipe, on_terminal
from tests.damaging import damage, make_servers_read_again
from tests.servers import rampd_server as server_process
from tests.servers import short_directory
from tests.stores import VALKEY, StoreServer, store_server
from tests.waiting import eventually


def cells(row: list[str]) -> dict[str, str]:
    return dict(zip(COLUMNS, row, strict=True))


def prepare(rampd: Run) -> None:
    """`billing` is HELD, `mailer` is steady, and `restyler` is at 25 % with a release in the queue."""
    for component, *tags in (("mailer", "7"), ("restyler", "1.0", "2.0", "3.0"), ("billing", "a", "b")):
        for tag in tags:
            assert rampd("release", component, tag).code == 0
    assert rampd("ramp", "restyler", "25").code == 0
    assert rampd("ramp", "billing", "50").code == 0
    assert rampd("rollback", "billing", "--note", "errors\tin the log").code == 0


def test_a_pipe_gets_a_line_for_each_component_with_the_documented_columns(rampd: Run) -> None:
    prepare(rampd)

    ran = rampd("status")

    assert (ran.code, ran.err) == (0, "")
    billing, mailer, restyler = map(cells, ran.rows)
    assert (billing["component"], billing["state"], billing["percent"]) == ("billing", "HELD", "0")
    assert billing["reason"].endswith(r"errors\tin the log")
    assert (mailer["state"], mailer["current"], mailer["next"], mailer["percent"]) == ("STEADY", "7", "", "")
    assert (restyler["current"], restyler["next"], restyler["percent"]) == ("1.0", "2.0", "25")
    assert (restyler["queue"], restyler["next_jobs"]) == ("1", "0")


def test_only_a_channel_whose_own_tag_is_in_quarantine_is_said_to_be(rampd: Run) -> None:
    prepare(rampd)
    assert rampd("quarantine", "add", "billing", "c").code == 0
    assert "quarantine" not in rampd("status", "-o", "table").out
    assert "Quarantine c\n" in rampd("status", "billing", "-o", "table").out

    assert rampd("quarantine", "add", "billing", "b").code == 0
    assert rampd("quarantine", "add", "restyler", "3.0").code == 0
    assert rampd("quarantine", "add", "mailer", "7").code == 0

    out = rampd("status", "-o", "table").out
    assert "rampd quarantine remove billing b && rampd ramp billing PERCENT" in out.replace("\n      ", " ")
    assert "7 is in quarantine and current: jobs run it." in out
    assert "quarantine remove restyler" not in out
    assert [row[2] for row in rampd("status").rows] == ["", "quarantine", ""]


def test_a_pipe_has_the_components_by_name_and_a_screen_has_the_most_urgent_first(rampd: Run) -> None:
    prepare(rampd)
    assert rampd("quarantine", "add", "mailer", "7").code == 0
    by_name = ["billing", "mailer", "restyler"]

    out = rampd("status", "-o", "table").out

    assert [row[0] for row in rampd("status").rows] == by_name
    assert [each["component"] for each in rampd("status", "-o", "json").json["rollouts"]] == by_name
    assert out.index("  mailer") < out.index("  billing") < out.index("  restyler")


def test_json_and_yaml_are_the_messages_of_the_api(rampd: Run, rampd_server: RampdServer) -> None:
    prepare(rampd)

    everything = rampd("status", "-o", "json").json["rollouts"]
    one = rampd("status", "restyler", "-o", "yaml")

    assert [each["component"] for each in everything] == ["billing", "mailer", "restyler"]
    assert everything[0]["heldReason"].endswith(r"errors\tin the log")
    assert everything[2]["state"] == "ROLLOUT_STATE_ROLLING_OUT"
    [rollout] = yaml.safe_load(one.out)["rollouts"]
    assert (rollout["next"]["tag"], rollout["nextPercent"], rollout["revision"]) == ("2.0", 25.0, "4")
    assert rampd_server.admin().get_rollout("restyler").revision == 4


def test_the_screen_begins_with_what_is_held_and_ends_with_what_is_steady(rampd: Run) -> None:
    prepare(rampd)

    out = rampd("status", "-o", "table").out

    assert out.startswith("3 components: 1 HELD, 1 rolling out, 1 steady.\n")
    assert out.index("  billing") < out.index("  restyler") < out.index("  mailer 7")
    assert "rampd abandon billing" in out


def test_an_empty_server_names_the_command_to_type_first(rampd: Run) -> None:
    assert "rampd release COMPONENT TAG" in rampd("status", "-o", "table").out
    assert rampd("status", "-o", "json").json == {"rollouts": []}
    assert rampd("status").out == ""


def test_an_unknown_component_is_refused_with_the_names_that_are_like_it(rampd: Run) -> None:
    prepare(rampd)

    ran = rampd("status", "mailer", "restylre")

    assert (ran.code, ran.out) == (1, "")
    assert "Did you mean restyler? (COMPONENT_NOT_FOUND)" in ran.err
    assert "Did you mean" not in rampd("status", "quite-another").err


def test_several_components_come_one_after_the_other_as_they_were_given(rampd: Run) -> None:
    prepare(rampd)

    out = rampd("status", "mailer", "billing", "-o", "table").out

    assert out.startswith("mailer  steady  since ")
    assert "\n\nbilling  HELD  since " in out


def test_one_component_shows_what_automation_waits_for_and_when_the_next_step_comes(
    rampd: Run, rampd_server: RampdServer
) -> None:
    admin = rampd_server.admin(actor="ada")
    admin.release("restyler", "1.0")
    steps = [v1.Step(percent=10, min_jobs=5), v1.Step(percent=50)]
    steps[0].hold.FromSeconds(7_200)
    admin.set_policy("restyler", v1.Policy(auto_start=True, steps=steps))
    admin.release("restyler", "2.0")
    admin.set_override("restyler", "acme/app", tag="pb/x")
    admin.quarantine("restyler", "0.9")

    def seen() -> str:
        return rampd("status", "restyler", "-o", "table").out.replace("\n           ", " ")

    eventually(lambda: "0 of 5 jobs reported." in seen(), within_s=100)
    out = seen()
    assert "▶ 10 % for 2 h and 5 jobs" in out
    assert "Next       50 % at " in out
    assert "Overrides  1: 1 to a tag" in out
    assert "Quarantine 0.9" in out
    assert "rampd  Step" in out


def test_jobs_and_failures_of_both_channels_are_counted(rampd: Run, rampd_server: RampdServer) -> None:
    prepare(rampd)
    resolver = rampd_server.resolver()
    for number in range(40):
        with pytest.raises(RuntimeError), resolver.job("restyler", repo=f"acme/{number}", min_revision=4):
            raise RuntimeError
    resolver.close()

    row = cells(rampd("status", "restyler").rows[0])

    assert int(row["current_jobs"]) + int(row["next_jobs"]) == 40
    assert (row["current_failures"], row["next_failures"]) == (row["current_jobs"], row["next_jobs"])
    assert int(row["next_jobs"]) > 0
    assert "100 % → 100 %" in rampd("status", "-o", "table").out


def test_all_forms_have_the_jobs_of_a_current_that_fails_and_a_new_next_hides_nothing(
    rampd: Run, rampd_server: RampdServer
) -> None:
    rampd("release", "restyler", "1.0")
    resolver = rampd_server.resolver()
    for number in range(20):
        with pytest.raises(RuntimeError), resolver.job("restyler", repo=f"acme/{number}"):
            raise RuntimeError
    resolver.close()
    for tag in ("1.0", "2.0"):
        assert rampd("release", "restyler", tag).code == 0

        row = cells(rampd("status").rows[0])
        assert [row[f"{each}_{kind}"] for each in ("all_current", "recent") for kind in ("jobs", "failures")] == [
            "20"
        ] * 4
        [rollout] = rampd("status", "-o", "json").json["rollouts"]
        assert rollout["currentOutcomes"]["recent"]["failures"] == "20"
        out = rampd("status", "-o", "table").out
        assert "restyler  1.0  20 of 20 failed (100 %) since " in out
        assert "to look closer: rampd status restyler" in out
        one = rampd("status", "restyler", "-o", "table").out
        assert "Jobs of current fail more often than usual: 20 of 20 failed (100 %) since " in one.replace(
            "\n           ", " "
        )


def test_one_component_is_judged_by_what_is_usual_among_all_as_in_the_list(
    rampd: Run, rampd_server: RampdServer
) -> None:
    for component in "abcde":
        assert rampd("release", component, "1.0").code == 0
    resolver = rampd_server.resolver()
    for component in "abcde":
        for number in range(20):
            with resolver.job(component, repo=f"acme/{number}") as job:
                job.failed()
    resolver.close()

    for words in ([], ["a"]):
        assert "more often" not in rampd("status", *words, "-o", "table").out


def test_a_state_of_a_later_server_is_shown_by_its_number() -> None:
    rollout = v1.Rollout(component="restyler", state=42)  # type: ignore[arg-type]  # what no version here knows

    assert cells(list(row(rollout)))["state"] == "42"


async def break_it(server: StoreServer, component: str) -> None:
    store = server.store()
    await damage(store, component, "rollout", "current")
    await make_servers_read_again(store, component)
    await store.close()


def test_a_damaged_component_is_shown_with_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with short_directory() as directory, store_server(VALKEY) as store, server_on(directory, store.url) as target:
        monkeypatch.setenv("RAMPD_SERVER", target)
        run("release", "restyler", "1.0")
        run("release", "mailer", "1.0")
        asyncio.run(break_it(store, "restyler"))
        eventually(lambda: run("status").rows[-1][2] == "damage", within_s=60)

        everything, one = run("status", "-o", "table"), run("status", "restyler", "-o", "table")

    assert "1 waits for a person, 1 steady" in everything.out
    assert everything.out.index("restyler") < everything.out.index("mailer")
    assert one.code == 0
    assert one.out.startswith("restyler  damaged\n")
    assert "current" in one.out


# --watch


def test_a_watch_ends_with_its_reader_though_nothing_changes(rampd: Run, rampd_server: RampdServer) -> None:
    """`rampd status --watch | head -1`"""
    prepare(rampd)
    words = [*RAMPD, "status", "--watch", "mailer"]
    environment = {**os.environ, "RAMPD_SERVER": rampd_server.target}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            assert watching.stdout.readline().startswith("mailer\t")
            watching.stdout.close()

            assert (watching.wait(60), watching.stderr.read()) == (141, "")
        finally:
            watching.kill()


def test_a_watch_in_a_pipe_writes_a_line_for_each_change_and_survives_a_restart(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with short_directory() as directory, ExitStack() as stack:
        server = stack.enter_context(server_process(directory))
        server.event("listening")
        socket = f"unix:{server.socket}"
        admin = stack.enter_context(Admin(socket, timeout=60))
        admin.release("restyler", "1.0")
        watching = stack.enter_context(
            in_pipe("status", "--watch", environment={"RAMPD_SERVER": socket}, errors=errors)
        )
        assert watching.has(1)[0].startswith("restyler\tSTEADY\t\t1.0\t")

        admin.release("restyler", "2.0")
        assert watching.has(2)[1].startswith("restyler\tROLLING_OUT\t\t1.0\t2.0\t0\t")

        server.stop()
        eventually(lambda: "connection lost" in errors.read_text())
        stack.enter_context(server_process(directory)).event("listening")
        eventually(lambda: "connected again" in errors.read_text())

        admin.rollback("restyler")
        assert watching.has(3)[2].startswith("restyler\tHELD\t\t1.0\t2.0\t0\t")
        assert watching.interrupt() == 130
        assert len(watching.lines) == 3


def test_a_watch_on_a_terminal_is_live_says_when_the_server_is_gone_and_restores_the_terminal() -> None:
    with short_directory() as directory, ExitStack() as stack:
        server = stack.enter_context(server_process(directory))
        server.event("listening")
        socket = f"unix:{server.socket}"
        admin = stack.enter_context(Admin(socket, timeout=60))
        admin.release("restyler", "1.0")
        terminal = stack.enter_context(on_terminal("status", "--watch", environment={"RAMPD_SERVER": socket}))
        here = terminal.shows("1 component: 1 steady.")

        admin.release("restyler", "2.0")
        here = terminal.shows("Rolling out", after=here)
        terminal.resize(40, 20)
        here = terminal.shows("    rolling out", after=here)

        server.stop()
        here = terminal.shows("Connection lost, as of ", after=here)
        stack.enter_context(server_process(directory)).event("listening")
        here = terminal.shows("Ctrl-C ends.", after=here)

        admin.rollback("restyler")
        terminal.shows("    HELD", after=here)
        terminal.types("\x03")
        assert terminal.ends() == 130
        assert terminal.raw.count(ALTERNATE_SCREEN) == terminal.raw.count(NORMAL_SCREEN) == 1
        assert terminal.raw.rindex(CURSOR) > terminal.raw.rindex("\x1b[?25l")


def test_a_watch_that_is_killed_restores_the_terminal(rampd_server: RampdServer) -> None:
    rampd_server.admin().release("restyler", "1.0")
    with on_terminal("status", "restyler", "--watch", environment={"RAMPD_SERVER": rampd_server.target}) as terminal:
        terminal.shows("restyler  steady")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ends() == 128 + signal.SIGTERM
    assert terminal.raw.rindex(NORMAL_SCREEN) > terminal.raw.rindex(ALTERNATE_SCREEN)


def test_a_terminal_that_can_not_be_drawn_on_gets_a_line_for_each_change(rampd_server: RampdServer) -> None:
    admin = rampd_server.admin()
    admin.release("restyler", "1.0")
    where = {"RAMPD_SERVER": rampd_server.target, "TERM": "dumb"}
    with on_terminal("status", "--watch", environment=where) as terminal:
        here = terminal.shows("restyler\tSTEADY")
        admin.release("restyler", "2.0")
        terminal.shows("restyler\tROLLING_OUT", after=here)
        terminal.types("\x03")
        assert terminal.ends() == 130
    assert "\x1b" not in terminal.raw


def test_a_watch_of_an_unknown_component_ends_at_once(rampd: Run) -> None:
    assert rampd("status", "restyler", "--watch").code == 1


def test_colours_are_left_out_if_NO_COLOR_is_set(rampd_server: RampdServer) -> None:  # noqa: N802
    rampd_server.admin().release("restyler", "1.0")
    for environment, has_colours in (({}, True), ({"NO_COLOR": "1"}, False)):
        with on_terminal("status", environment={"RAMPD_SERVER": rampd_server.target, **environment}) as terminal:
            assert terminal.ends() == 0
        assert "restyler" in terminal.text
        assert ("\x1b[32m" in terminal.raw) is has_colours
