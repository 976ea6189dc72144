"""The charts of the jobs."""

from rampd._evidence.release_counters import JobCount
from rampd_server.domain.evidence.samples import Interval
from rampd_server.page.charts.axis import Axis
from rampd_server.page.charts.jobs import Column, columns, jobs_chart, rate_chart
from tests.cli.rollouts import NOW, ago

AXIS = Axis(ago(minutes=100), NOW)
"""One percent of the width is a minute. A column is at least 100 s long, if something happened in all of it."""
START_MS = int(AXIS.start.timestamp() * 1000)


def interval(start_s: float, end_s: float, current: tuple[int, int], next_: tuple[int, int] = (0, 0)) -> Interval:
    return Interval(
        start_ms=START_MS + int(start_s * 1000),
        end_ms=START_MS + int(end_s * 1000),
        release=4,
        trial=1,
        current_revision=3,
        current=JobCount(*current),
        next=JobCount(*next_),
    )


def column(start_s: float, end_s: float, current: tuple[int, int], next_: tuple[int, int] = (0, 0)) -> Column:
    return Column(START_MS + int(start_s * 1000), START_MS + int(end_s * 1000), JobCount(*current), JobCount(*next_))


def test_neighbours_are_put_together_until_they_can_be_seen() -> None:
    found = columns([interval(15 * each, 15 * each + 15, (10, 1), (1, 1)) for each in range(14)], AXIS)

    assert found == [column(0, 105, (70, 7), (7, 7)), column(105, 210, (70, 7), (7, 7))]


def test_a_time_without_jobs_stays_one() -> None:
    found = columns([interval(0, 15, (10, 1)), interval(600, 615, (20, 2))], AXIS)

    assert found == [column(0, 15, (10, 1)), column(600, 615, (20, 2))]


def test_what_was_before_the_axis_is_left_out() -> None:
    found = columns([interval(-900, -300, (10, 1)), interval(-60, 40, (5, 0))], AXIS)

    assert found == [column(-60, 40, (5, 0))]


def test_no_chart_has_more_columns_than_can_be_told_apart() -> None:
    week = [interval(15 * each, 15 * each + 15, (1, 0)) for each in range(400)]

    assert len(columns(week, AXIS)) <= 61


def test_a_moment_with_a_job_is_no_flood_of_jobs() -> None:
    assert column(0, 0.001, (2, 0)).by_minute(2) == 8
    assert column(0, 60, (30, 0)).by_minute(30) == 30


def test_rates_are_steps_and_end_where_there_were_no_jobs() -> None:
    found = [column(0, 600, (100, 0)), column(600, 1200, (100, 2)), column(3000, 3600, (100, 1))]

    chart = rate_chart(found, AXIS)

    assert [level.text for level in chart.levels] == ["0 %", "1 %", "2 %"]
    assert [(path.kind, path.d) for path in chart.paths] == [("line current", "M0 92H10H10V8H20M50 50H60")]


def test_a_rate_of_few_jobs_is_drawn_faintly_and_does_not_choose_the_scale() -> None:
    """It is over the scale, so it is drawn above the line at the top, and not at its percent."""
    found = [column(0, 600, (1000, 10), (1, 1)), column(600, 1200, (1000, 10), (50, 2))]

    chart = rate_chart(found, AXIS)

    assert (chart.levels[-1].text, chart.has_beyond) == ("5 %", True)
    assert [(path.kind, path.d) for path in chart.paths if "next" in path.kind] == [
        ("line next", "M10 24.8H20"),
        ("line next few", "M0 2H10"),
    ]
    assert chart.levels[-1].y == 8


def test_a_channel_of_which_all_rates_are_of_few_jobs_chooses_the_scale_too() -> None:
    """Given that 8 of 8 jobs of next failed, expect that they are not drawn at the failure rate of current."""
    found = [column(0, 600, (1000, 10), (5, 5)), column(600, 1200, (1000, 10), (3, 3))]

    chart = rate_chart(found, AXIS)

    assert (chart.levels[-1].text, chart.has_beyond) == ("100 %", False)
    assert [(path.kind, path.d) for path in chart.paths if "next" in path.kind] == [
        ("line next few", "M0 8H10H10V8H20")
    ]


def test_each_channel_has_a_scale_of_its_own() -> None:
    found = [column(0, 600, (6000, 60), (30, 0)), column(600, 1200, (3000, 0), (60, 60))]

    current, following = (jobs_chart(found, AXIS, channel) for channel in ("current", "next"))

    assert (current.most, following.most) == ("600", "6.0")
    assert [(path.kind, path.d) for path in current.paths] == [
        ("current", "M0 48v-47h10V48zM10 48v-23.5h10V48z"),
        ("failed", "M0 48v-1h10V48z"),
    ]
    assert [(path.kind, path.d) for path in following.paths] == [
        ("next", "M0 48v-23.5h10V48zM10 48v-47h10V48z"),
        ("failed", "M10 48v-47h10V48z"),
    ]


def test_without_jobs_nothing_is_drawn() -> None:
    assert rate_chart([], AXIS).paths == []
    assert jobs_chart([], AXIS, "current").paths == []
    assert jobs_chart([column(0, 15, (3, 0))], AXIS, "next").paths == []
