"""`rampd status`: what a person sees. The views are pure, so these tests give them messages and the time."""

import re
from datetime import timedelta

import pytest
from rich.cells import cell_len

from rampd import v1
from rampd_cli.app import SECTIONS
from rampd_cli.drawing.clock import Clock
from rampd_cli.drawing.screen import Screen
from rampd_cli.status.known import Detail, Known, Overrides
from rampd_cli.status.showing import drawn
from tests.cli import rollouts
from tests.cli.golden import assert_golden, printed
from tests.cli.rollouts import NOW, ago

CLOCK = Clock(NOW, is_utc=True)

EVERYTHING = {
    "steady": [rollouts.steady()],
    "ramping": [rollouts.ramping(), rollouts.steady("mailer")],
    "held": [rollouts.held(), rollouts.steady("mailer")],
    "paused": [rollouts.paused("restyler"), rollouts.paused("mailer", v1.PAUSE_CAUSE_CHECK_FAILED)],
    "frozen": [
        rollouts.frozen(rollouts.ramping(), is_all=True),
        rollouts.frozen(rollouts.frozen(rollouts.steady("mailer")), is_all=True),
        rollouts.frozen(rollouts.steady("search"), is_all=True),
    ],
    "50-components": rollouts.fifty(),
    "empty": [],
}
EVENTS = [
    rollouts.event("SetOverride", note="they asked for it", **{"override/acme/app": ("", "tag pb/secret-branch")}),
    rollouts.event("Step", "rampd", "20200409 goes from 10 % to 25 %. It held for 10 min.", ago(minutes=48)),
    rollouts.event("Release", "ci", at=ago(hours=1), **{"release/5": ("", "20200410 QUEUED"), "queue": ("", "5")}),
    rollouts.event("Ramp", "ada", at=ago(hours=30), next_percent=("50", "0")),
    rollouts.event("SetPolicy", "ada", at=ago(days=400), **{"policy.steps": ("", "10 %"), "policy.alpha": ("", "0.1")}),
    rollouts.event("Release", "ci", at=ago(days=401), **{"release/1": ("", "20200228 CURRENT")}),
]
DETAILS = {
    "steady": Detail(rollouts.steady()),
    "ramping": Detail(
        rollouts.ramping(),
        says="20200409 is at 25 %. 20200409 holds at 25 %: 12 min to go and 140 of 200 jobs reported.",
        events=EVENTS,
        overrides=Overrides(to_current=1, to_next=1_200, to_tag=2),
        quarantined=["20200302"],
    ),
    "held": Detail(
        rollouts.held(), says="20200409 is held, and everybody gets 20200301: it fails more often.", events=EVENTS
    ),
    "paused": Detail(
        rollouts.paused(), says="20200409 is at 25 %. Paused by ada: the team is at lunch. Resume goes on."
    ),
    "unconfirmed": Detail(rollouts.unconfirmed(), says="20200409 is at 25 %. The Ramp of 20200409 waits for Confirm."),
    "frozen": Detail(rollouts.frozen(rollouts.frozen(rollouts.ramping(), note=""), is_all=True)),
    "damaged": Detail(rollouts.damaged(), events=EVENTS),
}


def text_of(known: Known, width: int, height: int | None = None, *, at: str = "") -> str:
    return printed(drawn(known, CLOCK, Screen(width, height), at=at), width)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", EVERYTHING)
def test_all_components_look_like_this(name: str, width: int) -> None:
    assert_golden(f"status-{name}-{width}", text_of(Known(EVERYTHING[name]), width))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", DETAILS)
def test_one_component_looks_like_this(name: str, width: int) -> None:
    found = DETAILS[name]
    assert_golden(f"status-one-{name}-{width}", text_of(Known([found.rollout], [found]), width))


@pytest.mark.parametrize("is_detail", [True, False], ids=["one", "all"])
@pytest.mark.parametrize("is_quarantined", [True, False], ids=["quarantined", "not quarantined"])
def test_a_held_next_in_quarantine_leaves_it_before_it_is_tried_again(is_detail: bool, is_quarantined: bool) -> None:
    rollout = rollouts.held()
    found = Detail(rollout, quarantined=["20200409"] if is_quarantined else [])
    known = Known([rollout], [found] if is_detail else None, quarantined={"restyler"} if is_quarantined else ())

    text = text_of(known, 200)

    assert "rampd ramp restyler PERCENT" in text
    assert ("rampd quarantine remove restyler 20200409 && rampd ramp restyler PERCENT" in text) is is_quarantined


@pytest.mark.parametrize("is_detail", [True, False], ids=["one", "all"])
def test_each_command_reaches_the_server_that_was_typed(is_detail: bool) -> None:
    found = list(DETAILS.values())
    many = [rollouts.steady(f"s{number}") for number in range(900)]
    known = Known([*(each.rollout for each in found), *many], found if is_detail else None, quarantined={"restyler"})

    text = text_of(known, 200, 100, at=" --server h:1")

    commands = "|".join(name for section in SECTIONS.values() for name in section)
    assert len(re.findall(f"rampd (?:{commands}) ", text)) == text.count(" --server h:1") > 5


STOPPED = {
    "held": rollouts.held(),
    "paused": rollouts.paused(),
    "paused by rampd": rollouts.paused("restyler", v1.PAUSE_CAUSE_CHECK_FAILED),
    "approval": rollouts.paused("restyler", v1.PAUSE_CAUSE_APPROVAL),
}


@pytest.mark.parametrize("is_detail", [True, False], ids=["one", "all"])
@pytest.mark.parametrize("is_all", [True, False], ids=["everything", "it alone"])
@pytest.mark.parametrize("rollout", STOPPED.values(), ids=STOPPED)
def test_what_is_frozen_is_not_told_to_go_on_but_by_whom_and_how_the_freeze_ends(
    rollout: v1.Rollout, is_all: bool, is_detail: bool
) -> None:
    stopped = v1.Rollout.FromString(rollout.SerializeToString())
    known = Known([rollouts.frozen(stopped, is_all=is_all)], [Detail(stopped)] if is_detail else None)
    text = text_of(known, 200)
    stopped.freezes[0].ClearField("expire_time")
    without_end = text_of(known, 200)

    assert "rampd resume" not in text
    assert "rampd ramp" not in text
    assert "rozen by grace since 11:05 UTC until " in text
    assert ("rampd unfreeze restyler" in text) is not is_all
    assert "unfreeze --all" not in text
    assert "It lasts until somebody ends it" in without_end
    assert ("rampd unfreeze --all" in without_end) is is_all


def test_the_quarantine_says_whether_current_or_next_is_in_it() -> None:
    found = Detail(rollouts.ramping(), quarantined=[*(f"old-{number}" for number in range(25)), "20200409", "20200301"])

    text = text_of(Known([found.rollout], [found]), 400)

    assert "20200409 (next), 20200301 (current), old-0, " in text
    assert "old-17 and 7 more" in text


def test_what_waits_for_a_person_comes_first_then_held_then_rolling_out_then_steady() -> None:
    text = text_of(Known(rollouts.fifty()), 80)

    names = ["uploads", "checkout", "billing", "gateway", "mailer", "thumbnails", "restyler", "search", "service-00"]
    assert [text.index(f"  {name}") for name in names] == sorted(text.index(f"  {name}") for name in names)
    assert text.startswith("50 components: 4 wait for a person, 1 HELD, 3 rolling out, 42 steady.\n")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("is_detail", [False, True])
def test_no_line_is_longer_than_the_terminal(width: int, is_detail: bool) -> None:
    found = list(DETAILS.values())
    known = Known([each.rollout for each in found], found) if is_detail else Known(rollouts.fifty())

    lines = text_of(known, width).splitlines()

    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_width_cuts_the_name_of_a_component(width: int) -> None:
    name = "a" * 63
    some = [rollouts.held(name), rollouts.ramping("b"), rollouts.steady("c" * 63)]

    text = text_of(Known(some), width).replace("\n  ", "").replace("\n", "")

    assert name in text
    assert "c" * 63 in text


def test_only_a_narrow_terminal_shortens_a_tag_and_it_keeps_both_ends() -> None:
    rollout = rollouts.ramping()
    rollout.next.tag = "sha-fedcba9876543210fedcba9876543210fedcba98"

    assert rollout.next.tag in text_of(Known([rollout]), 200)
    assert "sha-fe…dcba98" in text_of(Known([rollout]), 80)
    assert "sha-fedcba987…43210fedcba98" in text_of(Known([rollout]), 40)


def test_steady_components_that_do_not_fit_are_counted_and_all_others_are_drawn() -> None:
    known = Known([rollouts.held("mailer"), *(rollouts.steady(f"s{number:04}") for number in range(1_000))])

    lines = text_of(known, 80, height=24).splitlines()

    assert len(lines) <= 24
    assert "mailer" in "\n".join(lines)
    shown = sum(line.count("20200301") for line in lines[lines.index("Steady") :])
    assert lines[-1] == f"  {1_000 - shown:,} more. All of them: rampd status -o plain"
    assert shown > 20


def failing(component: str, jobs: int, failures: int) -> v1.Rollout:
    rollout = rollouts.steady(component)
    rollout.current_outcomes.jobs, rollout.current_outcomes.failures = jobs, failures
    return rollout


def test_the_steady_components_that_fail_most_often_are_named() -> None:
    known = Known(
        [
            failing("few", 19, 19),
            failing("good", 1_000, 0),
            *(failing(f"bad{percent}", 1_000, 10 * percent) for percent in (2, 12, 1, 7)),
        ]
    )

    lines = text_of(known, 120).splitlines()

    assert (
        lines[-1] == "  Most failures: bad12 12.0 % of 1,000 jobs, bad7 7.0 % of 1,000 jobs, bad2 2.0 % of 1,000 jobs."
    )
    assert "Most failures" not in text_of(Known([failing("few", 19, 19), failing("good", 1_000, 9)]), 120)


def test_what_was_handed_in_with_a_release_is_shown() -> None:
    rollout = rollouts.ramping()
    rollout.next.attributes.update({"commit": "6b1e", "ci": "https://ci.example/7\n"})

    lines = text_of(Known([rollout], [Detail(rollout)]), 120).splitlines()

    assert r"Attributes next 20200409: ci=https://ci.example/7\n, commit=6b1e" in lines


def test_rollouts_whose_jobs_were_not_read_are_counted() -> None:
    unread = rollouts.ramping("search")
    unread.ClearField("outcomes")

    assert "\nOf 1 rollout the jobs are not shown here. " in text_of(Known([rollouts.ramping(), unread]), 120)
    assert "not shown" not in text_of(Known([rollouts.ramping()]), 120)


def test_the_freeze_of_everything_is_told_once_and_on_top() -> None:
    known = Known([rollouts.frozen(rollouts.ramping(name), is_all=True) for name in ("a", "b", "c")])

    lines = text_of(known, 120).splitlines()

    assert lines[1] == "Everything is frozen by grace since 11:05 UTC until 28 Nov 14:05 UTC: holidays."
    assert sum("grace" in line for line in lines) == 1


def test_the_time_of_the_next_step_is_the_hold_after_the_last_step() -> None:
    found = DETAILS["ramping"]

    text = text_of(Known([found.rollout], [found]), 120)

    assert "Next       50 % at 14:17 UTC at the earliest, in 12 min\n" in text


@pytest.mark.parametrize("action", ["Ramp", "Resume"])
def test_no_time_is_promised_after_a_person_has_taken_over(action: str) -> None:
    found = Detail(rollouts.ramping(), events=[rollouts.event(action), *EVENTS])

    assert "at the earliest" not in text_of(Known([found.rollout], [found]), 120)


def test_nobody_who_calls_themselves_rampd_sets_the_time_of_the_next_step() -> None:
    step = rollouts.event("Step", "rampd")
    step.actor_claimed = True
    found = Detail(rollouts.ramping(), events=[step])

    assert "at the earliest" not in text_of(Known([found.rollout], [found]), 120)


def test_a_hold_that_is_over_waits_for_what_the_step_needs() -> None:
    found = Detail(rollouts.ramping(), events=[rollouts.event("Step", "rampd", at=ago(hours=2))])

    text = text_of(Known([found.rollout], [found]), 120)

    assert "Next       50 %, as soon as the step has what it needs\n" in text


def test_the_step_before_an_approval_leads_to_a_person_and_the_last_one_to_current() -> None:
    def said(percent: float, *, auto_finalize: bool = True) -> str:
        rollout = rollouts.ramping(percent=percent)
        rollout.policy.auto_finalize = auto_finalize
        found = Detail(rollout, events=[rollouts.event("Step", "rampd", at=ago(days=2))])
        text = text_of(Known([rollout], [found]), 120)
        return text.partition("\nNext ")[2].partition(",")[0].strip()

    assert said(50) == "Approval by a person"
    assert said(95) == "Current"
    assert said(95, auto_finalize=False) == "Finalize by a person"


HOSTILE = "\x1b[2J\x1b]0;pwned\x07[red]x[/red]\u202egnp\r\n\x9b31m"


def hostile_rollout() -> v1.Rollout:
    """Every text of a message is hostile."""
    rollout = rollouts.frozen(rollouts.held(HOSTILE), note=HOSTILE)
    for release in (rollout.current, rollout.next, *rollout.queue, *rollout.previous):
        release.tag = HOSTILE
    rollout.held_reason = rollout.held.reason = rollout.held.actor = HOSTILE
    rollout.freezes[0].actor = HOSTILE
    return rollout


@pytest.mark.parametrize("width", [40, 120])
@pytest.mark.parametrize("is_detail", [False, True])
def test_a_hostile_text_stays_a_text(width: int, is_detail: bool) -> None:
    events = [
        rollouts.event(HOSTILE, HOSTILE, **{f"override/{HOSTILE}": ("", HOSTILE)}),
        rollouts.event("Pause", "ada", HOSTILE),
        rollouts.event("Step", "rampd", HOSTILE),
    ]
    some = [hostile_rollout(), rollouts.damaged(HOSTILE), rollouts.paused(HOSTILE), rollouts.steady(HOSTILE, HOSTILE)]
    some[1].damage.problem = some[2].pause.reason = some[2].pause.actor = HOSTILE
    found = [Detail(each, HOSTILE, events, quarantined=[HOSTILE]) for each in some]

    text = text_of(Known(some, found if is_detail else None), width)

    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[red]" in text.replace("\n", "").replace(" ", "")


def test_a_terminal_without_these_characters_gets_bars_of_others() -> None:
    lines = drawn(Known([rollouts.ramping()]), CLOCK, Screen(100, is_ascii=True))

    assert "##------" in printed(lines, 100)


def test_times_of_another_day_have_the_day_and_of_another_year_the_year() -> None:
    assert CLOCK.time(ago(minutes=5)) == "14:00 UTC"
    assert CLOCK.time(ago(days=1)) == "25 Nov 14:05 UTC"
    assert CLOCK.time(ago(days=400)) == "22 Oct 2025 14:05 UTC"
    assert CLOCK.age(NOW + timedelta(seconds=3)) == "0 s"
