"""The chart of the percent of next."""

from datetime import timedelta

from rampd._standing.clock import Clock
from rampd_server.page.charts.axis import Axis
from rampd_server.page.charts.course import course
from rampd_server.page.charts.percent import Band, percent_chart, small_line
from tests.cli.rollouts import NOW, ago, frozen, held, paused, ramping, steady
from tests.unit.server.page.events import event, goes, ramped, starts

CLOCK = Clock(NOW, is_utc=True)
AXIS = Axis(ago(minutes=100), NOW)
"""One percent of the width is a minute."""


def test_a_line_has_the_percents_as_steps() -> None:
    chart = percent_chart(course(ramping(), ramped()), ramped(), AXIS, CLOCK)

    assert [(path.kind, path.d) for path in chart.paths] == [
        ("area next", "M40 132H50V82.4H70V8H100V132H40Z"),
        ("line next", "M40 132H50V82.4H70V8H100"),
    ]
    assert [level.text for level in chart.levels] == ["0 %", "12.5 %", "25 %"]


def test_a_small_percent_does_not_look_like_a_large_one() -> None:
    chart = percent_chart(course(ramping(percent=1), []), [], AXIS, CLOCK)

    assert [level.text for level in chart.levels] == ["0 %", "5 %", "10 %"]
    assert chart.paths[1].d == "M0 119.6H100"


def test_the_release_before_has_a_line_of_its_own() -> None:
    events = [starts(4, "b", ago(minutes=20), after=(3, "a")), goes("0", "50", ago(minutes=60))]
    rollout = ramping(percent=0)
    chart = percent_chart(course(rollout, [goes("50", "0", ago(minutes=20)), *events]), events, AXIS, CLOCK)

    assert [path.kind for path in chart.paths] == ["area past", "line past", "area next", "line next"]


def test_nothing_is_drawn_where_there_was_no_next() -> None:
    chart = percent_chart(course(steady(), []), [], AXIS, CLOCK)

    assert (chart.paths, chart.bands, chart.marks) == ([], [], [])


def test_the_axis_does_not_reach_into_the_time_to_come() -> None:
    axis = Axis(ago(minutes=50), NOW + timedelta(minutes=50))

    assert percent_chart(course(ramping(), []), [], axis, CLOCK).paths[1].d == "M0 8H50"


def test_the_times_of_a_pause_a_freeze_and_a_hold_are_bands() -> None:
    pause = event("Pause", ago(minutes=40), {"paused": ("false", "true")})
    resume = event("Resume", ago(minutes=20), {"paused": ("true", "false")})
    freeze = event("Freeze", ago(minutes=10), {"freeze": (None, "by ada")}, all_=True)
    events = [freeze, resume, pause]

    chart = percent_chart(course(frozen(ramping(), is_all=True), events), events, AXIS, CLOCK)
    assert chart.bands == [Band(60.0, 20.0, "paused", "paused"), Band(90.0, 10.0, "frozen", "frozen")]
    assert chart.kinds == ["frozen", "paused"]

    back = event("Rollback", ago(minutes=30), {"state": ("ROLLING_OUT", "HELD"), "next_percent": ("25", "0")})
    assert percent_chart(course(held(), [back]), [back], AXIS, CLOCK).bands == [Band(70.0, 30.0, "held", "HELD")]


def test_a_pause_that_lasts_is_a_band_to_the_end() -> None:
    assert percent_chart(course(paused(), []), [], AXIS, CLOCK).bands == [Band(0.0, 100.0, "paused", "paused")]


def test_what_happened_is_marked_at_its_percent() -> None:
    chart = percent_chart(course(ramping(), ramped()), ramped(), AXIS, CLOCK)

    assert [(mark.x, mark.y, mark.action, mark.percent) for mark in chart.marks] == [
        (70.0, 8.0, "Step", "25 %"),
        (60.0, 82.4, "Hold", "10 %"),
        (50.0, 82.4, "Step", "10 %"),
        (40.0, 132.0, "Release", "0 %"),
    ]
    assert chart.marks[0].said == "13:35 UTC: Step by rampd. From 10 to 25."
    assert chart.marks[0].event_id == ramped()[0].id


def test_a_mark_says_by_its_tone_what_it_means() -> None:
    actions = ["Rollback", "Pause", "Finalize", "Ramp"]
    events = [event(action, ago(minutes=number), {"trial": ("1", "2")}) for number, action in enumerate(actions)]

    chart = percent_chart(course(ramping(), events), events, AXIS, CLOCK)

    assert [mark.tone for mark in chart.marks] == ["bad", "waits", "good", "moves"]


def test_an_event_of_the_namespace_has_no_place_in_the_history_of_a_component() -> None:
    events = [event("Freeze", ago(minutes=1), {"freeze": (None, "by ada")}, all_=True)]

    assert percent_chart(course(ramping(), events), events, AXIS, CLOCK).marks[0].event_id == ""


def test_no_chart_has_more_marks_than_can_be_told_apart() -> None:
    events = [goes("10", "25", ago(seconds=second)) for second in range(300)]
    chart = percent_chart(course(ramping(), events), events, AXIS, CLOCK)

    assert len(chart.marks) == 100
    assert chart.marks[0].at == ago(seconds=0)


def test_a_row_has_a_small_line_of_the_present_next() -> None:
    assert small_line(course(ramping(), ramped()), AXIS, NOW) == "M40 19H50V17.2H70V14.5H100"
    assert small_line(course(steady(), []), AXIS, NOW) == ""
