"""The charts of a component, one beneath the other, with one axis of time. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from rampd import v1
from rampd._contract.wording import counted
from rampd._standing.clock import Clock
from rampd._standing.share import percent
from rampd_server.domain.evidence.samples import intervals
from rampd_server.page.charts.axis import SPANS, Axis, Tick
from rampd_server.page.charts.course import course
from rampd_server.page.charts.jobs import Column, JobsChart, RateChart, columns, jobs_chart, rate_chart
from rampd_server.page.charts.percent import PercentChart, percent_chart
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.known import Known


@dataclass(frozen=True, slots=True)
class Span:
    """How much time the charts can show."""

    word: str
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """The charts. `about_percent` and `about_jobs` say in words what is drawn."""

    spans: tuple[Span, ...]
    ticks: tuple[Tick, ...]
    percent: PercentChart
    about_percent: str
    rates: RateChart
    jobs: tuple[JobsChart, ...]
    about_jobs: str
    columns: tuple[Column, ...]
    """The jobs as numbers, newest first."""


def figure(known: Known, asked: Asked, clock: Clock) -> Figure:
    """Returns the charts of a rollout that can be read. The axis of a rollout that has just begun reaches to before its beginning, but
    no jobs from there are drawn: they ran another next, or none.
    """
    rollout, axis, events = known.rollout, known.axis, known.lasting.of_axis
    chart = percent_chart(course(rollout, events, is_cut=known.lasting.is_cut), events, axis, clock)
    is_of_rollout = rollout.HasField("next") and asked.span not in SPANS
    of_all = intervals(known.samples)
    found = columns([each for each in of_all if not is_of_rollout or each.release == rollout.next.number], axis)
    return Figure(
        spans=tuple(_spans(rollout, asked)),
        ticks=tuple(axis.ticks(clock)),
        percent=chart,
        about_percent=_about_percent(rollout, chart, axis, clock),
        rates=rate_chart(found, axis),
        jobs=tuple(jobs_chart(found, axis, channel) for channel in ("current", "next")),
        about_jobs=_about_jobs(found, axis, clock),
        columns=tuple(found[::-1]),
    )


def _spans(rollout: v1.Rollout, asked: Asked) -> Iterator[Span]:
    has_next = rollout.HasField("next")
    chosen = asked.span if asked.span in SPANS else "" if has_next else "day"
    for name, word in (*([("", "this rollout")] if has_next else []), *((name, name) for name in SPANS)):
        yield Span(word, f"{asked.link(span=name)}#charts", name == chosen)


def _about_percent(rollout: v1.Rollout, chart: PercentChart, axis: Axis, clock: Clock) -> str:
    now = f"{percent(rollout.next_percent)} now" if rollout.HasField("next") else "there is no next now"
    return f"The percent of next, {_from_to(axis, clock)}: {now}. {counted(len(chart.marks), 'event')} marked."


def _about_jobs(found: list[Column], axis: Axis, clock: Clock) -> str:
    current, of_next = (sum(each.current.jobs for each in found), sum(each.next.jobs for each in found))
    return f"Jobs that ended, {_from_to(axis, clock)}: {current:,} of current and {of_next:,} of next."


def _from_to(axis: Axis, clock: Clock) -> str:
    return f"{clock.time(axis.start)} to {clock.time(axis.end)}"
