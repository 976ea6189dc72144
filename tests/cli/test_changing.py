"""Every command that changes something, against a real server."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from rampd import Admin, Resolver
from rampd.testing import RampdServer
from rampd_cli.drawing.paragraph import say
from tests.cli.conftest import AtTerminal, Run
from tests.cli.terminal import in_pipe
from tests.waiting import eventually


@pytest.fixture
def admin(shared_server: RampdServer) -> Admin:
    return shared_server.admin()


@pytest.fixture
def ramping(cli: Run, component: str) -> str:
    """A component whose next, 2.0, is at 10 %, and where 3.0 waits."""
    for tag in ("1.0", "2.0", "3.0"):
        assert cli("release", component, tag).code == 0
    assert cli("ramp", component, "10").code == 0
    return component


def state(admin: Admin, component: str) -> dict[str, Any]:
    rollout = admin.get_rollout(component)
    return {
        "current": rollout.current.tag,
        "next": rollout.next.tag,
        "percent": rollout.next_percent,
        "queue": [each.tag for each in rollout.queue],
        "held": bool(rollout.held_reason),
        "paused": rollout.paused,
        "frozen": rollout.frozen,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pause"], {"paused": True}),
        (["rollback"], {"held": True, "percent": 0}),
        (["finalize"], {"current": "2.0", "next": "3.0"}),
        (["finalize", "--tag", "2.0"], {"current": "2.0"}),
        (["abandon"], {"current": "1.0", "next": "3.0"}),
        (["abandon", "--tag", "2.0", "--quarantine"], {"next": "3.0"}),
        (["freeze"], {"frozen": True}),
        (["freeze", "--for", "2h"], {"frozen": True}),
        (["freeze", "--until", "2099-01-01T09:00Z"], {"frozen": True}),
        (["ramp", "25", "--confirm-within", "15m"], {"percent": 25}),
    ],
    ids=" ".join,
)
def test_a_command_does_what_its_verb_does(
    cli: Run, admin: Admin, ramping: str, words: list[str], expected: dict[str, Any]
) -> None:
    verb, *rest = words

    ran = cli(verb, ramping, *rest)

    assert (ran.code, ran.err, ran.rows[0][:3]) == (0, "", [ramping, "yes", "5"])
    assert state(admin, ramping).items() >= expected.items()


def test_what_is_undone_is_as_before(cli: Run, admin: Admin, ramping: str) -> None:
    before = state(admin, ramping)
    for words in (
        ["pause"],
        ["resume"],
        ["freeze"],
        ["unfreeze"],
        ["ramp", "20", "--confirm-within", "1h"],
        ["confirm"],
    ):
        verb, *rest = words
        assert cli(verb, ramping, *rest).rows[0][1] == "yes"

    assert state(admin, ramping) == {**before, "percent": 20}
    assert not admin.get_rollout(ramping).HasField("confirm_deadline")


def test_a_freeze_ends_when_it_was_asked_to(cli: Run, admin: Admin, ramping: str) -> None:
    cli("freeze", ramping, "--until", "2099-01-01T09:00Z")

    [freeze] = admin.get_rollout(ramping).freezes
    assert freeze.expire_time.ToJsonString() == "2099-01-01T09:00:00Z"


def test_revert_goes_back_and_leaves_the_tag_in_quarantine_unless_told_not_to(
    cli: Run, admin: Admin, ramping: str
) -> None:
    cli("finalize", ramping)
    cli("revert", ramping)

    assert state(admin, ramping)["current"] == "1.0"
    assert [row[0] for row in cli("quarantine", "list", ramping).rows] == ["2.0"]

    assert cli("quarantine", "remove", ramping, "2.0").rows[0][3] == "2.0 may be released again."
    assert cli("revert", ramping, "--to", "2.0", "--no-quarantine").code == 0
    assert state(admin, ramping)["current"] == "2.0"
    assert cli("quarantine", "list", ramping).rows == []


def test_quarantine_lists_who_did_it_and_why(cli: Run, ramping: str) -> None:
    cli("quarantine", "add", ramping, "9.9", "--note", "loses\tcomments", "--actor", "joe")

    [[tag, actor, time, note]] = cli("quarantine", "list", ramping).rows
    assert (tag, actor, note, time[-1]) == ("9.9", "joe", "loses\\tcomments", "Z")
    assert cli("quarantine", "add", ramping, "9.9").rows[0][1] == "no"


def test_an_override_is_set_listed_and_removed(cli: Run, ramping: str) -> None:
    cli("override", "set", ramping, "acme/app", "--tag", "pb/x", "--expires", "2099-01-01T00:00Z", "--note", "why")
    cli("override", "set", ramping, "acme/*", "--channel", "next", "--expires", "7d")
    cli("override", "set", ramping, "beta/app", "--channel", "current")

    assert [row[:3] for row in cli("override", "list", ramping).rows] == [
        ["acme/*", "next", ""],
        ["acme/app", "", "pb/x"],
        ["beta/app", "current", ""],
    ]
    [row] = cli("override", "list", ramping, "--prefix", "acme/a").rows
    assert row[3] == "2099-01-01T00:00:00Z"
    assert [each["repo"] for each in cli("-o", "json", "override", "list", ramping).json["overrides"]] == [
        "acme/*",
        "acme/app",
        "beta/app",
    ]

    assert cli("override", "remove", ramping, "acme/app").code == 0
    again = cli("override", "remove", ramping, "acme/app")
    assert (again.code, again.err.splitlines()[-1]) == (1, f"Next: rampd override list {ramping}")


def test_the_queue_is_listed_and_a_release_leaves_it_by_tag_or_by_number(cli: Run, ramping: str) -> None:
    cli("release", ramping, "4.0")

    assert [row[:3] for row in cli("queue", "list", ramping).rows] == [["1", "3", "3.0"], ["2", "4", "4.0"]]
    assert cli("queue", "cancel", ramping, "4.0").rows[0][1] == "yes"
    assert cli("queue", "cancel", ramping, "3").rows[0][1] == "yes"
    assert cli("queue", "list", ramping).rows == []

    assert cli("queue", "cancel", ramping, "4.0").rows[0][1] == "no"
    of_next = cli("queue", "cancel", ramping, "2.0")
    assert (of_next.code, of_next.err.splitlines()[-1]) == (1, f"Next, to drop next: rampd abandon {ramping}")
    unknown = cli("queue", "cancel", ramping, "nope", "-o", "json")
    assert (unknown.code, json.loads(unknown.err)["reason"]) == (1, "RELEASE_NOT_FOUND")


def test_a_cancel_is_told_as_every_other_change_is(cli: Run, person: AtTerminal, ramping: str) -> None:
    cli("release", ramping, "4.0")

    first = person("queue", "cancel", ramping, "3.0")
    assert first.text.splitlines() == [
        "3.0 is out of the queue. 4.0 waits at position 1: 2.0 is being rolled out.",
        "Finalize or Abandon ends that.",
        f"{ramping}: next 2.0 at 10 %, current 1.0, 1 release in the queue. Revision 6.",
    ]
    assert cli("queue", "cancel", ramping, "4.0").rows == [
        [ramping, "yes", "7", "4.0 is out of the queue. Nothing waits any more."]
    ]
    assert cli("queue", "cancel", ramping, "4.0").rows == [[ramping, "no", "7", "4.0 was cancelled already."]]
    assert cli("queue", "cancel", ramping, "2.0").err.splitlines() == [
        "rampd: 2.0 is next, not in the queue. Abandon drops it. (NOT_QUEUED)",
        f"Next, to drop next: rampd abandon {ramping}",
    ]
    assert cli("queue", "cancel", ramping, "nope").err.splitlines()[1:] == [f"Next: rampd queue list {ramping}"]


def test_a_number_that_is_also_a_tag_needs_to_be_told(cli: Run, component: str) -> None:
    for tag in ("a", "b", "c", "3"):
        cli("release", component, tag)

    unclear = cli("queue", "cancel", component, "3")

    assert (unclear.code, "'#4' for the tag" in unclear.err) == (2, True)
    assert cli("queue", "cancel", component, "#4").code == 0
    assert [row[2] for row in cli("queue", "list", component).rows] == ["c"]
    assert cli("queue", "cancel", component, "#3").code == 0
    assert cli("queue", "list", component).rows == []


def test_delete_needs_yes_without_a_terminal(cli: Run, admin: Admin, ramping: str) -> None:
    asked = cli("delete", ramping)

    assert (asked.code, asked.out, "--yes" in asked.err) == (2, "", True)
    assert state(admin, ramping)["current"] == "1.0"

    deleted = cli("delete", ramping, "--yes")
    assert (deleted.code, deleted.rows[0][:2]) == (0, [ramping, "yes"])
    assert cli("delete", ramping, "--yes").err.splitlines()[-1] == "Next: rampd status"


@pytest.mark.parametrize(
    "words", [["finalize", "--force"], ["release", "9.0", "--expedite"], ["revert", "--to", "0.1"]], ids=" ".join
)
def test_what_can_not_be_taken_back_needs_yes_without_a_terminal(cli: Run, component: str, words: list[str]) -> None:
    for tag in ("0.1", "0.2", "1.0"):
        cli("release", component, tag)
        cli("ramp", component, "100")
        cli("finalize", component)
    cli("release", component, "2.0")
    verb, *rest = words

    refused = cli(verb, component, *rest)
    done = cli(verb, component, *rest, "--yes")

    assert (refused.code, refused.out, "--yes" in refused.err, "Usage" in refused.err) == (2, "", True, False)
    assert (done.code, done.rows[0][1]) == (0, "yes")


def test_going_back_by_one_does_not_ask(cli: Run, ramping: str) -> None:
    cli("finalize", ramping)

    assert cli("revert", ramping, "--to", "1.0").rows[0][1] == "yes"


@pytest.mark.parametrize(
    ("words", "code", "last"),
    [
        (["ramp", "{c}", "10", "--tag", "9"], 1, "Next: rampd status {c}"),
        (["confirm", "{c}"], 1, "Next: rampd status {c}"),
        (["revert", "{c}"], 1, "Next, to take next away from everybody: rampd rollback {c}"),
        (["release", "{c}", "9.9"], 1, "Next: rampd quarantine list {c}"),
        (["ramp", "{c}", "20", "--expect-revision", "1"], 1, "Next: rampd status {c}"),
        (["ramp", "{c}", "110"], 2, None),
        (["ramp", "{c}", "ten"], 2, None),
        (["ramp", "{c}"], 2, None),
        (["freeze"], 2, None),
        (["freeze", "{c}", "--all"], 2, None),
        (["freeze", "{c}", "--for", "2h", "--until", "09:00"], 2, None),
        (["freeze", "{c}", "--for", "soon"], 2, None),
        (["freeze", "{c}", "--until", "1999-01-01"], 2, None),
        (["override", "set", "{c}", "acme/app"], 2, None),
        (["override", "set", "{c}", "acme/app", "--tag", "1", "--channel", "next"], 2, None),
        (["override", "set", "{c}", "a b", "--tag", "1"], 2, None),
        (["queue", "cancel", "{c}", "no-such"], 1, "Next: rampd queue list {c}"),
        (["release", "{c}", "no spaces"], 2, None),
        (["ramp", "no-such", "10"], 1, "Next: rampd status"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refusal_says_what_to_type_next(
    cli: Run, ramping: str, words: list[str], code: int, last: str | None
) -> None:
    cli("quarantine", "add", ramping, "9.9")

    ran = cli(*(word.format(c=ramping) for word in words))

    assert (ran.code, ran.out) == (code, "")
    assert ran.err
    if last is not None:
        assert ran.err.splitlines()[-1] == last.format(c=ramping)


def test_a_release_can_be_waited_for(cli: Run, admin: Admin, component: str) -> None:
    first = cli("release", component, "1.0", "--wait")
    admin.release(component, "2.0")
    admin.rollback(component)
    held = cli("release", component, "2.0", "--wait", "--timeout", "60s")
    late = cli("release", component, "3.0", "--wait", "--timeout", "1s")
    dry = cli("release", component, "4.0", "--wait", "--dry-run")

    assert (first.code, first.err) == (0, f"{component} is new: everybody gets 1.0.\n")
    assert (held.code, "(HELD)\nNext: rampd status" in held.err) == (4, True)
    assert (late.code, dry.code, dry.rows[0][1]) == (124, 0, "would")
    assert cli("release", component, "5.0", "--timeout", "1s").code == 2


def test_ctrl_c_while_a_release_is_waited_for_says_that_it_is_handed_in(
    cli: Run, admin: Admin, component: str, shared_server: RampdServer, tmp_path: Path
) -> None:
    admin.release(component, "1.0")
    errors = tmp_path / "errors"
    words = ("--server", shared_server.target, "release", component, "2.0", "--wait")
    with in_pipe(*words, errors=errors) as waits:
        waits.has(1)
        assert waits.interrupt() == 130

    handed_in, made = errors.read_text().splitlines()
    assert handed_in == "2.0 is next, at 0 %. Ramp raises it."
    request_id = made.removeprefix("The change is made (request id ").removesuffix(").")
    repeated = cli("release", component, "2.0", "--request-id", request_id, "-o", "json").json
    assert (repeated["replayed"], repeated["revision"]) == (True, "2")


@pytest.mark.parametrize("timeout", ["0s", "20000d"])
def test_a_release_with_a_wrong_timeout_is_not_handed_in(cli: Run, admin: Admin, component: str, timeout: str) -> None:
    ran = cli("release", component, "1.0", "--wait", "--timeout", timeout)

    assert (ran.code, "is too long to wait" in ran.err) == (2, True)
    assert component not in {each.component for each in admin.list_rollouts()}


def test_what_is_frozen_is_thawed_by_the_command_that_the_refusal_names(cli: Run, ramping: str) -> None:
    cli("freeze", ramping)

    refused = cli("ramp", ramping, "20")

    assert refused.err.splitlines()[-1].endswith(f"its reason is gone: rampd unfreeze {ramping}")
    assert cli("unfreeze", ramping).code == 0
    assert cli("ramp", ramping, "20").code == 0


def test_a_rollback_with_nothing_to_roll_back_names_revert(cli: Run, component: str) -> None:
    cli("release", component, "1.0")

    assert cli("rollback", component).err.splitlines()[-1].endswith(f" before current: rampd revert {component}")


def test_json_of_a_change_is_the_answer_of_the_api(cli: Run, admin: Admin, ramping: str) -> None:
    ran = cli("ramp", ramping, "20", "--request-id", "once", "-o", "json")

    again = admin.ramp(ramping, 20, request_id="once")  # a repeat has the same answer
    expected = {**MessageToDict(again), "message": ran.json["message"]}
    assert expected.pop("replayed") is True
    assert ran.json == expected


def test_yaml_of_a_change_is_its_json(cli: Run, ramping: str) -> None:
    import yaml

    first = cli("ramp", ramping, "20", "-o", "yaml")
    same = cli("ramp", ramping, "20", "-o", "json")

    assert yaml.safe_load(first.out)["rollout"] == same.json["rollout"]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_an_error_is_json_with_its_reason_and_metadata(cli: Run, ramping: str, output: str) -> None:
    ran = cli("ramp", ramping, "20", "--tag", "9", "-o", output)

    error = json.loads(ran.err)
    assert (ran.code, ran.out, error["reason"]) == (1, "", "TAG_MISMATCH")
    assert error["metadata"] == {"expected": "9", "actual": "2.0"}
    assert set(error) == {"reason", "message", "metadata"}


def test_a_usage_error_is_json_too(cli: Run, ramping: str) -> None:
    ran = cli("ramp", ramping, "ten", "-o", "json")

    assert (ran.code, json.loads(ran.err)["reason"]) == (2, "USAGE")


def test_the_note_and_the_actor_are_in_the_history(cli: Run, admin: Admin, ramping: str) -> None:
    cli("pause", ramping, "--note", "wait", "--actor", "joe")

    event = next(admin.list_events(ramping))
    assert (event.action, event.note, event.actor, event.actor_claimed) == ("Pause", "wait", "joe", True)


@pytest.mark.parametrize(("login", "actor"), [("grace", "grace"), (" grace", "anonymous")])
def test_without_a_credential_the_login_name_is_the_actor_and_claimed(  # noqa: PLR0917
    cli: Run, admin: Admin, ramping: str, monkeypatch: pytest.MonkeyPatch, login: str, actor: str
) -> None:
    """Given a login name that can't be a name in the history, expect no name."""
    monkeypatch.setenv("LOGNAME", login)

    assert cli("pause", ramping).code == 0

    event = next(admin.list_events(ramping))
    assert (event.action, event.actor, event.actor_claimed) == ("Pause", actor, actor == login)


def test_launchers_get_the_attributes_of_a_release(cli: Run, component: str, shared_server: RampdServer) -> None:
    cli("release", component, "1.0", "--attribute", "commit=1a2b=3c", "-a", "memory=")

    with shared_server.resolver() as resolver:
        assert resolver.resolve(component, repo="acme/app").attributes == {"commit": "1a2b=3c", "memory": ""}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-a", "commit"), "needs KEY=VALUE; got 'commit'"),
        (("-a", "commit=1", "-a", "commit=2"), "commit is given twice"),
    ],
    ids=["no value", "twice"],
)
def test_an_attribute_that_makes_no_sense_is_wrong_use(
    cli: Run, component: str, words: tuple[str, ...], says: str
) -> None:
    ran = cli("release", component, "1.0", *words)

    assert (ran.code, ran.out, says in ran.err) == (2, "", True)
    assert cli("status", component).code == 1


def test_force_hands_in_a_tag_in_quarantine_and_ends_the_quarantine(cli: Run, admin: Admin, ramping: str) -> None:
    cli("quarantine", "add", ramping, "4.0")

    refused = cli("release", ramping, "4.0")
    forced = cli("release", ramping, "4.0", "--force")

    assert (refused.code, "(TAG_QUARANTINED)" in refused.err) == (1, True)
    assert (forced.code, forced.rows[0][1], state(admin, ramping)["queue"]) == (0, "yes", ["3.0", "4.0"])
    assert cli("quarantine", "list", ramping).rows == []


def test_a_repeat_with_the_same_request_id_changes_nothing(cli: Run, admin: Admin, ramping: str) -> None:
    first = cli("pause", ramping, "--request-id", "r1")
    cli("resume", ramping)
    again = cli("pause", ramping, "--request-id", "r1", "-o", "json")

    assert (first.rows[0][1], again.code, again.json["replayed"]) == ("yes", 0, True)
    assert state(admin, ramping)["paused"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["release", "{c}", "5.0"],
        ["ramp", "{c}", "20"],
        ["rollback", "{c}"],
        ["pause", "{c}"],
        ["finalize", "{c}"],
        ["finalize", "{c}", "--force"],
        ["abandon", "{c}"],
        ["revert", "{c}", "--to", "0.1"],
        ["freeze", "{c}"],
        ["freeze", "--all"],
        ["quarantine", "add", "{c}", "9.9"],
        ["override", "set", "{c}", "acme/app", "--tag", "9"],
        ["queue", "cancel", "{c}", "3.0"],
        ["delete", "{c}"],
    ],
    ids=" ".join,
)
def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    cli: Run, admin: Admin, component: str, words: list[str]
) -> None:
    for tag in ("0.1", "0.2", "1.0"):
        cli("release", component, tag)
        cli("ramp", component, "100")
        cli("finalize", component)
    cli("release", component, "2.0")
    cli("ramp", component, "10")
    cli("release", component, "3.0")
    before = admin.get_rollout(component)
    line = [word.format(c=component) for word in words]

    plain = cli(*line, "--dry-run")
    as_json = cli(*line, "--dry-run", "-o", "json")

    assert (plain.code, plain.err, plain.rows[0][1]) == (0, "", "would")
    assert plain.rows[0][3].startswith("Dry run, nothing is changed. ")
    assert (as_json.json["changed"], as_json.json["message"] in plain.out) == (True, True)
    assert as_json.json["dryRun"] is True
    assert admin.get_rollout(component) == before


def test_a_dry_run_names_the_repos_that_would_get_another_version(
    cli: Run, person: AtTerminal, shared_server: RampdServer, component: str
) -> None:
    cli("release", component, "1.0")
    cli("release", component, "2.0")
    with Resolver(shared_server.target, mode="rpc") as resolver:
        for number in range(12):
            resolver.resolve(component, repo=f"acme/{number}", job_id="1")
    dry = ("ramp", component, "100", "--dry-run")

    eventually(lambda: cli(*dry, "-o", "json").json["preview"].get("reposSeen") == "12")
    screen = person(*dry)

    assert screen.text.splitlines()[:3] == [
        "Dry run, nothing is changed. Afterwards: 2.0 is at 100 %.",
        "Of the 12 repos that rampd saw in the last day, 12 would get another version:",
        "  acme/0: 1.0 -> 2.0",
    ]
    assert (len(screen.text.splitlines()), screen.text.splitlines()[-1]) == (13, "  and 2 more")


def test_a_freeze_of_all_has_a_star_for_its_component(rampd: Run) -> None:
    frozen = rampd("freeze", "--all", "--note", "holidays")
    rampd("release", "restyler", "1.0")
    rampd("release", "restyler", "2.0")
    would = rampd("unfreeze", "--all", "--dry-run")
    refused = rampd("release", "restyler", "3.0", "--expedite", "--yes")
    thawed = rampd("unfreeze", "--all")

    assert frozen.rows[0][:2] == ["*", "yes"]
    assert "(holidays)" in refused.err
    assert refused.err.splitlines()[-1] == "Next: rampd status restyler"
    assert thawed.rows[0][:2] == ["*", "yes"]
    assert "This starts 1 release at 0 %: restyler (2.0)." in would.rows[0][3]
    assert "This starts 1 release at 0 %: restyler (2.0)." in thawed.rows[0][3]
    assert rampd("unfreeze", "--all").rows[0][:2] == ["*", "no"]


def test_a_person_sees_the_sentence_and_where_the_component_stands(cli: Run, person: AtTerminal, ramping: str) -> None:
    screen = person("ramp", ramping, "20")

    assert screen.code == 0
    assert screen.text.splitlines() == [
        "2.0 is at 20 %.",
        f"{ramping}: next 2.0 at 20 %, current 1.0, 1 release in the queue. Revision 5.",
    ]


def test_a_person_sees_lists_as_tables(cli: Run, person: AtTerminal, ramping: str) -> None:
    cli("override", "set", ramping, "acme/app", "--tag", "pb/x")

    overrides, queue = person("override", "list", ramping), person("queue", "list", ramping)
    nothing = person("quarantine", "list", ramping)

    assert overrides.text.splitlines()[0].split() == ["REPO", "GETS", "UNTIL", "BY", "SINCE", "NOTE"]
    assert overrides.text.splitlines()[1].split()[:2] == ["acme/app", "pb/x"]
    assert queue.text.split()[0] == "POSITION"
    assert queue.text.splitlines()[1].split()[:3] == ["1", "3", "3.0"]
    assert nothing.text == f"{ramping} has no quarantined tags.\n"


def test_an_answer_breaks_at_words_on_a_terminal_and_nowhere_in_a_pipe(
    cli: Run, person: AtTerminal, ramping: str
) -> None:
    dry = ("-o", "table", "ramp", ramping, "20", "--dry-run")

    lines, piped = person(*dry).text.splitlines(), cli(*dry).out.splitlines()

    assert len(piped) == 2
    assert max(map(len, piped)) > 80
    assert max(map(len, lines)) <= 80
    assert " ".join(lines) == " ".join(piped)


def test_what_would_happen_breaks_at_words_at_a_question(person: AtTerminal, ramping: str) -> None:
    lines = person("finalize", ramping, "--force", typed="n\n").text.splitlines()

    assert max(map(len, lines)) <= 80
    assert "so it can't say who would get another version." in " ".join(lines)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three four five", ["one two three four", "five"]),
        ("  one two three four five", ["  one two three four", "  five"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("Next, to end it: rampd unfreeze c", ["Next, to end it:", "  rampd unfreeze c"]),
        ("Next: rampd unfreeze long-component", ["Next:", "  rampd unfreeze long-component"]),
    ],
)
def test_sentences_break_at_words_and_a_command_nowhere(text: str, lines: list[str]) -> None:
    console = Console(file=io.StringIO(), width=20, force_terminal=True, color_system=None, markup=False)

    say(console, text)

    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == lines


def test_a_list_gives_its_tags_the_room_first(cli: Run, person: AtTerminal, ramping: str) -> None:
    tag, note = "pb/secret-branch-with-a-name", "the words of a note that is longer than its place"
    assert (
        cli("override", "set", ramping, "acme/an-app-with-a-name", "--tag", tag, "--expires", "7d", "--note", note).err
        == ""
    )
    cli("quarantine", "add", ramping, tag, "--note", note)
    cli("release", ramping, tag.replace("secret", "queued"), "--note", note)

    for what, shown in (("override", tag), ("quarantine", tag), ("queue", tag.replace("secret", "queued"))):
        screen = person(what, "list", ramping).text
        assert shown in screen
        assert max(map(len, screen.splitlines())) <= 80
