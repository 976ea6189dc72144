"""How a rollout stands, for a person: whether it waits for somebody, since when, why, and what to type. Pure.

`at` is what each command to type ends with, so that it reaches the same server: options of `rampd`, after a space. Empty: none.
"""

import shlex
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._contract.wording import evidence, inside, one_line
from rampd._standing.clock import Clock
from rampd._standing.evidence import share_of_limit
from rampd._standing.share import percent
from rampd._standing.tone import Tone


class Kind(IntEnum):
    """How a rollout stands. The most urgent kind comes first."""

    DAMAGED = 1
    UNCONFIRMED = 2
    PROBLEM = 3
    """Automation paused it because something is wrong."""
    APPROVAL = 4
    QUARANTINED = 5
    """Jobs run a tag that nobody should run: current is in quarantine."""
    HELD = 6
    PAUSED = 7
    """A person paused it."""
    FROZEN = 8
    ROLLING_OUT = 9
    STEADY = 10

    @property
    def waits_for_person(self) -> bool:
        """Whether nothing goes on until a person acts, and somebody should look now."""
        return self <= self.QUARANTINED

    @property
    def word(self) -> str:
        """The kind as people read it."""
        return _WORDS[self]

    @property
    def tone(self) -> Tone:
        """What that word means to them."""
        return _TONES[self]


_WORDS: Final = {
    Kind.DAMAGED: "damaged",
    Kind.UNCONFIRMED: "unconfirmed",
    Kind.PROBLEM: "paused",
    Kind.APPROVAL: "approval",
    Kind.QUARANTINED: "quarantined",
    Kind.HELD: "HELD",
    Kind.PAUSED: "paused",
    Kind.FROZEN: "frozen",
    Kind.ROLLING_OUT: "rolling out",
    Kind.STEADY: "steady",
}
_TONES: Final = {
    Kind.DAMAGED: Tone.BAD,
    Kind.UNCONFIRMED: Tone.WAITS,
    Kind.PROBLEM: Tone.BAD,
    Kind.APPROVAL: Tone.WAITS,
    Kind.QUARANTINED: Tone.BAD,
    Kind.HELD: Tone.BAD,
    Kind.PAUSED: Tone.WAITS,
    Kind.FROZEN: Tone.WAITS,
    Kind.ROLLING_OUT: Tone.MOVES,
    Kind.STEADY: Tone.GOOD,
}

_LIFTS: Final = "to end the quarantine, if its reason is gone,"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one rollout stands."""

    kind: Kind
    since: Timestamp | None
    """Since when it stands like this. None: not known."""
    reason: str
    """Why, in the words of the server or of a person, as one line. The same as long as the rollout stands like this."""


def standing(rollout: v1.Rollout) -> Standing:
    """Returns how a rollout stands. If several kinds fit, the most urgent one."""
    found = _apart_from_quarantine(rollout)
    said = current_in_quarantine(rollout)
    if not said or found.kind.waits_for_person:
        return found
    return Standing(Kind.QUARANTINED, None, " ".join(filter(None, (said, found.reason))))


def current_in_quarantine(rollout: v1.Rollout) -> str:
    """Says that current is in quarantine, in a sentence. Empty if it is not."""
    tag = one_line(rollout.current.tag)
    return f"{tag} is in quarantine and current: jobs run it." if v1.CHANNEL_CURRENT in rollout.quarantined else ""


def _apart_from_quarantine(rollout: v1.Rollout) -> Standing:
    if rollout.HasField("damage"):
        return Standing(Kind.DAMAGED, None, one_line(rollout.damage.problem))
    if rollout.state == v1.ROLLOUT_STATE_HELD:
        since = rollout.held.create_time if rollout.held.HasField("create_time") else None
        return Standing(Kind.HELD, since, one_line(rollout.held_reason))
    if rollout.HasField("confirm_deadline"):
        return Standing(Kind.UNCONFIRMED, None, f"Nobody has confirmed the Ramp to {percent(rollout.next_percent)}.")
    if rollout.paused:
        since = rollout.pause.create_time if rollout.pause.HasField("create_time") else None
        return Standing(_kind_of_pause(rollout.pause), since, one_line(rollout.pause.reason))
    if (freeze := _freeze(rollout)) is not None:
        return Standing(Kind.FROZEN, freeze.create_time, one_line(freeze.note))
    if rollout.HasField("next"):
        return Standing(Kind.ROLLING_OUT, rollout.next.update_time, "")
    return Standing(Kind.STEADY, rollout.current.update_time, "")


def urgency(rollout: v1.Rollout) -> tuple[int, str]:
    """The place of a rollout among others, as a key to sort by: the most urgent first."""
    return standing(rollout).kind, rollout.component


def _freeze(rollout: v1.Rollout) -> v1.FreezeStatus | None:
    """The freeze that matters to a rollout: its own, or that of the namespace if something could start or rise."""
    for freeze in sorted(rollout.freezes, key=lambda freeze: freeze.all):
        if not freeze.all or rollout.HasField("next") or rollout.queue:
            return freeze
    return None


def _own_freezes(rollout: v1.Rollout) -> list[v1.FreezeStatus]:
    return [freeze for freeze in rollout.freezes if not freeze.all]


def _kind_of_pause(pause: v1.PauseStatus) -> Kind:
    if pause.cause == v1.PAUSE_CAUSE_APPROVAL:
        return Kind.APPROVAL
    return Kind.PAUSED if pause.cause == v1.PAUSE_CAUSE_UNSPECIFIED else Kind.PROBLEM


def told(rollout: v1.Rollout, clock: Clock) -> str:
    """Says why and since when it stands like this, in a sentence or two. Empty if there is nothing to say. The freeze of the
    namespace is left out, because it is said once for all components.
    """
    frozen_itself = (frozen(freeze, clock) for freeze in _own_freezes(rollout))
    said = (current_in_quarantine(rollout), _told(rollout, clock), still_paused(rollout), *frozen_itself)
    return " ".join(filter(None, said))


def said(rollout: v1.Rollout, by_server: str, clock: Clock) -> str:
    """Says what goes on. `by_server`: what WatchRelease says about next, such as what automation waits for. If it is empty, the
    state alone says why it stands like this.
    """
    found = standing(rollout)
    if not by_server or found.kind is Kind.DAMAGED:
        return told(rollout, clock)
    by_server = _in_sentences(by_server, rollout.held.actor)
    unconfirmed = found.reason if found.kind is Kind.UNCONFIRMED else ""
    return " ".join(filter(None, (current_in_quarantine(rollout), unconfirmed, by_server, still_paused(rollout))))


def still_paused(rollout: v1.Rollout) -> str:
    """Says that what is HELD is paused as well, in a sentence: a Ramp ends only the one. Empty if it is not."""
    if rollout.state != v1.ROLLOUT_STATE_HELD or not rollout.paused:
        return ""
    return f"It stays paused{_by(rollout.pause.actor)}, also after a Ramp, until somebody resumes it."


def _told(rollout: v1.Rollout, clock: Clock) -> str:
    found = _apart_from_quarantine(rollout)
    match found.kind:
        case Kind.DAMAGED:
            return _with_why("Its data in the store is damaged", found.reason)
        case Kind.UNCONFIRMED:
            at = rollout.confirm_deadline
            return (
                f"{found.reason} It goes back to 0 % at {clock.time(at)} (in {clock.left(at)}), unless somebody does."
            )
        case Kind.HELD:
            by = "" if one_line(rollout.held.actor) in found.reason else _by(rollout.held.actor)
            return _with_why(f"Held{by}{_ago(found, clock)}", _in_sentences(found.reason, rollout.held.actor))
        case Kind.PAUSED | Kind.PROBLEM:
            return _with_why(f"Paused{_by(rollout.pause.actor)}{_ago(found, clock)}", found.reason)
        case Kind.APPROVAL:
            return f"{found.reason or 'It waits for approval.'} It has waited{_since(found, clock)}."
        case Kind.ROLLING_OUT:
            return f"Next{_since(found, clock)}."
        case _:
            return ""


def frozen(freeze: v1.FreezeStatus, clock: Clock, *, at: str = "") -> str:
    """Says who froze what, since when, until when and why, and how it ends if it does not end by itself."""
    what = "Everything is frozen" if freeze.all else "Frozen"
    ends = f" until {clock.time(freeze.expire_time)}" if freeze.HasField("expire_time") else ""
    by = f"{_by(freeze.actor)} since {clock.time(freeze.create_time)}"
    said = _with_why(f"{what}{by}{ends}", one_line(freeze.note))
    if ends:
        return said
    return f"{said} It lasts until somebody ends it{f' for all: rampd unfreeze --all{at}' if freeze.all else '.'}"


def ways(rollout: v1.Rollout, *, at: str = "") -> list[tuple[str, str]]:
    """Returns what a person can type about it, and what for. Empty if nothing is to be done."""
    return [*_ways_from_quarantine(rollout, at), *_ways(rollout, at)]


def _ways(rollout: v1.Rollout, at: str) -> list[tuple[str, str]]:
    name = one_line(rollout.component)
    back = ("to take it back", f"rampd rollback {name}{at}")
    # What is frozen neither goes on nor rises, so there is no other way than the end of the freeze.
    thaw = [("to end the freeze", f"rampd unfreeze {name}{at}")] if _own_freezes(rollout) else []
    on = thaw if rollout.freezes else [("to go on", f"rampd resume {name}{at}")]
    match _apart_from_quarantine(rollout).kind:
        case Kind.UNCONFIRMED:
            return [("to keep it", f"rampd confirm {name}{at}"), back]
        case Kind.PROBLEM:
            return [back, *on]
        case Kind.APPROVAL:
            return [*on, back]
        case Kind.HELD:
            drop = ("to drop it", f"rampd abandon {name}{at}")
            return [drop, *(thaw if rollout.freezes else [_again(rollout, at)])]
        case Kind.PAUSED:
            return on
        case Kind.FROZEN:
            return thaw
        case _:
            return []


def _again(rollout: v1.Rollout, at: str) -> tuple[str, str]:
    ramp = f"rampd ramp {one_line(rollout.component)} PERCENT{at}"
    if v1.CHANNEL_NEXT not in rollout.quarantined:
        return "to try it again", ramp
    return f"{_LIFTS} and try it again", f"{_lift(rollout, rollout.next, at)} && {ramp}"


def _ways_from_quarantine(rollout: v1.Rollout, at: str) -> list[tuple[str, str]]:
    if not current_in_quarantine(rollout):
        return []
    other = _way_back(rollout, at)
    # What is frozen takes no other release.
    if not other and not rollout.freezes:
        other = [("to replace it at once", f"rampd release {one_line(rollout.component)} TAG --expedite{at}")]
    return [*other, (f"{_LIFTS} and keep it", _lift(rollout, rollout.current, at))]


def _lift(rollout: v1.Rollout, release: v1.Release, at: str) -> str:
    return f"rampd quarantine remove {one_line(rollout.component)} {shlex.quote(one_line(release.tag))}{at}"


def ways_back(rollout: v1.Rollout, *, is_failing: bool, at: str = "") -> list[tuple[str, str]]:
    """Returns what a person can type if a version turns out to be bad, though nothing waits for them. `is_failing`: whether current
    fails more often than usual.
    """
    kind, has_next = _apart_from_quarantine(rollout).kind, rollout.HasField("next")
    found: list[tuple[str, str]] = []
    if kind in {Kind.PAUSED, Kind.FROZEN, Kind.ROLLING_OUT} and has_next:
        found = [("to take next back", f"rampd rollback {one_line(rollout.component)}{at}")]
    if current_in_quarantine(rollout):
        return found
    # A next does not help a current that fails.
    if (kind in {Kind.STEADY, Kind.FROZEN} and not has_next) or is_failing:
        found += _way_back(rollout, at)
    return found


def next_fails(rollout: v1.Rollout) -> str:
    """Says that next counts as worse than current and goes on all the same, in a sentence: the policy may leave it to people
    (NOTIFY). Empty if it does not, or if automation has said so itself.
    """
    kind = _apart_from_quarantine(rollout).kind
    if share_of_limit(rollout.evidence) < 1 or kind in {Kind.DAMAGED, Kind.PROBLEM, Kind.HELD}:
        return ""
    e, limit = evidence(rollout.evidence.e, rollout.evidence.limit)
    return (
        f"{one_line(rollout.next.tag)} fails more often than {one_line(rollout.current.tag)}: E is {e}, limit {limit}."
    )


def _way_back(rollout: v1.Rollout, at: str) -> list[tuple[str, str]]:
    """Without a tag, Revert is refused during a rollout, and changes nothing if current came by a Revert."""
    before = next((one_line(each.tag) for each in rollout.previous if each.tag != rollout.current.tag), "")
    is_sure = rollout.HasField("next") or current_in_quarantine(rollout)
    to = f" --to {shlex.quote(before)}" if is_sure else ""
    return [(f"to go back to {before}", f"rampd revert {one_line(rollout.component)}{to}{at}")] if before else []


def _with_why(what: str, why: str) -> str:
    return f"{what}: {inside(why)}." if why else f"{what}."


def _in_sentences(said: str, actor: str) -> str:
    """Makes two sentences of `rolled back by rampd: Nobody confirmed it.`, if it goes on with one after the colon."""
    deed, colon, why = said.partition(f" by {one_line(actor)}: ")
    return f"{deed} by {one_line(actor)}. {why}" if colon and why[:1].isupper() else said


def _by(actor: str) -> str:
    return f" by {one_line(actor)}" if actor else ""


def _ago(found: Standing, clock: Clock) -> str:
    return f" {clock.when(found.since)}" if found.since is not None else ""


def _since(found: Standing, clock: Clock) -> str:
    return f" since {clock.time(found.since)}" if found.since is not None else ""
