"""How a rollout stands, for a person: whether it waits for somebody, since when, why, and what to type. Pure."""

import shlex
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._contract.wording import inside, one_line
from rampd_cli.drawing import palette
from rampd_cli.drawing.clock import Clock
from rampd_cli.drawing.share import percent


class Kind(IntEnum):
    """How a rollout stands. The most urgent kind comes first."""

    DAMAGED = 1
    UNCONFIRMED = 2
    PROBLEM = 3
    """Automation paused it because something is wrong."""
    APPROVAL = 4
    HELD = 5
    PAUSED = 6
    """A person paused it."""
    FROZEN = 7
    ROLLING_OUT = 8
    STEADY = 9

    @property
    def waits_for_person(self) -> bool:
        """Whether nothing goes on until a person acts, and somebody should look now."""
        return self <= self.APPROVAL

    @property
    def word(self) -> str:
        """The kind as people read it."""
        return _WORDS[self]

    @property
    def style(self) -> str:
        """The style of rich for that word."""
        return _STYLES[self]


_WORDS: Final = {
    Kind.DAMAGED: "damaged",
    Kind.UNCONFIRMED: "unconfirmed",
    Kind.PROBLEM: "paused",
    Kind.APPROVAL: "approval",
    Kind.HELD: "HELD",
    Kind.PAUSED: "paused",
    Kind.FROZEN: "frozen",
    Kind.ROLLING_OUT: "rolling out",
    Kind.STEADY: "steady",
}
_STYLES: Final = {
    Kind.DAMAGED: palette.BAD,
    Kind.UNCONFIRMED: palette.WAITS,
    Kind.PROBLEM: palette.BAD,
    Kind.APPROVAL: palette.WAITS,
    Kind.HELD: palette.BAD,
    Kind.PAUSED: palette.WAITS,
    Kind.FROZEN: palette.WAITS,
    Kind.ROLLING_OUT: palette.MOVES,
    Kind.STEADY: palette.GOOD,
}


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


def told(rollout: v1.Rollout, found: Standing, clock: Clock) -> str:
    """Says why and since when it stands like this, in a sentence. Empty if there is nothing to say. The freeze of the namespace
    is left out, because it is said once for all components.
    """
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
            return _with_why(f"Held{by}{_ago(found, clock)}", found.reason)
        case Kind.PAUSED | Kind.PROBLEM:
            return _with_why(f"Paused{_by(rollout.pause.actor)}{_ago(found, clock)}", found.reason)
        case Kind.APPROVAL:
            return f"{found.reason or 'It waits for approval.'} It waits{_since(found, clock)}."
        case Kind.FROZEN:
            return frozen_itself(rollout, clock)
        case Kind.ROLLING_OUT:
            return f"Next{_since(found, clock)}."
        case _:
            return ""


def frozen_itself(rollout: v1.Rollout, clock: Clock) -> str:
    """Says how a rollout is frozen itself, without the freeze of the namespace. Empty if it is not."""
    return " ".join(frozen(freeze, clock) for freeze in _own_freezes(rollout))


def frozen(freeze: v1.FreezeStatus, clock: Clock, *, at: str = "") -> str:
    """Says who froze what, since when, until when and why, and how it ends if it does not end by itself. `at`: see `Session.at`."""
    what = "Everything is frozen" if freeze.all else "Frozen"
    ends = f" until {clock.time(freeze.expire_time)}" if freeze.HasField("expire_time") else ""
    by = f"{_by(freeze.actor)} since {clock.time(freeze.create_time)}"
    said = _with_why(f"{what}{by}{ends}", one_line(freeze.note))
    if ends:
        return said
    return f"{said} It lasts until somebody ends it{f' for all: rampd unfreeze --all{at}' if freeze.all else '.'}"


def ways(rollout: v1.Rollout, found: Standing, *, is_quarantined: bool = False, at: str = "") -> list[tuple[str, str]]:
    """Returns what a person can type about it, and what for. Empty if nothing is to be done. `is_quarantined`: whether the tag of
    next is in quarantine. `at`: see `Session.at`.
    """
    name = one_line(rollout.component)
    back = ("to take it back", f"rampd rollback {name}{at}")
    # What is frozen neither goes on nor rises, so there is no other way than the end of the freeze.
    thaw = [("to end the freeze", f"rampd unfreeze {name}{at}")] if _own_freezes(rollout) else []
    on = thaw if rollout.freezes else [("to go on", f"rampd resume {name}{at}")]
    match found.kind:
        case Kind.UNCONFIRMED:
            return [("to keep it", f"rampd confirm {name}{at}"), back]
        case Kind.PROBLEM:
            return [back, *on]
        case Kind.APPROVAL:
            return [*on, back]
        case Kind.HELD:
            drop = ("to drop it", f"rampd abandon {name}{at}")
            return [drop, *(thaw if rollout.freezes else [_again(rollout, name, is_quarantined=is_quarantined, at=at)])]
        case Kind.PAUSED:
            return on
        case Kind.FROZEN:
            return thaw
        case _:
            return []


def _again(rollout: v1.Rollout, name: str, *, is_quarantined: bool, at: str) -> tuple[str, str]:
    ramp = f"rampd ramp {name} PERCENT{at}"
    if not is_quarantined:
        return "to try it again", ramp
    lift = f"rampd quarantine remove {name} {shlex.quote(one_line(rollout.next.tag))}{at}"
    return "to end the quarantine, if its reason is gone, and try it again", f"{lift} && {ramp}"


def ways_back(rollout: v1.Rollout, found: Standing, *, at: str = "") -> list[tuple[str, str]]:
    """Returns what a person can type if a version turns out to be bad, though nothing waits for them. `at`: see `Session.at`."""
    name = one_line(rollout.component)
    if found.kind in {Kind.PAUSED, Kind.FROZEN, Kind.ROLLING_OUT} and rollout.HasField("next"):
        return [("to take next back", f"rampd rollback {name}{at}")]
    before = next((each.tag for each in rollout.previous if each.tag != rollout.current.tag), "")
    if found.kind in {Kind.STEADY, Kind.FROZEN} and before:
        return [(f"to go back to {one_line(before)}", f"rampd revert {name}{at}")]
    return []


def _with_why(what: str, why: str) -> str:
    return f"{what}: {inside(why)}." if why else f"{what}."


def _by(actor: str) -> str:
    return f" by {one_line(actor)}" if actor else ""


def _ago(found: Standing, clock: Clock) -> str:
    return f" {clock.ago(found.since)}" if found.since is not None else ""


def _since(found: Standing, clock: Clock) -> str:
    return f" since {clock.time(found.since)}" if found.since is not None else ""
