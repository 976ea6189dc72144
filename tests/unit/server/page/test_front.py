"""All components as the front page shows them."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from rampd import v1
from rampd._standing.clock import Clock
from rampd_server.page import front
from rampd_server.page.rendering import fragment
from rampd_server.rpc.binding import NAMES

NOW = Clock.of_page(datetime(2026, 11, 27, 12, tzinfo=UTC))
CURRENT = v1.Release(number=1, tag="v1")
NEXT = v1.Release(number=2, tag="v2")


def rollout(name: str = "restyler", **fields: Any) -> v1.Rollout:
    return v1.Rollout(**{"component": name, "state": v1.ROLLOUT_STATE_STEADY, "current": CURRENT, **fields})


def under_way(name: str = "restyler", **fields: Any) -> v1.Rollout:
    return rollout(name, **{"state": v1.ROLLOUT_STATE_ROLLING_OUT, "next": NEXT, "next_percent": 12.5, **fields})


def freeze(*, is_of_all: bool = False) -> v1.FreezeStatus:
    return v1.FreezeStatus(all=is_of_all, actor="ada", note="a launch")


GROUPS = {
    "damaged": (rollout(damage=v1.Damage(problem="cut")), 0),
    "waits for Confirm": (under_way(confirm_deadline={"seconds": 1}), 0),
    "waits for approval": (under_way(paused=True, pause=v1.PauseStatus(cause=v1.PAUSE_CAUSE_APPROVAL)), 0),
    "current in quarantine": (rollout(quarantined=[v1.CHANNEL_CURRENT]), 0),
    "HELD": (under_way(state=v1.ROLLOUT_STATE_HELD, next_percent=0), 1),
    "rolling out": (under_way(), 2),
    "paused by a person": (under_way(paused=True), 3),
    "frozen": (under_way(freezes=[freeze()]), 4),
    "frozen with everything": (under_way(freezes=[freeze(is_of_all=True)]), 4),
    "steady": (rollout(), 5),
    "steady while everything is frozen": (rollout(freezes=[freeze(is_of_all=True)]), 5),
}


@pytest.mark.parametrize(("found", "group"), GROUPS.values(), ids=GROUPS)
def test_what_waits_for_a_person_comes_first(found: v1.Rollout, group: int) -> None:
    row = front.row(found, NOW)
    assert row.group == group
    assert row.order == f"{group}-restyler"


def test_a_row_says_what_the_message_says() -> None:
    found = under_way(
        queue=[v1.Release(tag="v3")],
        outcomes=[
            v1.ChannelOutcomes(channel=v1.CHANNEL_CURRENT, jobs=1_000, failures=10),
            v1.ChannelOutcomes(channel=v1.CHANNEL_NEXT, jobs=100, failures=50),
        ],
        evidence=v1.Evidence(e=10, limit=100),
        revision=7,
        previous=[v1.Release(tag="v0")],
    )
    row = front.row(found, NOW)
    assert (row.current, row.next, row.percent, row.share) == ("v1", "v2", "12.5 %", 12.5)
    assert (row.failed_current, row.failed_next, row.queue, row.revision) == ("1.0 %", "50.0 %", 1, 7)
    assert row.evidence.startswith("E 10")
    assert row.evidence_share == pytest.approx(50)


BEFORE = [v1.Release(tag="v0")]
APPROVAL = v1.PauseStatus(cause=v1.PAUSE_CAUSE_APPROVAL)


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        (rollout(previous=BEFORE), ["Revert"]),
        (under_way(previous=BEFORE), ["Roll back"]),
        (under_way(confirm_deadline={"seconds": 1}), ["Confirm", "Roll back"]),
        (under_way(paused=True, pause=APPROVAL), ["Approve", "Roll back"]),
        (under_way(paused=True, pause=APPROVAL, frozen=True), ["Roll back"]),
        (under_way(paused=True), ["Roll back"]),
        (under_way(state=v1.ROLLOUT_STATE_HELD, next_percent=0, previous=BEFORE), []),
        (
            under_way(state=v1.ROLLOUT_STATE_HELD, next_percent=0, previous=BEFORE, quarantined=[v1.CHANNEL_CURRENT]),
            ["Revert"],
        ),
    ],
)
def test_a_row_has_the_buttons_that_are_pressed_in_a_hurry(found: v1.Rollout, labels: list[str]) -> None:
    """In HELD everybody has the good version already. A Revert would take it away, and quarantine it."""
    html = fragment("row.html", row=front.row(found, NOW), may=dict.fromkeys(NAMES, True))
    assert re.findall(r'class="act"[^>]*>([^<]+)</a>', html) == labels


def test_a_damaged_component_has_a_row_with_little_in_it() -> None:
    row = front.row(v1.Rollout(component="restyler", damage=v1.Damage(problem="cut")), NOW)
    assert (row.current, row.next, row.percent, row.can_revert) == ("", "", "", False)
    assert "cut" in row.said


@pytest.mark.parametrize(
    ("found", "name"),
    [(under_way(), "Roll back restyler"), (rollout(previous=[v1.Release(tag="v0")]), "Revert restyler")],
    ids=["Roll back", "Revert"],
)
def test_for_those_who_do_not_see_it_a_button_of_a_row_says_what_it_is_about(found: v1.Rollout, name: str) -> None:
    html = fragment("row.html", row=front.row(found, NOW), may={"Rollback": True, "Revert": True})
    assert f'<a class="act" aria-label="{name}"' in html


@pytest.mark.parametrize(("e", "share"), [(1, 0), (10, 50), (1e9, 100)])
def test_a_bar_of_evidence_ends_at_its_limit(e: float, share: float) -> None:
    row = front.row(under_way(evidence=v1.Evidence(e=e, limit=100)), NOW)
    assert row.evidence_share == pytest.approx(share)


def test_before_the_first_job_there_is_no_evidence() -> None:
    counts = [v1.ChannelOutcomes(channel=channel) for channel in (v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT)]
    of_none = under_way(evidence=v1.Evidence(e=1, limit=100), outcomes=counts)
    assert front.row(of_none, NOW).evidence == ""
    of_none.outcomes[0].jobs = 1
    assert front.row(of_none, NOW).evidence == "E 1 of 100"


@pytest.mark.parametrize(("e", "tone"), [(2, "good"), (12, "waits"), (130, "bad")])
def test_evidence_over_its_limit_is_as_red_as_on_the_page_of_the_component(e: float, tone: str) -> None:
    row = front.row(under_way(evidence=v1.Evidence(e=e, limit=100)), NOW)
    assert f'<span class="evidence {tone}"' in fragment("row.html", row=row, may=dict.fromkeys(NAMES, True))


@pytest.mark.parametrize(
    ("e", "said"), [(12, "E 12 of 100"), (100, "E 100 of 100"), (2_150_000, "E over its limit 100")]
)
def test_over_its_limit_the_size_of_the_evidence_is_not_written(e: float, said: str) -> None:
    """Jobs that end after a rollback still count, so the sentence about the rollback has a smaller E."""
    assert front.row(under_way(evidence=v1.Evidence(e=e, limit=100)), NOW).evidence == said


def test_a_row_says_that_next_fails_where_automation_leaves_it_to_people() -> None:
    row = front.row(under_way(evidence=v1.Evidence(e=130, limit=100)), NOW)
    assert row.said.endswith("v2 fails more often than v1: E is 130, limit 100.")


@pytest.mark.parametrize(
    ("words", "is_shown"),
    [("", True), ("rest", True), ("REST v2", True), ("rolling", True), ("v3", False), ("v1 x", False)],
)
def test_a_filter_keeps_rows_that_have_all_of_its_words(words: str, is_shown: bool) -> None:
    assert front.row(under_way(), NOW).has(front.words_of(words)) == is_shown


def test_of_a_very_long_filter_the_beginning_counts() -> None:
    """Each word is looked for in each row: 8,000 words and 1,000 rows would keep the event loop for a second."""
    asked = front.filter_of(" v1 " * 8_000)
    assert asked.startswith("v1")
    assert len(asked) <= 300
    assert front.words_of(asked) == {"v1"}


def test_each_heading_has_its_rows_in_order_and_is_there_if_the_filter_keeps_one() -> None:
    found = [front.row(each, NOW) for each in (under_way(component="b"), under_way(component="a"), rollout())]

    groups = front.grouped(found, {"b"})

    assert [(each.heading, [row.name for row in each.rows], each.is_shown) for each in groups] == [
        ("Waits for a person", [], False),
        ("HELD", [], False),
        ("Rolling out", ["a", "b"], True),
        ("Paused", [], False),
        ("Frozen", [], False),
        ("Steady", ["restyler"], False),
    ]


def test_above_the_rows_it_is_said_how_many_stand_how() -> None:
    top = front.top([5, 0, 2, 5, 1], None, NOW)
    assert top.counts == "5 components: 1 waits for a person, 1 HELD, 1 rolling out, 2 steady."
    assert (top.title, top.icon, top.frozen) == ("1 HELD, 1 waiting · rampd", "icon-held.svg", "")
    assert front.top([0, 0], None, NOW).icon == "icon-waits.svg"
    assert front.top([], None, NOW) == front.Top("", "", 0, 0)
    assert front.top([5], None, NOW).title == "rampd"


def test_a_freeze_of_everything_is_said_once() -> None:
    assert front.top([5, 5], freeze(is_of_all=True), NOW).frozen.startswith("Everything is frozen by ada")
