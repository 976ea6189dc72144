"""The time that charts show."""

from datetime import timedelta

import pytest

from rampd._standing.clock import Clock
from rampd_server.page.charts.axis import Axis, axis_of
from tests.cli.rollouts import NOW, ago, ramping, steady

CLOCK = Clock(NOW, is_utc=True)


def test_an_axis_fits_the_rollout() -> None:
    axis = axis_of(ramping(), "", NOW)

    assert ago(hours=1, minutes=3) < axis.start < ago(hours=1)
    assert NOW <= axis.end < NOW + timedelta(minutes=2)


def test_a_rollout_that_has_just_begun_is_at_the_right_end() -> None:
    rollout = ramping()
    rollout.next.update_time.FromDatetime(ago(seconds=5))

    axis = axis_of(rollout, "", NOW)

    assert axis.length_s == 600
    assert axis.x(ago(seconds=5)) > 95


@pytest.mark.parametrize(("span", "hours"), [("hour", 1), ("day", 24), ("week", 168)])
def test_a_person_chooses_how_much_time_is_shown(span: str, hours: int) -> None:
    assert axis_of(ramping(), span, NOW).length_s == hours * 3600
    assert axis_of(steady(), span, NOW).length_s == hours * 3600


@pytest.mark.parametrize("span", ["", "year", "<script>"])
def test_without_a_rollout_a_day_is_shown(span: str) -> None:
    assert axis_of(steady(), span, NOW).length_s == 24 * 3600


def test_a_time_that_is_not_known_makes_no_endless_axis() -> None:
    rollout = ramping()
    rollout.next.ClearField("update_time")

    assert axis_of(rollout, "", NOW).length_s < 400 * 24 * 3600


def test_an_axis_stays_the_same_for_a_while() -> None:
    axes = {axis_of(ramping(), "hour", NOW + timedelta(seconds=second)) for second in range(600)}

    assert len(axes) <= 11


@pytest.mark.parametrize("minutes", [10, 11, 59, 60, 61, 200, 1439, 1440, 5000, 20_000, 500_000])
def test_an_axis_has_few_round_moments(minutes: int) -> None:
    axis = Axis(ago(minutes=minutes), NOW)
    ticks = list(axis.ticks(CLOCK))

    assert 1 <= len(ticks) <= 5
    assert all(0 <= tick.x <= 100 for tick in ticks)
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_the_text_of_a_moment_stays_inside() -> None:
    anchors = {tick.text: tick.anchor for tick in Axis(ago(minutes=60), NOW).ticks(CLOCK)}

    assert anchors == {"13:15": "middle", "13:30": "middle", "13:45": "middle", "14:00": "end"}


def test_what_is_before_the_axis_is_at_its_left_end() -> None:
    axis = Axis(ago(hours=1), NOW)

    assert [axis.x(at) for at in (ago(days=1), ago(minutes=30), NOW, NOW + timedelta(hours=1))] == [0, 50, 100, 100]
