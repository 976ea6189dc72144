"""`rampd wait`: what each state of a release means for each goal, and which release a person means. Pure."""

import click
import pytest

from rampd import v1
from rampd.errors import NotFoundError
from rampd_cli.failures import WrongUseError
from rampd_cli.waiting.chosen import chosen
from rampd_cli.waiting.goal import Goal, GoalType
from rampd_cli.waiting.verdict import Verdict, verdict

TABLE = """
state                 current  next  held  ended  percent=50
queued                wait     wait  wait  wait   wait
next at 10 %          wait     yes   wait  wait   wait
next at 50 %          wait     yes   wait  wait   yes
paused by a person    wait     yes   wait  wait   wait
waits for approval    wait     yes   wait  wait   wait
paused by a guard     no*      yes   wait  wait   no*
guard, at 60 %        no*      yes   wait  wait   yes
held                  no*      yes   yes   wait   no*
current               yes      yes   no    yes    yes
retired               yes      yes   no    yes    yes
reverted              no       no    no    yes    no
abandoned             no       no    no    yes    no
cancelled             no       no    no    yes    no
superseded            no       no    no    yes    no
"""
ROWS = [line.rsplit(maxsplit=5) for line in TABLE.strip().splitlines()]
GOALS = ROWS[0][1:]
WORDS = {"yes": Verdict.REACHED, "wait": Verdict.WAIT, "no": Verdict.FAILED, "no*": Verdict.FAILED}


def seen(state: str, percent: float = 0, cause: str | None = None, *, is_held: bool = False) -> v1.WatchReleaseResponse:
    rollout = v1.Rollout(
        component="restyler",
        state=v1.ROLLOUT_STATE_HELD if is_held else v1.ROLLOUT_STATE_ROLLING_OUT,
        next_percent=percent,
        paused=cause is not None,
    )
    if cause:
        rollout.pause.cause = v1.PauseCause.Value(f"PAUSE_CAUSE_{cause}")
    release = v1.Release(number=2, tag="t2", state=v1.ReleaseState.Value(f"RELEASE_STATE_{state}"))
    return v1.WatchReleaseResponse(message="…", release=release, rollout=rollout)


SEEN = {
    "queued": seen("QUEUED", 50),  # the percent is that of another release
    "next at 10 %": seen("NEXT", 10),
    "next at 50 %": seen("NEXT", 50),
    "paused by a person": seen("NEXT", 10, ""),
    "waits for approval": seen("NEXT", 10, "APPROVAL"),
    "paused by a guard": seen("NEXT", 10, "RELATIVE_GUARD"),
    "guard, at 60 %": seen("NEXT", 60, "CHECK_FAILED"),
    "held": seen("NEXT", is_held=True),
    "current": seen("CURRENT", 10),
    "retired": seen("RETIRED"),
    "reverted": seen("RETIRED"),
    "abandoned": seen("ABANDONED"),
    "cancelled": seen("CANCELLED"),
    "superseded": seen("SUPERSEDED"),
}
SEEN["retired"].release.end_reason = "replaced by t3, finalized by ada"
SEEN["reverted"].release.end_reason = "reverted to t1 by ada: errors"
CELLS = [(state, goal, word) for state, *words in ROWS[1:] for goal, word in zip(GOALS, words, strict=True)]


def goal_of(text: str) -> Goal:
    return GoalType().convert(text, None, None)


@pytest.mark.parametrize(("state", "goal", "word"), CELLS)
def test_each_state_is_reached_or_waited_for_or_hopeless(state: str, goal: str, word: str) -> None:
    assert verdict(SEEN[state], goal_of(goal), keeps_waiting=False) is WORDS[word]
    patient = Verdict.WAIT if word == "no*" else WORDS[word]
    assert verdict(SEEN[state], goal_of(goal), keeps_waiting=True) is patient


def test_a_state_of_a_newer_server_is_waited_out() -> None:
    new = seen("NEXT")
    new.release.state = 99  # type: ignore[assignment]
    assert verdict(new, goal_of("ended"), keeps_waiting=False) is Verdict.WAIT


@pytest.mark.parametrize(
    "text", ["percent", "percent=", "percent=0", "percent=101", "percent=nan", "50", "Current", ""]
)
def test_what_can_not_be_waited_for_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        goal_of(text)


RELEASES = [
    v1.Release(number=7, tag="20200410", state=v1.RELEASE_STATE_QUEUED),
    v1.Release(number=6, tag="20200409", state=v1.RELEASE_STATE_NEXT),
    v1.Release(number=5, tag="20200301", state=v1.RELEASE_STATE_CURRENT),
    v1.Release(number=4, tag="3", state=v1.RELEASE_STATE_RETIRED),
    v1.Release(number=3, tag="20200301", state=v1.RELEASE_STATE_RETIRED),
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 6),
        ("20200410", 7),
        ("20200301", 5),  # the newest with this tag
        ("6", 6),
        ("#3", 3),
        ("#4", 4),
    ],
)
def test_a_release_is_named_by_its_tag_or_its_number(text: str, number: int) -> None:
    assert chosen("restyler", RELEASES, text).number == number


@pytest.mark.parametrize(("skipped", "number"), [(1, 7), (2, 7)])
def test_without_next_the_newest_of_the_queue_is_meant(skipped: int, number: int) -> None:
    others = [v1.Release(number=2, tag="old", state=v1.RELEASE_STATE_QUEUED)]
    assert chosen("restyler", [*RELEASES[:1], *RELEASES[1 + skipped :], *others], "").number == number


def test_without_next_and_queue_current_is_meant() -> None:
    assert chosen("restyler", RELEASES[2:], "").number == 5


def test_a_text_that_is_a_tag_and_the_number_of_another_release_is_refused() -> None:
    with pytest.raises(WrongUseError, match="'#4' for the tag, or '#3' for the number"):
        chosen("restyler", RELEASES, "3")


@pytest.mark.parametrize("text", ["99", "2020", "#20200301", "²"])
def test_a_release_that_does_not_exist_is_not_found(text: str) -> None:
    with pytest.raises(NotFoundError, match="no release"):
        chosen("restyler", RELEASES, text)


def test_a_release_of_thousands_of_digits_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        chosen("restyler", RELEASES, "9" * 5000)
