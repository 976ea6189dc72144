"""The table of the page's verbs: it has every change of the API, and each button is there when it makes sense."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rampd import v1
from rampd_server.page.verb_form import shown
from rampd_server.page.verbs import VERBS, Verb, entry_button, verbs_for, verbs_for_all
from rampd_server.rpc.binding import NAMES, SERVICES

LEFT_OUT = {
    "Release": "CI hands in releases",
    "SetPolicy": "a policy is a file: `rampd policy apply`",
    "BatchSetOverrides": "overrides by the thousand are a file: `rampd override import`",
    "DeleteComponent": "nothing brings a deleted component back: `rampd delete` asks for its name",
    "ReportOutcomes": "launchers report",
}
"""The changes that the page does not have, and why."""
FIELDS_LEFT_OUT = {
    "Finalize.force": "a version that nobody has tried becomes current: `rampd finalize --force` asks",
}
OF_EVERY_CHANGE = {"component", "all", "request_id", "expected_revision", "note", "dry_run"}

EVERYBODY: Mapping[str, bool] = dict.fromkeys(NAMES, True)
MADE = datetime(2026, 11, 27, 12, tzinfo=UTC)
CHANGES = {
    method.name: method
    for service in SERVICES.values()
    for method in service.methods
    if "request_id" in method.input_type.fields_by_name or method.name == "ReportOutcomes"
}


def rollout(**changes: Any) -> v1.Rollout:
    """Given a component that rolls out B after A, which came after O."""
    made: dict[str, Any] = {
        "component": "restyler",
        "state": v1.ROLLOUT_STATE_ROLLING_OUT,
        "current": v1.Release(number=3, tag="A"),
        "next": v1.Release(number=4, tag="B"),
        "next_percent": 10,
        "previous": [v1.Release(number=2, tag="O"), v1.Release(number=1, tag="A")],
        "revision": 7,
    }
    return v1.Rollout(**{key: value for key, value in (made | changes).items() if value is not None})


STEADY: dict[str, Any] = {"state": v1.ROLLOUT_STATE_STEADY, "next": None, "next_percent": 0}
HELD: dict[str, Any] = {"state": v1.ROLLOUT_STATE_HELD, "next_percent": 0, "held_reason": "rolled back"}
FROZEN: dict[str, Any] = {"frozen": True, "freezes": [v1.FreezeStatus()]}
ALL_FROZEN: dict[str, Any] = {"frozen": True, "freezes": [v1.FreezeStatus(all=True)]}
APPROVAL: dict[str, Any] = {"paused": True, "pause": v1.PauseStatus(cause=v1.PAUSE_CAUSE_APPROVAL)}
ALWAYS = ["Quarantine a tag", "Set an override"]


def verb(method: str, *, is_of_all: bool = False) -> Verb:
    return next(each for each in VERBS if each.method == method and each.is_of_all == is_of_all)


def test_every_change_of_the_api_is_in_the_table_or_left_out_with_a_reason() -> None:
    in_table = {each.method for each in VERBS}
    assert in_table | LEFT_OUT.keys() == CHANGES.keys()
    assert not in_table & LEFT_OUT.keys()


@pytest.mark.parametrize("each", VERBS, ids=lambda each: each.label)
def test_every_field_of_a_request_is_in_its_form_or_left_out_with_a_reason(each: Verb) -> None:
    asked = {field.name for field in each.fields} | ({"tag"} if each.guards_next else set())
    left_out = {name.partition(".")[2] for name in FIELDS_LEFT_OUT if name.startswith(f"{each.method}.")}
    assert asked | left_out == {*CHANGES[each.method].input_type.fields_by_name} - OF_EVERY_CHANGE
    assert not asked & left_out


def test_no_two_verbs_have_the_same_address() -> None:
    routes = [each.route for each in VERBS]
    assert len(set(routes)) == len(routes)
    assert verb("CancelRelease").address("restyler") == "/components/restyler/cancel-release"
    assert verb("Freeze", is_of_all=True).address() == "/freeze"
    assert verb("Ramp").address("a/b?") == "/components/a%2Fb%3F/ramp"


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, ["Ramp", "Pause", "Finalize", "Roll back", "Abandon", "Freeze"]),
        ({"next_percent": 0}, ["Ramp", "Pause", "Roll back", "Abandon", "Revert", "Freeze"]),
        (STEADY, ["Revert", "Freeze"]),
        (STEADY | {"previous": []}, ["Freeze"]),
        (STEADY | {"previous": [v1.Release(number=1, tag="A")]}, ["Freeze"]),
        (HELD, ["Ramp", "Abandon", "Revert", "Freeze"]),
        (HELD | {"paused": True}, ["Ramp", "Abandon", "Revert", "Freeze"]),
        ({"paused": True}, ["Ramp", "Resume", "Finalize", "Roll back", "Abandon", "Freeze"]),
        (APPROVAL, ["Ramp", "Approve", "Finalize", "Roll back", "Abandon", "Freeze"]),
        (APPROVAL | FROZEN, ["Ramp", "Roll back", "Abandon", "Unfreeze"]),
        (
            {"quarantined": [v1.CHANNEL_CURRENT]},
            ["Ramp", "Pause", "Finalize", "Roll back", "Abandon", "Revert", "Freeze"],
        ),
        (
            {"policy": v1.Policy(steps=[v1.Step(percent=10)])},
            ["Ramp", "Resume", "Pause", "Finalize", "Roll back", "Abandon", "Freeze"],
        ),
        (
            {"confirm_deadline": datetime(2026, 11, 27, 13, tzinfo=UTC)},
            ["Confirm", "Ramp", "Pause", "Finalize", "Roll back", "Abandon", "Freeze"],
        ),
        (FROZEN, ["Ramp", "Pause", "Roll back", "Abandon", "Unfreeze"]),
        (FROZEN | {"paused": True, "next_percent": 0}, ["Roll back", "Abandon", "Revert", "Unfreeze"]),
        (FROZEN | HELD, ["Abandon", "Revert", "Unfreeze"]),
        (ALL_FROZEN | STEADY, ["Revert", "Freeze"]),
        (
            {"quarantined": [v1.CHANNEL_NEXT]},
            ["Ramp", "Pause", "Roll back", "Abandon", "Freeze"],
        ),
        (HELD | {"quarantined": [v1.CHANNEL_NEXT]}, ["Abandon", "Revert", "Freeze"]),
    ],
)
def test_a_button_is_shown_when_it_makes_sense(changes: dict[str, Any], labels: list[str]) -> None:
    assert [button.label for button in verbs_for(rollout(**changes), EVERYBODY)] == labels + ALWAYS


def test_a_rollout_that_the_plan_drives_is_resumed_only_after_a_pause() -> None:
    policy = v1.Policy(steps=[v1.Step(percent=10)])
    for changes, is_driven, has_button in (({}, False, True), ({}, True, False), ({"paused": True}, True, True)):
        found = verbs_for(rollout(policy=policy, **changes), EVERYBODY, is_driven=is_driven)
        assert ("Resume" in [button.label for button in found]) == has_button


def test_what_can_not_be_read_has_no_buttons() -> None:
    assert verbs_for(v1.Rollout(component="restyler", damage=v1.Damage(problem="broken")), EVERYBODY) == []


def test_only_what_a_person_may_do_is_shown() -> None:
    nobody = dict.fromkeys(NAMES, False)
    assert verbs_for(rollout(), nobody) == []
    assert verbs_for_all(is_frozen=False, may=nobody) == []
    assert entry_button("CancelRelease", rollout(), nobody, release="5") is None
    assert [each.label for each in verbs_for(rollout(), nobody | {"Rollback": True})] == ["Roll back"]


@pytest.mark.parametrize(
    ("is_frozen", "denied", "labels"),
    [
        (False, "", ["Freeze everything"]),
        (True, "", ["Unfreeze everything"]),
        (False, "all", []),
        (True, "Unfreeze", []),
        (True, "Freeze", ["Unfreeze everything"]),
    ],
)
def test_all_components_are_frozen_by_who_may(is_frozen: bool, denied: str, labels: list[str]) -> None:
    may = dict(EVERYBODY) | ({denied: False} if denied else {})
    assert [each.label for each in verbs_for_all(is_frozen=is_frozen, may=may)] == labels


def test_a_button_carries_what_the_person_sees() -> None:
    found = {each.label: urlsplit(each.href) for each in verbs_for(rollout(next_percent=0), EVERYBODY)}
    assert found["Roll back"].path == "/components/restyler/rollback"
    assert parse_qs(found["Roll back"].query) == {"tag": ["B"], "revision": ["7"]}
    assert parse_qs(found["Revert"].query) == {"revision": ["7"]}
    of_queue = entry_button("CancelRelease", rollout(), EVERYBODY, release="5")
    assert of_queue is not None
    assert parse_qs(urlsplit(of_queue.href).query) == {"release": ["5"], "revision": ["7"]}


@pytest.mark.parametrize(
    ("method", "given", "fields"),
    [
        ("Ramp", {"tag": "B", "percent": " 12.5% "}, {"tag": "B", "percent": 12.5}),
        (
            "Ramp",
            {"tag": "B", "percent": "25", "confirm_within": "900", "note": " why "},
            {"tag": "B", "percent": 25, "confirm_within": timedelta(minutes=15), "note": "why"},
        ),
        ("Confirm", {"tag": "B"}, {"tag": "B"}),
        ("Rollback", {"tag": "B"}, {"tag": "B"}),
        ("Rollback", {"tag": "B", "quarantine": "on"}, {"tag": "B", "quarantine": True}),
        ("Pause", {"tag": "B"}, {}),
        ("Revert", {}, {"quarantine": True}),
        ("Revert", {"tag": "O", "quarantine": ""}, {"tag": "O", "quarantine": False}),
        ("Freeze", {"expire_time": ""}, {}),
        ("Freeze", {"expire_time": "3600"}, {"expire_time": MADE + timedelta(hours=1)}),
        ("Quarantine", {"tag": "A"}, {"tag": "A"}),
        ("CancelRelease", {"release": "5"}, {"release": 5}),
        ("SetOverride", {"repo": "acme/*", "tag": "O"}, {"repo": "acme/*", "tag": "O"}),
        (
            "SetOverride",
            {"repo": "acme/app", "channel": "CHANNEL_NEXT", "expire_time": "86400"},
            {"repo": "acme/app", "channel": v1.CHANNEL_NEXT, "expire_time": MADE + timedelta(days=1)},
        ),
        ("DeleteOverride", {"repo": "acme/app"}, {"repo": "acme/app"}),
    ],
)
def test_a_form_becomes_a_request(method: str, given: dict[str, str], fields: dict[str, Any]) -> None:
    expected = getattr(v1, f"{method}Request")(component="restyler", **fields)
    assert verb(method).request("restyler", given, MADE) == expected


def test_a_form_about_all_components_names_none() -> None:
    assert verb("Unfreeze", is_of_all=True).request("", {}, MADE) == v1.UnfreezeRequest(all=True)


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("Ramp", {"percent": "ten"}, "'ten' is no value for “Percent”. 0 to 100"),
        ("Ramp", {"percent": "10", "confirm_within": "soon"}, "'soon' is no value for “Back to 0 %"),
        ("Ramp", {"percent": "10", "confirm_within": "9" * 30}, "is no value for"),
        ("Freeze", {"expire_time": "9" * 18}, "is no value for “It ends after”."),
        ("CancelRelease", {"release": "B"}, "'B' is no value for “Release”."),
        ("CancelRelease", {"release": "9" * 30}, "is no value for “Release”."),
        ("SetOverride", {"repo": "a", "channel": "OTHER"}, "'OTHER' is no value for “It gets”."),
    ],
)
def test_a_value_that_a_field_can_not_have_is_named(method: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        verb(method).request("restyler", given, MADE)
    assert said in str(caught.value)


def test_a_form_is_complete_when_everything_that_is_needed_is_filled_in() -> None:
    assert not verb("Ramp").is_complete({"percent": " "})
    assert verb("Ramp").is_complete({"percent": "0"})
    assert verb("Rollback").is_complete({})
    assert not verb("SetOverride").is_complete({"tag": "O"})


def offers(method: str, given: dict[str, str], of: v1.Rollout) -> dict[str, list[str]]:
    return {each.field.name: [choice.value for choice in each.offers] for each in shown(verb(method).fields, given, of)}


def test_a_form_offers_what_is_there() -> None:
    queue = [v1.Release(number=5, tag="C"), v1.Release(number=6, tag="D")]
    of = rollout(queue=queue, quarantined=[v1.CHANNEL_CURRENT])
    assert offers("Revert", {}, of)["tag"] == ["", "O"]
    assert offers("Quarantine", {}, of)["tag"] == ["B", "A", "C", "D"]
    assert offers("Unquarantine", {}, of)["tag"] == ["A"]
    assert offers("CancelRelease", {"release": "6"}, of)["release"] == ["5", "6"]


def test_what_was_filled_in_can_be_chosen_even_if_it_is_gone() -> None:
    assert offers("Revert", {"tag": "P"}, rollout())["tag"] == ["P", "", "O"]
    assert offers("CancelRelease", {"release": "9"}, rollout())["release"] == ["9"]


def test_the_policy_s_time_to_confirm_is_said() -> None:
    policy = v1.Policy()
    policy.confirm_within.FromSeconds(600)
    usual = shown(verb("Ramp").fields, {}, rollout(policy=policy))[1].offers[0]
    assert usual == ("", "as the policy says: 10 min")
