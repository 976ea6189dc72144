"""Which command to type after a refusal, and which command does what a verb of the API does."""

import pytest

from rampd.errors import RampdError
from rampd.v1 import release_service_pb2, rollout_service_pb2
from rampd_cli.advice import command_of_verb, next_command
from rampd_cli.app import SECTIONS, root
from tests.cli.conftest import Run

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


@pytest.mark.parametrize(
    ("reason", "metadata", "command", "expected"),
    [
        ("FROZEN", {"scope": "all"}, "ramp", "rampd unfreeze --all"),
        ("FROZEN", {"scope": "component"}, "ramp", "rampd unfreeze restyler"),
        ("NOT_QUEUED", {"state": "NEXT"}, "cancel", "rampd abandon restyler"),
        ("NOT_QUEUED", {"state": "CURRENT"}, "cancel", "rampd status restyler"),
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
    from rampd_cli.advice import _BY_REASON

    for line in _BY_REASON.values():
        words = line.split()
        assert words[0] in COMMANDS
        if words[0] in {"quarantine", "queue", "override"}:
            group = root.get_command(None, words[0])  # type: ignore[arg-type]
            assert words[1] in group.list_commands(None)  # type: ignore[union-attr,arg-type]
