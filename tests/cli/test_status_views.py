"""`rampd status`: what a person sees. The views are pure, so these tests give them messages and the time."""

import math
import re
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from rampd import v1
from rampd._standing.clock import Clock
from rampd._standing.standing import standing
from rampd._standing.tone import Tone
from rampd_cli.app import SECTIONS
from rampd_cli.commands.status import COLUMNS
from rampd_cli.drawing import palette
from rampd_cli.drawing.screen import Screen
from rampd_cli.status.known import Detail, Known, Overrides
from rampd_cli.status.rows import row
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


@pytest.mark.parametrize(
    ("rollout", "word", "style"),
    [
        (rollouts.damaged(), "damaged", palette.BAD),
        (rollouts.held(), "HELD", palette.BAD),
        (rollouts.paused(cause=v1.PAUSE_CAUSE_APPROVAL), "approval", palette.WAITS),
        (rollouts.ramping(), "rolling out", palette.MOVES),
        (rollouts.steady(), "steady", palette.GOOD),
    ],
)
def test_the_word_for_how_it_stands_has_the_colour_of_its_meaning(rollout: v1.Rollout, word: str, style: str) -> None:
    head = drawn(Known([rollout], [Detail(rollout)]), CLOCK, Screen(200))[0]

    assert [span.style for span in head.spans if head.plain[span.start : span.end] == word] == [style]


def test_each_tone_has_a_colour_of_its_own() -> None:
    assert len({palette.style_of(tone) for tone in Tone}) == len(Tone)


def both(rollout: v1.Rollout) -> list[str]:
    """A component on a screen of its own, and among all."""
    return [text_of(Known([rollout], [Detail(rollout)]), 200), text_of(Known([rollout]), 200)]


def failing_next(rollout: v1.Rollout) -> v1.Rollout:
    rollout.evidence.e = 131.5
    return rollout


@pytest.mark.parametrize(
    "rollout",
    [
        rollouts.ramping(),
        rollouts.paused(),
        rollouts.paused(cause=v1.PAUSE_CAUSE_APPROVAL),
        rollouts.unconfirmed(),
        rollouts.frozen(rollouts.ramping()),
    ],
    ids=lambda rollout: standing(rollout).kind.name,
)
def test_a_next_that_fails_and_goes_on_is_named_with_the_command_that_takes_it_back(rollout: v1.Rollout) -> None:
    """Given a policy that only notifies, expect that a person reads what to type."""
    said = "20200409 fails more often than 20200301: E is 132, limit 100."
    assert all(said not in text for text in both(rollout))
    for text in both(failing_next(rollout)):
        assert text.count(said) == 1
        assert text.count("rampd rollback restyler") == 1


@pytest.mark.parametrize("rollout", [rollouts.held(), rollouts.paused(cause=v1.PAUSE_CAUSE_CHECK_FAILED)])
def test_what_automation_has_done_about_a_next_that_fails_is_said_once(rollout: v1.Rollout) -> None:
    for text in both(failing_next(rollout)):
        assert "20200409 fails more often than 20200301: E is" not in text


@pytest.mark.parametrize("is_quarantined", [True, False], ids=["quarantined", "not quarantined"])
def test_a_held_next_in_quarantine_leaves_it_before_it_is_tried_again(is_quarantined: bool) -> None:
    rollout = rollouts.quarantined(rollouts.held(), *([v1.CHANNEL_NEXT] if is_quarantined else []))

    for text in both(rollout):
        assert "rampd ramp restyler PERCENT" in text
        assert ("rampd quarantine remove restyler 20200409 && rampd ramp restyler PERCENT" in text) is is_quarantined


@pytest.mark.parametrize("make", [rollouts.steady, rollouts.ramping, rollouts.held, rollouts.unconfirmed])
def test_a_current_in_quarantine_waits_for_a_person_who_reads_what_to_do(make: Callable[[], v1.Rollout]) -> None:
    for text in both(rollouts.quarantined(make(), v1.CHANNEL_CURRENT)):
        assert "20200301 is in quarantine and current: jobs run it." in text
        assert "rampd revert restyler --to 202002" in text
        assert "to end the quarantine, if its reason is gone, and keep it:" in text
        assert "rampd quarantine remove restyler 20200301" in text
    assert text.startswith("1 component: 1 waits for a person.\n")


def test_a_current_in_quarantine_hides_neither_why_next_is_held_nor_what_to_do_about_it() -> None:
    for text in both(rollouts.quarantined(rollouts.held(), v1.CHANNEL_CURRENT)):
        assert "20200409 fails more often than 20200301: 6 of 140 jobs failed" in text
        assert "rampd abandon restyler" in text


def test_a_current_in_quarantine_with_nothing_before_it_is_replaced_but_not_while_it_is_frozen() -> None:
    rollout = rollouts.quarantined(rollouts.steady(), v1.CHANNEL_CURRENT)
    rollout.ClearField("previous")

    for text in both(rollout):
        assert "to replace it at once: rampd release restyler TAG --expedite" in text
    rollouts.frozen(rollout)
    for text in both(rollout):
        assert "--expedite" not in text
        assert "rampd unfreeze restyler" in text
    assert text.count("Frozen by grace") == 1


@pytest.mark.parametrize("is_detail", [True, False], ids=["one", "all"])
def test_each_command_reaches_the_server_that_was_typed(is_detail: bool) -> None:
    bad = [
        rollouts.held(),
        rollouts.steady(),
        *(rollouts.current(f"c{number}", (500, 9), (60, 50)) for number in range(12)),
    ]
    for each in bad[:2]:
        rollouts.quarantined(each, v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT)
    bad[1].ClearField("previous")
    found = [*DETAILS.values(), *map(Detail, bad)]
    many = [rollouts.steady(f"s{number}") for number in range(900)]
    known = Known([*(each.rollout for each in found), *many], found if is_detail else None)

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


def test_a_current_that_turned_bad_after_two_good_weeks_comes_before_one_that_always_fails() -> None:
    flaky = rollouts.current("flaky", (50_000, 6_000), (500, 60))
    turned = rollouts.current("turned", (50_000, 112), (60, 12))

    lines = text_of(Known([*rollouts.FLEET, flaky, turned]), 120).splitlines()

    at = lines.index("Jobs of current fail more often than usual")
    assert lines[at + 1 : at + 4] == [
        "  turned  20200301  12 of 60 failed (20.0 %) since 13:50 UTC, before 0.2 %",
        "  flaky   20200301  60 of 500 failed (12.0 %) since 13:50 UTC, before 12.0 %",
        "    to look closer: rampd status turned",
    ]


def test_an_outage_of_all_names_ten_and_counts_the_others() -> None:
    some = [rollouts.current(f"c{number:02}", (50_000, 100), (100, 50 + number)) for number in range(12)]

    lines = text_of(Known(some), 80).splitlines()

    at = lines.index("Jobs of current fail more often than usual")
    assert [line.split()[0] for line in lines[at + 1 : at + 11]] == [f"c{number:02}" for number in range(11, 1, -1)]
    assert lines[at + 11] == "  2 more. The counts of all: rampd status -o plain"


@pytest.mark.parametrize("make", [rollouts.ramping, rollouts.held, rollouts.unconfirmed])
def test_a_next_hides_neither_that_current_fails_nor_how_to_go_back(make: Callable[[], v1.Rollout]) -> None:
    rollout = rollouts.with_current(make(), (50_000, 112), (60, 12))

    one, everything = both(rollout)

    assert "Current    12 of 60 failed (20.0 %) since 13:50 UTC\n" in one
    assert "           112 of 50,000 failed (0.2 %) since it became current, 2 h ago\n" in one
    assert "to go back to 20200229: rampd revert restyler --to 20200229" in one
    assert "12 of 60 failed (20.0 %) since 13:50 UTC, before 0.2 %" in everything
    assert "rampd revert" not in both(rollouts.with_current(make(), (50_000, 112), (60, 0)))[0]


def test_a_component_alone_says_that_current_fails_as_the_list_of_all_does() -> None:
    bad = rollouts.with_current(rollouts.steady(), (50_000, 112), (60, 12))

    one, everything = both(bad)

    said = "12 of 60 failed (20.0 %) since 13:50 UTC, before 0.2 %"
    assert f"Now        Jobs of current fail more often than usual: {said}.\n" in one
    assert "to go back to 20200228: rampd revert restyler\n" in one
    assert "Jobs of current fail more often than usual\n" in everything
    assert said in everything


def test_a_component_that_fails_as_often_as_all_others_is_not_said_to_fail() -> None:
    """Given a rate that is usual among all components, expect that the component alone is judged by it, too."""
    rollout = rollouts.with_current(rollouts.ramping(), (1_000, 50))

    alone = text_of(Known([rollout], [Detail(rollout)]), 200)
    among_all = text_of(Known([rollout], [Detail(rollout, usual_rate=0.05)]), 200)

    assert ("fail more often" in alone, "rampd revert" in alone) == (True, True)
    assert ("fail more often" in among_all, "rampd revert" in among_all) == (False, False)


@pytest.mark.parametrize("has_words_of_server", [True, False])
def test_what_is_held_and_paused_says_that_a_ramp_does_not_end_the_pause(has_words_of_server: bool) -> None:
    rollout = rollouts.held()
    found = Detail(rollout, says="20200409 is held." if has_words_of_server else "")
    assert "stays paused" not in text_of(Known([rollout], [found]), 200) + text_of(Known([rollout]), 200)

    rollout.paused, rollout.pause.actor = True, "rampd"

    for text in (text_of(Known([rollout], [found]), 200), text_of(Known([rollout]), 200)):
        assert "It stays paused by rampd, also after a Ramp, until somebody resumes it." in text


def test_the_pipe_has_the_counts_of_current_that_a_person_sees() -> None:
    cells = dict(zip(COLUMNS, row(rollouts.with_current(rollouts.ramping(), (50_000, 112), (60, 12))), strict=True))

    assert (cells["current_jobs"], cells["all_current_jobs"], cells["all_current_failures"]) == ("1200", "50000", "112")
    assert (cells["recent_jobs"], cells["recent_failures"]) == ("60", "12")
    assert cells["recent_since"] == "2026-11-26T13:50:00Z"
    assert cells["attention"] == ""
    bad = rollouts.quarantined(rollouts.steady(), v1.CHANNEL_CURRENT)
    assert dict(zip(COLUMNS, row(bad), strict=True))["attention"] == "quarantine"


def test_the_newest_event_is_the_last_one() -> None:
    text = text_of(Known([rollouts.ramping()], [DETAILS["ramping"]]), 120)

    actions = [line.split()[-1] if "Ramp" in line else line for line in text.partition("\nHistory")[2].splitlines()]
    assert "SetOverride" in actions[-1]
    assert "Release" not in actions[-1]


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
    return rollouts.quarantined(
        rollouts.with_current(rollout, (200, 99), (50, 40)), v1.CHANNEL_CURRENT, v1.CHANNEL_NEXT
    )


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


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (3.41236, "E is 3.41, limit 100"),
        (18_174.9, "E is 18,200, limit 100"),
        (35_687_200_000.0, "E is over a billion, limit 100"),
        (99.96, "E is 99.96, limit 100"),
        (math.inf, "E is over a billion, limit 100"),
        (math.nan, "E is under 0.1, limit 100"),
    ],
)
def test_evidence_is_written_as_in_the_sentences_of_a_server(e: float, text: str) -> None:
    rollout = rollouts.ramping()
    rollout.evidence.e = e

    assert text in text_of(Known([rollout], [Detail(rollout)]), 80)


def test_a_terminal_without_these_characters_gets_bars_of_others() -> None:
    lines = drawn(Known([rollouts.ramping()]), CLOCK, Screen(100, is_ascii=True))

    assert "##------" in printed(lines, 100)
