"""One component, as its page shows it."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from rampd import v1
from rampd._evidence.release_counters import JobCount
from rampd._standing.clock import Clock
from rampd._standing.explanation import Explanation
from rampd_server.domain.evidence.samples import Sample
from rampd_server.page.charts.axis import axis_of
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.figure import figure
from rampd_server.page.component.known import Events, Explained, Known, Lasting, Overrides, Quarantine
from rampd_server.page.component.lists import quarantine
from rampd_server.page.component.view import View, view
from rampd_server.rpc.binding import NAMES
from tests.cli import rollouts
from tests.cli.rollouts import NOW, ago
from tests.unit.server.page.events import event, ramped

CLOCK = Clock.of_page(NOW)
NOTHING = Asked()
EVERYTHING = dict.fromkeys(NAMES, True)


def known(rollout: v1.Rollout, asked: Asked = NOTHING, *, says: str = "", **lasting: object) -> Known:
    axis = axis_of(rollout, asked.span, NOW)
    return Known(rollout, axis, says=says, lasting=Lasting(**lasting))  # type: ignore[arg-type]


def seen(known: Known, asked: Asked = NOTHING, may: Mapping[str, bool] = EVERYTHING) -> View:
    charts = figure(known, asked, CLOCK) if known.rollout.HasField("current") else None
    return view(known, charts, asked, CLOCK, may)


def shown(rollout: v1.Rollout, asked: Asked = NOTHING, *, says: str = "", **lasting: object) -> View:
    return seen(known(rollout, asked, says=says, **lasting), asked)


@pytest.mark.parametrize(
    ("rollout", "title", "icon"),
    [
        (rollouts.held(), "HELD: restyler · rampd", "icon-held.svg"),
        (rollouts.unconfirmed(), "unconfirmed: restyler · rampd", "icon-waits.svg"),
        (rollouts.damaged(), "damaged: restyler · rampd", "icon-waits.svg"),
        (rollouts.ramping(), "restyler · rampd", "icon.svg"),
        (rollouts.steady(), "restyler · rampd", "icon.svg"),
    ],
    ids=["held", "unconfirmed", "damaged", "ramping", "steady"],
)
def test_title_and_icon_say_what_waits_for_a_person(rollout: v1.Rollout, title: str, icon: str) -> None:
    head = shown(rollout).head

    assert (head.title, head.icon) == (title, icon)


def test_a_page_says_what_automation_waits_for_and_what_comes_next() -> None:
    now = shown(
        rollouts.ramping(), says="20200409 holds at 25 %: 30 min to go and 80 of 200 jobs reported.", newest=ramped()
    ).now

    assert now.said == "20200409 holds at 25 %: 30 min to go and 80 of 200 jobs reported."
    assert now.coming == "50 % at 14:35 UTC at the earliest, in 30 min"


def test_without_a_word_of_automation_the_state_says_why() -> None:
    said = shown(rollouts.held()).now.said

    assert said.startswith("Held by rampd at 13:53 UTC: 20200409 fails more often")


def test_it_is_said_which_versions_fail() -> None:
    rollout = rollouts.with_current(rollouts.ramping(), (1_000, 500))
    rollout.evidence.e = 1_000

    fails = shown(rollout).now.fails

    assert fails[0] == "20200409 fails more often than 20200301: E is 1,000, limit 100."
    assert fails[1].startswith("Jobs of current fail more often than usual: 500 of 1,000")
    assert shown(rollouts.ramping()).now.fails == ()


def test_what_damages_a_component_goes_before_what_automation_says() -> None:
    rollout = rollouts.damaged()

    found = shown(rollout, says="20200409 is at 25 %.")

    assert "is damaged" in found.now.said
    assert found.figure is None
    assert found.policy == ()


def test_both_channels_are_compared() -> None:
    found = shown(rollouts.ramping())

    assert [(each.name, each.percent, each.jobs, each.failures, each.rate) for each in found.channels] == [
        ("current", "75 %", "1,200", "4", "0.3 %"),
        ("next", "25 %", "140", "6", "4.3 %"),
    ]
    assert found.not_compared == "30 jobs of current, 0 failed; 12 jobs of next, 1 failed"
    assert found.evidence is not None
    assert (found.evidence.e, found.evidence.limit, found.evidence.share, found.evidence.tone) == (
        "8.25",
        "100",
        45.8,
        "good",
    )


def test_evidence_of_what_is_held_says_that_later_jobs_count_too() -> None:
    """E goes on growing, and the sentence about the rollback has that of its moment."""
    found = rollouts.held()
    found.evidence.CopyFrom(v1.Evidence(e=173, limit=100))

    assert [each.evidence.later if each.evidence else "" for each in (shown(found), shown(rollouts.ramping()))] == [
        "Jobs that ended after it was held count, too.",
        "",
    ]


def test_a_steady_component_has_one_channel_and_no_evidence() -> None:
    found = shown(rollouts.steady())

    assert [(each.name, each.percent) for each in found.channels] == [("current", "100 %")]
    assert (found.evidence, found.plan, found.blast) == (None, None, None)


def test_the_plan_says_where_it_stands_and_how_it_ends() -> None:
    plan = shown(rollouts.ramping()).plan

    assert plan is not None
    assert [(step.is_over, step.is_now) for step in plan.steps] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]
    assert plan.end == "current"


def test_queue_and_previous_are_in_order() -> None:
    found = shown(rollouts.ramping())

    assert [(each.number, each.tag) for each in found.queue] == [(5, "20200410"), (6, "20200411")]
    assert [each.tag for each in found.previous] == ["20200229", "20200228"]


def test_tags_of_jobs_come_first_in_the_quarantine() -> None:
    tags = [v1.QuarantinedTag(tag=tag, actor="ada", note="bad") for tag in ("1.0", "20200409")]

    found = shown(rollouts.ramping(), quarantine=quarantine(rollouts.ramping(), tags))

    assert [(each.tag, each.role) for each in found.quarantine] == [("20200409", "next"), ("1.0", "")]
    assert found.more_quarantine == ""


def test_of_very_many_tags_in_quarantine_the_newest_are_listed() -> None:
    """Each look of each tab draws what is listed: a thousand tags would keep the event loop for 20 ms."""
    tags = [v1.QuarantinedTag(tag=f"{number:04}") for number in range(1_000)]
    for number, tag in enumerate(tags):
        # The order of the tags is not that of time.
        tag.create_time.FromSeconds(number * 7 % 1_000)
    tags.append(v1.QuarantinedTag(tag="20200409"))

    found = shown(rollouts.ramping(), quarantine=quarantine(rollouts.ramping(), tags))

    assert [each.tag for each in found.quarantine[:3]] == ["20200409", "0857", "0714"]
    assert len(found.quarantine) == 50
    assert found.more_quarantine == "951"


def test_overrides_say_who_set_them_and_when_they_end() -> None:
    override = v1.Override(repo="acme/app", channel=v1.CHANNEL_NEXT, actor="ada", actor_claimed=True, note="try it")
    override.expire_time.FromDatetime(NOW + timedelta(days=1))
    pinned = v1.Override(repo="acme/lib", tag="pb/x")

    found = shown(rollouts.ramping(), overrides=Overrides("acme/lib", overrides=[override, pinned]))

    assert [(each.repo, each.to, each.actor) for each in found.overrides] == [
        ("acme/app", "next", "ada (claimed)"),
        ("acme/lib", "the tag pb/x", ""),
    ]
    assert found.overrides[0].ends == NOW + timedelta(days=1)
    assert (found.overrides_end.more, found.overrides_end.newest) == ("?overrides=acme%2Flib#overrides", "")


def test_what_a_person_may_do_is_beside_what_it_is_about() -> None:
    rollout = rollouts.ramping()
    lasting = Lasting(
        overrides=Overrides(overrides=[v1.Override(repo="acme/app", tag="1.0")]),
        quarantine=Quarantine([v1.QuarantinedTag(tag="1.0")]),
    )
    known_ = Known(rollout, axis_of(rollout, "", NOW), lasting=lasting)

    found = seen(known_)
    assert "Roll back" in [each.label for each in found.head.verbs]
    assert found.queue[0].button is not None
    assert found.queue[0].button.href.startswith("/components/restyler/cancel-release?release=5")
    assert [each.button is not None for each in (*found.overrides, *found.quarantine)] == [True, True]
    assert [each.button for each in found.previous] == [None, None]

    found = seen(known_, may=dict.fromkeys(NAMES, False))
    assert found.head.verbs == ()
    assert [each.button for each in (*found.queue, *found.overrides, *found.quarantine)] == [None] * 4


def test_a_history_has_every_changed_field_and_leads_to_older_events() -> None:
    found = shown(rollouts.ramping(), Asked(span="day"), history=Events("1-2", events=ramped()))

    assert found.history[0].anchor == f"event-{ramped()[0].id}"
    assert [(change.field, change.before, change.after) for change in found.history[-1].changes] == [
        ("next", "", "4"),
        ("next_tag", "", "20200409"),
        ("state", "STEADY", "ROLLING_OUT"),
        ("next_percent", "", "0"),
    ]
    assert (found.history_end.more, found.history_end.newest) == ("?span=day&before=1-2#history", "")


def test_a_history_that_does_not_begin_with_the_newest_event_leads_to_it() -> None:
    found = shown(rollouts.ramping(), Asked(event="1-2"), history=Events(events=[event("Ramp", ago(), {})]))

    assert (found.history_end.more, found.history_end.newest) == ("", "?#history")


def test_a_version_is_explained() -> None:
    explanation = Explanation(rollouts.ramping(), None, "acme/app")
    answer = v1.ResolveResponse(tag=explanation.answer.tag)

    found = shown(rollouts.ramping(), explained=Explained(explanation=explanation, answer=answer)).answer

    assert found is not None
    assert (
        found.sentences[0]
        == f"acme/app gets {explanation.answer.tag}, {explanation.answer.channel.lower()} of restyler."
    )  # type: ignore[union-attr]
    assert len(found.sentences) == 3


def test_a_server_that_answers_something_else_is_named() -> None:
    explanation = Explanation(rollouts.ramping(percent=100), None, "acme/app")
    answer = v1.ResolveResponse(tag="20200301", reason=v1.RESOLVE_REASON_STALE, revision=12)

    found = shown(rollouts.ramping(percent=100), explained=Explained(explanation=explanation, answer=answer)).answer

    assert found is not None
    assert found.sentences[-1].startswith("This server answers 20200301 (STALE), of revision 12.")


def test_a_wrong_question_is_answered_with_what_is_wrong() -> None:
    found = shown(rollouts.ramping(), explained=Explained("repo must be …")).answer

    assert found is not None
    assert (found.refusal, found.sentences) == ("repo must be …", ())


def test_a_figure_has_the_jobs_newest_first_under_the_same_axis() -> None:
    noon = int(ago(minutes=30).timestamp() * 1000)
    samples = [
        Sample(noon, 15_000, 4, 1, 3, JobCount(100, 1), JobCount(10, 1)),
        Sample(noon + 600_000, 15_000, 4, 1, 3, JobCount(120, 1), JobCount(15, 3)),
        Sample(noon + 1_200_000, 0, 4, 1, 3, JobCount(130, 2), JobCount(15, 3)),
    ]
    rollout = rollouts.ramping()
    found = seen(Known(rollout, axis_of(rollout, "", NOW), samples=samples)).figure

    assert found is not None
    assert [(each.current, each.next) for each in found.columns] == [
        (JobCount(10, 1), JobCount()),
        (JobCount(20, 0), JobCount(5, 2)),
    ]
    assert found.about_jobs.endswith("30 of current and 5 of next.")
    assert found.about_percent.endswith("25 % now. 0 events marked.")


@pytest.mark.parametrize(("span", "jobs"), [("", [(5, 1)]), ("hour", [(5, 1), (90, 9)])])
def test_the_jobs_of_this_rollout_are_not_those_of_the_release_before(span: str, jobs: list[tuple[int, int]]) -> None:
    """The axis of a rollout that has just begun reaches to before its beginning."""
    rollout = rollouts.ramping()
    rollout.next.update_time.FromDatetime(ago(seconds=30))
    before, began = (int(ago(seconds=seconds).timestamp() * 1000) for seconds in (60, 30))
    samples = [
        Sample(before, 15_000, 3, 1, 2, JobCount(100, 1), JobCount(10, 1)),
        Sample(began, 15_000, 4, 1, 3, JobCount(100, 1), JobCount(100, 10)),
        Sample(began + 15_000, 0, 4, 1, 3, JobCount(100, 1), JobCount(105, 11)),
    ]

    found = seen(Known(rollout, axis_of(rollout, span, NOW), samples=samples), Asked(span=span)).figure

    assert found is not None
    assert sum(each.next.jobs for each in found.columns) == sum(count for count, _ in jobs)
    assert sum(each.next.failures for each in found.columns) == sum(failures for _, failures in jobs)


def test_a_freeze_is_said_once() -> None:
    rollout = rollouts.frozen(rollouts.ramping(), note="holidays")
    for says in ("", "20200409 is at 25 %. Frozen by grace."):
        now = shown(rollout, says=says).now
        assert " ".join([now.said, *now.freezes]).count("Frozen by grace") == 1
    everything = shown(
        rollouts.frozen(rollouts.ramping(), is_all=True), says="20200409 is at 25 %. Frozen by grace."
    ).now
    assert everything.said == ""
    assert len(everything.freezes) == 1


@pytest.mark.parametrize(
    ("rollout", "began"),
    [
        (rollouts.ramping(), "Became next"),
        (rollouts.steady(), "Became current"),
        (rollouts.held(), "HELD"),
        (rollouts.paused(), "Paused"),
    ],
)
def test_it_is_said_what_began_when_it_began_to_stand_like_this(rollout: v1.Rollout, began: str) -> None:
    assert shown(rollout).head.began == began


@pytest.mark.parametrize("newest", [ramped(), [event("Ramp", NOW, {"next_percent": ("25", "30")}), *ramped()]])
def test_what_the_plan_drives_can_not_be_resumed(newest: list[v1.Event]) -> None:
    is_by_hand = newest[0].action == "Ramp"
    assert ("Resume" in [each.label for each in shown(rollouts.ramping(), newest=newest).head.verbs]) == is_by_hand


def test_a_person_can_choose_the_time_that_is_shown() -> None:
    figure = shown(rollouts.ramping(), Asked(span="day")).figure
    assert figure is not None
    assert [(span.word, span.is_chosen) for span in figure.spans] == [
        ("this rollout", False),
        ("hour", False),
        ("day", True),
        ("week", False),
    ]

    figure = shown(rollouts.steady(), Asked(span="<script>")).figure
    assert figure is not None
    assert [span.word for span in figure.spans if span.is_chosen] == ["day"]
