"""What was in force when."""

import pytest

from rampd_server.page.charts.course import InForce, Stretch, course, highest, is_turn
from tests.cli.rollouts import ago, held, paused, ramping, steady
from tests.unit.server.page.events import event, goes, ramped, starts


def test_a_course_is_found_from_its_end() -> None:
    assert course(ramping(), ramped()) == [
        Stretch(None, InForce()),
        Stretch(ago(hours=1), InForce(4, "20200409", 0.0)),
        Stretch(ago(minutes=50), InForce(4, "20200409", 10.0)),
        Stretch(ago(minutes=30), InForce(4, "20200409", 25.0)),
    ]


def test_without_a_history_only_the_present_is_known() -> None:
    assert course(ramping(), []) == [Stretch(None, InForce(4, "20200409", 25.0))]
    assert course(steady(), []) == [Stretch(None, InForce())]


def test_what_was_before_a_history_that_is_cut_is_not_known() -> None:
    found = course(ramping(), ramped()[:4], is_cut=True)

    assert [(each.start, each.what.percent) for each in found] == [(ago(minutes=50), 10.0), (ago(minutes=30), 25.0)]
    assert course(ramping(), [], is_cut=True) == course(ramping(), [])


def test_a_course_has_the_times_in_which_next_was_held_and_paused() -> None:
    back = {"state": ("ROLLING_OUT", "HELD"), "next_percent": ("25", "0"), "held_reason": (None, "worse")}
    found = course(held(), [event("Rollback", ago(minutes=12), back, actor="rampd"), *ramped()])
    assert [(each.what.is_held, each.what.percent) for each in found[-2:]] == [(False, 25.0), (True, 0.0)]

    found = course(paused(), [event("Pause", ago(minutes=5), {"paused": ("false", "true")}), *ramped()])
    assert [each.what.is_paused for each in found] == [False, False, False, False, True]


def test_a_freeze_of_everything_is_told_from_one_of_the_component() -> None:
    events = [
        event("Unfreeze", ago(minutes=10), {"freeze": ("by ada", None)}, all_=True),
        event("Unfreeze", ago(minutes=15), {"freeze": ("by ada", None)}),
        event("Freeze", ago(minutes=20), {"freeze": (None, "by ada")}, all_=True),
        event("Freeze", ago(minutes=25), {"freeze": (None, "by ada")}),
    ]

    found = course(ramping(), events)

    assert [(each.what.is_frozen, each.what.is_all_frozen) for each in found] == [
        (False, False),
        (True, False),
        (True, True),
        (False, True),
        (False, False),
    ]


@pytest.mark.parametrize("text", ["NaN", "inf", "-1", "101", "1e999", "ten", "<b>", ""])
def test_a_percent_that_is_none_is_not_known(text: str) -> None:
    assert course(ramping(), [goes(text, "25", ago(minutes=30))])[0].what.percent is None


def test_a_number_of_a_release_that_is_none_is_not_known() -> None:
    changed = event("Release", ago(minutes=30), {"next": ("<script>", "4"), "next_tag": ("<script>", "20200409")})

    assert course(ramping(), [changed])[0].what == InForce(0, "<script>", 25.0)


def test_the_highest_percent_is_that_of_one_release() -> None:
    events = [
        goes("10", "5", ago(minutes=5)),
        goes("0", "10", ago(minutes=10)),
        starts(4, "b", ago(hours=1), after=(3, "a")),
    ]
    rollout = ramping(percent=5)
    found = course(rollout, [*events, goes("80", "0", ago(hours=2)), goes("0", "80", ago(hours=3))])

    assert highest(found, 4) == 10
    assert highest(found, 3) == 80
    assert highest(found, 9) == 0


def test_decisions_are_turns_and_overrides_are_not() -> None:
    assert [each.action for each in ramped() if is_turn(each)] == ["Step", "Hold", "Step", "Release"]
    assert is_turn(event("Notify", ago(), {}))
    assert not is_turn(event("SetPolicy", ago(), {"policy.alpha": ("0.01", "0.02")}))
    assert not is_turn(event("Release", ago(), {"queue": (None, "5"), "release/5": (None, "b QUEUED")}))
