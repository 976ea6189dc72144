"""The history in words, which people read instead of the stored texts."""

import pytest

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.automation_policy import Automation, Check, Step
from rampd_server.domain.rollout.model import Freeze, Policy
from rampd_server.ports import FieldChange, Override
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.automation_texts import write_automation
from rampd_server.storage.codec.history_words import in_words

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
AUTOMATION = Automation(
    steps=(Step(1000, 2 * SECOND), Step(2550, 90 * MINUTE, 1500), Step(5000, 0, 1), Step(9000, approval=True)),
    max_basis_points=9000,
    auto_start=True,
    maturation_ms=30 * MINUTE,
    max_failure_rate=0.05,
    confirm_within_ms=10 * MINUTE,
    stuck_after_ms=30 * DAY,
    checks=(
        Check("errors", "sum(rate(errors[5m]))", maximum=0.01),
        Check("traffic", "up", interval_ms=90 * SECOND, minimum=1, failures_allowed=2, errors_allowed=0),
    ),
)


@pytest.mark.parametrize(
    ("name", "field", "said"),
    [
        (
            "steps",
            "steps",
            "10 % for 2 s, 25.5 % for 1 h 30 min and 1,500 jobs, 50 % for 1 job, 90 %, then waits for approval",
        ),
        ("max_basis_points", "max_percent", "90"),
        ("auto_start", "auto_start", "true"),
        ("maturation_ms", "maturation", "30 min"),
        ("max_failure_rate", "max_failure_rate", "0.05"),
        ("confirm_within_ms", "confirm_within", "10 min"),
        ("stuck_after_ms", "stuck_after", "30 days"),
        (
            "checks",
            "checks",
            "errors: at most 0.01 every 1 min, of sum(rate(errors[5m])); "
            "traffic: at least 1 every 1 min 30 s, 2 failures allowed, 0 errors allowed, of up",
        ),
    ],
)
def test_a_setting_is_described_in_words(name: str, field: str, said: str) -> None:
    stored = write_automation(AUTOMATION)
    assert in_words(FieldChange(f"policy.{name}", None, stored[name])) == FieldChange(f"policy.{field}", None, said)


def test_every_setting_has_a_description_or_is_a_plain_word() -> None:
    """Given each field of a policy, expect its name in the API, and no text in the stored form."""
    from rampd import v1

    names = {field.name for field in v1.Policy.DESCRIPTOR.fields}
    for name, text in {**texts.policy_fields(Policy()), **write_automation(AUTOMATION)}.items():
        change = in_words(FieldChange(f"policy.{name}", text, text))
        assert change.field.removeprefix("policy.") in names
        assert ":" not in (change.after or "") or name == "checks"


@pytest.mark.parametrize(
    ("field", "text", "name", "said"),
    [
        ("override/acme/app", texts.write_override(Override("NEXT")), "override/acme/app", "next"),
        ("override/a_ms", texts.write_override(Override(tag="pb/x")), "override/a_ms", "tag pb/x"),
        (
            "override/acme/*",
            texts.write_override(Override("CURRENT", expire_ms=1_600_000_000_000)),
            "override/acme/*",
            "current until 2020-09-13T12:26:40Z",
        ),
        (
            "freeze",
            texts.write_freeze(Freeze("ada", "holidays", 1, 1_600_000_000_250)),
            "freeze",
            "by ada: holidays, until 2020-09-13T12:26:40.250Z",
        ),
        ("freeze", texts.write_freeze(Freeze("ada", "", 1)), "freeze", "by ada"),
        ("confirm_deadline_ms", "1600000000000", "confirm_deadline", "2020-09-13T12:26:40Z"),
        ("paused", "1", "paused", "true"),
        ("next_percent", "10.5", "next_percent", "10.5"),
        ("release/3", "20200409 RETIRED: reverted", "release/3", "20200409 RETIRED: reverted"),
    ],
)
def test_a_field_is_described_in_words(field: str, text: str, name: str, said: str) -> None:
    assert in_words(FieldChange(field, text, None)) == FieldChange(name, said, None)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("policy.steps", "1000:2000:0:later:on"),
        ("policy.checks", "{"),
        ("policy.checks", '[{"name":"a","later":1}]'),
        ("policy.a_later_one", "x"),
        ("policy.auto_start", "maybe"),
        ("override/acme/app", "something=else"),
        ("freeze", "{}"),
        ("confirm_deadline_ms", "99999999999999999"),
        ("paused", "x"),
    ],
)
def test_a_text_of_another_rampd_version_is_shown_unchanged(field: str, text: str) -> None:
    assert in_words(FieldChange(field, text, text)).after == text


def test_the_changes_of_a_command_are_described_in_words() -> None:
    from rampd_server.domain.rollout.model import Absent
    from tests.contract.driving import decide
    from tests.replay import fields_in_words

    rollout = decide(decide(Absent("a"), commands.Release("1")), commands.Release("2"))
    changed = decide(rollout, commands.SetPolicy({}, {"steps": (Step(1000, 2000),)}))
    assert fields_in_words(changed)["policy.steps"] == "10 % for 2 s"
