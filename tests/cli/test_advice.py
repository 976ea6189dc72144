"""Which command to type after a refusal, and which command does what a verb of the API does."""

import pytest

from rampd import v1
from rampd.errors import RampdError
from rampd.v1 import release_service_pb2, rollout_service_pb2
from rampd_cli.advice import _BY_REASON, command_of_verb, next_after, next_command
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
        ("FROZEN", {"scope": "all"}, "ramp", "rampd unfreeze --all"),
        ("FROZEN", {"scope": "component"}, "ramp", "rampd unfreeze restyler"),
        ("NOT_QUEUED", {"state": "NEXT"}, "cancel", "rampd abandon restyler"),
        ("NOT_QUEUED", {"state": "CURRENT"}, "cancel", "rampd status restyler"),
        ("RELEASE_NOT_FOUND", {}, "cancel", "rampd queue list restyler"),
        ("RELEASE_NOT_FOUND", {}, "wait", "rampd history restyler"),
        ("NO_ROLLOUT", {}, "rollback", "rampd revert restyler"),
        ("NO_ROLLOUT", {}, "ramp", "rampd status restyler"),
        ("TAG_QUARANTINED", {"tag": "9.9"}, "release", "rampd release restyler 9.9 --force"),
        ("TAG_QUARANTINED", {"tag": "9.9"}, "ramp", "rampd quarantine remove restyler 9.9"),
        ("REQUEST_ID_REUSED", {}, "ramp", ""),
        ("SOMETHING_NEW", {}, "ramp", ""),
    ],
)
def test_a_reason_leads_to_a_command(reason: str, metadata: dict[str, str], command: str, expected: str) -> None:
    error = RampdError("no", reason=reason, metadata=metadata)

    assert next_command(error, command, {"component": "restyler"}) == expected


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
        ([], ["quarantine", "add", "{c}", "2.0"], "rampd revert {c} --to TAG"),
        ([], ["quarantine", "add", "{c}", "9.9"], ""),
        (["revert {c}"], ["revert", "{c}"], "rampd revert {c} --to TAG"),
        ([], ["revert", "{c}"], ""),
        (["freeze {c}"], ["release", "{c}", "3.0"], "rampd unfreeze {c}"),
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
    said = [line.removeprefix("Next: ") for line in screen.text.splitlines() if line.startswith("Next: ")]
    assert said == ([expected.format(c=component)] if expected else [])


def test_what_is_still_frozen_by_the_freeze_of_all_says_how_to_end_that() -> None:
    rollout = v1.Rollout(component="restyler", freezes=[v1.FreezeStatus(all=True)])

    said = next_after("unfreeze", v1.UnfreezeResponse(rollout=rollout, changed=True), {})

    assert said == "rampd unfreeze --all"


def test_a_current_in_quarantine_with_no_version_before_it_needs_a_release() -> None:
    rollout = v1.Rollout(component="restyler", current=v1.Release(tag="1.0"))

    said = next_after("quarantine", v1.QuarantineResponse(rollout=rollout, changed=True), {"tag": "1.0"})

    assert said == "rampd release restyler TAG --expedite"
