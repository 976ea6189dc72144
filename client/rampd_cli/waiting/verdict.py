"""Whether a release is where somebody waits for it to be. Pure."""

from enum import Enum, StrEnum
from typing import Final

from rampd import v1
from rampd._contract.release_end import is_reverted
from rampd_cli.waiting.goal import NAMES, Goal


class Verdict(Enum):
    """What a state means for somebody who waits."""

    REACHED = "reached"
    """The release is there, or past it."""
    WAIT = "wait"
    FAILED = "failed"
    """It can't happen any more, or not without a person who acts."""


class Where(StrEnum):
    """Where a release is."""

    QUEUED = "QUEUED"
    ROLLING_OUT = "ROLLING_OUT"
    PAUSED = "PAUSED"
    """Automation has paused it, because something is wrong. A person's pause and an approval are ROLLING_OUT."""
    HELD = "HELD"
    CURRENT = "CURRENT"
    RETIRED = "RETIRED"
    """It was current, and another release has taken its place."""
    REVERTED = "REVERTED"
    """It was current, and people went back from it."""
    ABANDONED = "ABANDONED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"


_YES, _WAIT, _NO = Verdict.REACHED, Verdict.WAIT, Verdict.FAILED
# The columns are those of NAMES. With --keep-waiting, PAUSED and HELD fail nobody.
_TABLE: Final = {
    #                  current  next   held   ended  percent
    Where.QUEUED:      (_WAIT, _WAIT, _WAIT, _WAIT, _WAIT),
    Where.ROLLING_OUT: (_WAIT, _YES,  _WAIT, _WAIT, _WAIT),
    Where.PAUSED:      (_NO,   _YES,  _WAIT, _WAIT, _NO),
    Where.HELD:        (_NO,   _YES,  _YES,  _WAIT, _NO),
    Where.CURRENT:     (_YES,  _YES,  _NO,   _YES,  _YES),
    Where.RETIRED:     (_YES,  _YES,  _NO,   _YES,  _YES),
    Where.REVERTED:    (_NO,   _NO,   _NO,   _YES,  _NO),
    Where.ABANDONED:   (_NO,   _NO,   _NO,   _YES,  _NO),
    Where.CANCELLED:   (_NO,   _NO,   _NO,   _YES,  _NO),
    Where.SUPERSEDED:  (_NO,   _NO,   _NO,   _YES,  _NO),
}  # fmt: skip


def where_of(seen: v1.WatchReleaseResponse) -> Where:
    """Returns where a release is. A state that this version does not know counts as QUEUED: the wait goes on."""
    release, rollout = seen.release, seen.rollout
    name = str(v1.ReleaseState(release.state)).removeprefix("RELEASE_STATE_")
    if name == "RETIRED" and is_reverted(release):
        return Where.REVERTED
    if name != "NEXT":
        return Where(name) if name in Where.__members__ else Where.QUEUED
    if rollout.state == v1.ROLLOUT_STATE_HELD:
        return Where.HELD
    is_defect = rollout.pause.cause not in {v1.PAUSE_CAUSE_UNSPECIFIED, v1.PAUSE_CAUSE_APPROVAL}
    return Where.PAUSED if rollout.paused and is_defect else Where.ROLLING_OUT


def verdict(seen: v1.WatchReleaseResponse, goal: Goal, *, keeps_waiting: bool) -> Verdict:
    """Returns what a state of a release means for a goal. `keeps_waiting`: somebody may still ramp or resume it."""
    where = where_of(seen)
    is_under_way = where in {Where.ROLLING_OUT, Where.PAUSED}
    if goal.name == "percent" and is_under_way and seen.rollout.next_percent >= goal.percent:
        return Verdict.REACHED
    found = _TABLE[where][NAMES.index(goal.name)]
    needs_person = where in {Where.PAUSED, Where.HELD}
    return Verdict.WAIT if keeps_waiting and needs_person and found is Verdict.FAILED else found
