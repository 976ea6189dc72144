"""Which command to type after a refusal, and which command does what a verb of the API does."""

import shlex

import pytest

from rampd import v1
from rampd.errors import RampdError
from rampd.testing import RampdServer
from rampd.v1 import release_service_pb2, rollout_service_pb2
from rampd_cli.advice import (
    _BY_REASON,
    _PURPOSES,
    after_change,
    after_pause,
    after_refusal,
    command_of_verb,
)
from rampd_cli.app import SECTIONS, root
from tests.cli.conftest import AtTerminal, Run

WITHOUT_ADVICE = {
    "INVALID_FIELD": "the message says which value is wrong",
    "REQUEST_ID_REUSED": "the message says what to do with the request id",
    "TOO_LARGE": "the message says which limit there is",
    "CONTENTION": "the same command, again",
    "LIMIT_EXCEEDED": "the same command, later",
    "STORE_UNAVAILABLE": "the message is for those who run the server",
    "STORE_RESET": "as above",
    "STORE_CORRUPT": "as above",
    "NO_SNAPSHOT": "as above",
    "NOT_IMPLEMENTED": "a newer server has it",
    "INTERNAL": "a defect",
}
"""Reasons after which no command helps, each with why."""
COMMANDS = {name for section in SECTIONS.values() for name in section}
VERBS = [
    method.name
    for file in (release_service_pb2, rollout_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_of_the_api_has_a_command(verb: str) -> None:
    assert command_of_verb(verb).partition(" ")[0] in COMMANDS


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["Unquarantine", "restyler"], "rampd quarantine remove"),
        (["Ramp", "restyler"], "rampd ramp"),
        (["rolback"], "Did you mean: rampd rollback"),
        (["quarantine", "ad"], "Did you mean: rampd quarantine add"),
        (["xyzzy"], "There is no command rampd 'xyzzy'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_there_is_not_leads_to_the_right_one(run: Run, typed: list[str], said: str) -> None:
    ran = run(*typed)

    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_each_reason_of_the_api_has_a_command_or_a_cause_to_have_none() -> None:
    """Given a new reason, expect that somebody decides which command a person types next."""
    reasons = {name.removeprefix("ERROR_REASON_") for name, _ in v1.ErrorReason.items()} - {"UNSPECIFIED"}
    assert WITHOUT_ADVICE.keys() == reasons - _BY_REASON.keys()


@pytest.mark.parametrize(
    ("reason", "metadata", "command", "expected"),
    [
        ("FROZEN", {"scope": "all"}, "ramp", "Next: rampd status restyler"),
        (
            "FROZEN",
            {"scope": "component"},
            "ramp",
            "Next, to end the freeze, if you know that its reason is gone: rampd unfreeze restyler",
        ),
        ("HELD", {}, "confirm", "Next: rampd status restyler"),
        ("NOT_QUEUED", {"state": "NEXT"}, "cancel", "Next, to drop next: rampd abandon restyler"),
        ("NOT_QUEUED", {"state": "CURRENT"}, "cancel", "Next: rampd status restyler"),
        ("RELEASE_NOT_FOUND", {}, "cancel", "Next: rampd queue list restyler"),
        ("RELEASE_NOT_FOUND", {}, "wait", "Next: rampd history restyler"),
        (
            "NO_ROLLOUT",
            {},
            "rollback",
            "Next, to give everybody the version before current: rampd revert restyler",
        ),
        ("NO_ROLLOUT", {}, "ramp", "Next: rampd status restyler"),
        ("TAG_QUARANTINED", {"tag": "9.9"}, "release", "Next: rampd quarantine list restyler"),
        ("TAG_QUARANTINED", {"tag": "9.9"}, "ramp", "Next: rampd quarantine list restyler"),
        ("REQUEST_ID_REUSED", {}, "ramp", ""),
        ("SOMETHING_NEW", {}, "ramp", ""),
    ],
)
def test_a_reason_leads_to_a_command(reason: str, metadata: dict[str, str], command: str, expected: str) -> None:
    error = RampdError("no", reason=reason, metadata=metadata)

    assert after_refusal(error, command, {"component": "restyler"}) == expected


def test_advice_never_ends_a_quarantine_or_a_freeze_of_all() -> None:
    for shape in (*_BY_REASON.values(), *_PURPOSES):
        assert "--all" not in shape
        assert "--force" not in shape
        assert not shape.startswith("quarantine remove")


@pytest.mark.parametrize("shape", [*_BY_REASON.values(), *_PURPOSES])
def test_advice_to_change_something_says_what_that_does(shape: str) -> None:
    shows = shape.split(maxsplit=1)[0] in SECTIONS["See"] or "list" in shape.split()

    assert shows == (shape not in _PURPOSES)


def test_each_command_line_of_the_advice_is_one(run: Run) -> None:
    """Given the command of each reason, expect that `rampd` has it."""
    for line in _BY_REASON.values():
        words = line.split()
        assert words[0] in COMMANDS
        if words[0] in {"quarantine", "queue", "override"}:
            group = root.get_command(None, words[0])  # type: ignore[arg-type]
            assert words[1] in group.list_commands(None)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize(
    ("before", "words", "expected"),
    [
        (
            [],
            ["quarantine", "add", "{c}", "2.0"],
            "Next, to give everybody 1.0 again: rampd revert {c} --to 1.0",
        ),
        ([], ["quarantine", "add", "{c}", "9.9"], ""),
        (["revert {c}"], ["revert", "{c}"], "Next: rampd status {c}"),
        (["revert {c}"], ["revert", "{c}", "--to", "1.0"], ""),
        (
            ["release {c} 3.0 --expedite --yes", "revert {c}"],
            ["revert", "{c}"],
            "Next, to give everybody 1.0 again: rampd revert {c} --to 1.0",
        ),
        ([], ["revert", "{c}"], ""),
        (
            ["freeze {c} --note busy --actor ada"],
            ["release", "{c}", "3.0"],
            "Next, to end the freeze by ada (busy), if you know that its reason is gone: rampd unfreeze {c}",
        ),
        (["freeze {c}"], ["release", "{c}", "2.0"], ""),
        (["freeze {c}"], ["unfreeze", "{c}"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_change_that_leaves_something_to_do_says_what_to_type(
    person: AtTerminal, component: str, before: list[str], words: list[str], expected: str
) -> None:
    for line in (f"release {component} 1.0", f"release {component} 2.0 --expedite --yes", *before):
        assert person(*line.format(c=component).split()).code == 0

    screen = person(*(word.format(c=component) for word in words))

    assert screen.code == 0
    _, is_said, said = " ".join(screen.text.split()).partition("Next")
    assert is_said + said == expected.format(c=component)


def test_a_current_that_is_bad_during_a_rollout_is_left_with_its_tag_or_next_is_taken_away(
    person: AtTerminal, component: str
) -> None:
    """Given a Revert that is refused because next is at 30 %, expect both ways, each with what it does, and that both work."""
    for line in ("release {c} 1.0", "release {c} 2.0 --expedite --yes", "release {c} 3.0", "ramp {c} 30"):
        assert person(*line.format(c=component).split()).code == 0

    screen = person("revert", component)

    *_, other, first = screen.text.splitlines()
    assert screen.code == 1
    assert other == (
        f"Next, to give everybody 1.0 again, and to take next away, too: rampd revert {component} --to 1.0"
    )
    assert first == f"Next, to take next away from everybody: rampd rollback {component}"
    assert person("revert", component, "--to", "1.0").code == 0


@pytest.mark.parametrize(
    ("freezes", "on"),
    [
        ([], "Next, to go on all the same: rampd resume restyler"),
        (
            [v1.FreezeStatus(actor="ada")],
            "Next, to end the freeze by ada, if you know that its reason is gone: rampd unfreeze restyler",
        ),
        ([v1.FreezeStatus(all=True)], "Next: rampd status restyler"),
    ],
    ids=["not frozen", "frozen", "all frozen"],
)
def test_what_automation_has_paused_is_taken_away_first(freezes: list[v1.FreezeStatus], on: str) -> None:
    rollout = v1.Rollout(component="restyler", freezes=freezes)

    assert after_pause(rollout, "") == f"Next, to take next away from everybody: rampd rollback restyler\n{on}"


@pytest.mark.parametrize("cause", v1.PauseCause.values())
def test_a_ramp_of_what_automation_has_paused_because_it_fails_warns(cause: v1.PauseCause) -> None:
    fails = {v1.PAUSE_CAUSE_RELATIVE_GUARD, v1.PAUSE_CAUSE_ABSOLUTE_GUARD, v1.PAUSE_CAUSE_CHECK_FAILED}
    pause = v1.PauseStatus(actor="rampd", cause=cause, reason="2 fails more often than 1.")
    rollout = v1.Rollout(component="pay", next=v1.Release(tag="2"), next_percent=60, paused=True, pause=pause)

    said = after_change("ramp", v1.RampResponse(rollout=rollout, changed=True), {}).splitlines()

    assert said[:2] == (
        [
            "2 is paused by rampd: 2 fails more often than 1.",
            "Next, to take next away from everybody: rampd rollback pay",
        ]
        if cause in fails
        else []
    )
    rollout.next_percent = 0
    assert not after_change("ramp", v1.RampResponse(rollout=rollout, changed=True), {})


@pytest.mark.parametrize("verb", ["release", "unfreeze"])
def test_what_only_the_freeze_of_all_stops_leads_to_who_made_it_and_not_to_its_end(verb: str) -> None:
    rollout = v1.Rollout(component="restyler", freezes=[v1.FreezeStatus(all=True)], queue=[v1.Release(tag="2.0")])

    said = after_change(verb, v1.UnfreezeResponse(rollout=rollout, changed=True), {})

    assert said == "Next: rampd status restyler"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (
            [],
            "Next, to give everybody another version at once, with its tag instead of TAG: "
            "rampd release restyler TAG --expedite",
        ),
        (["1.0"], None),
        (["1.0", "0.9", "0.8"], "Next, to give everybody 0.9 again: rampd revert restyler --to 0.9"),
        (["a(b)#c"], "Next, to give everybody 'a(b)#c' again: rampd revert restyler --to 'a(b)#c'"),
        (["x; reboot"], "Next: rampd status restyler"),
    ],
)
def test_a_current_in_quarantine_leads_to_the_version_before_it(before: list[str], expected: str | None) -> None:
    """Given tags that were current before, expect the newest other one as one word of the command."""
    rollout = v1.Rollout(
        component="restyler", current=v1.Release(tag="1.0"), previous=[v1.Release(tag=tag) for tag in before]
    )

    said = after_change("quarantine", v1.QuarantineResponse(rollout=rollout, changed=True), {"tag": "1.0"})

    assert said == expected if expected else "--expedite" in said


@pytest.mark.parametrize("is_before", [True, False], ids=["before the command", "after it"])
def test_a_command_that_is_copied_reaches_the_server_that_was_typed(
    run: Run, shared_server: RampdServer, component: str, is_before: bool
) -> None:
    """Given a server that only the command line names, expect that the line of the advice has it, and works."""
    at = ["--server", shared_server.target]

    def typed(*words: str) -> list[str]:
        return [*at, *words] if is_before else [*words, *at]

    assert run(*typed("release", component, "1.0")).code == 0
    refused = run(*typed("ramp", component, "10"))
    line = refused.err.splitlines()[-1]

    assert (refused.code, line) == (1, f"Next: rampd status {component} --server {shared_server.target}")
    assert run(*shlex.split(line)[2:]).code == 0


def test_advice_names_the_profile_that_was_typed_and_not_the_one_in_force(run: Run, shared_server: RampdServer) -> None:
    run("config", "set", "server", shared_server.target, "--profile", "prod")

    typed = run("ramp", "nobody", "10", "--profile", "prod").err.splitlines()[-1]
    in_force = run("ramp", "nobody", "10").err.splitlines()[-1]

    assert (typed, in_force) == ("Next: rampd status --profile prod", "Next: rampd status")


def test_a_server_that_is_not_reached_is_the_one_that_doctor_looks_at(run: Run) -> None:
    ran = run("status", "--server", "127.0.0.1:1")

    assert (ran.code, ran.err.splitlines()[-1]) == (3, "Next: rampd doctor --server 127.0.0.1:1")
