"""Reads docs/state-machine.md and executes its cells: a row is a verb with its preconditions, a column is a state."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout import commands, model, moves
from rampd_server.domain.rollout.automation_policy import Automation, Step
from rampd_server.domain.rollout.effect import Effect
from rampd_server.domain.rollout.model import Absent, Arrival, Freeze, Means, Pause, Policy, QueueMode, Rollout, Unit
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.progress import Cause, Driver, Progress
from rampd_server.domain.rollout.transition import transition
from tests.rollouts import NOW, after, frozen, held, rolling_out, steady

DOCUMENT = Path(__file__).parents[2] / "docs" / "state-machine.md"
STATES = {"STEADY": steady, "ROLLING_OUT": rolling_out, "HELD": held}
IMPOSSIBLE = "–"


@dataclass(frozen=True)
class Cell:
    verb: str
    given: str
    state: str
    expected: str

    def __str__(self) -> str:
        return f"{self.verb} / {self.given or 'as it is'} / {self.state}"


def cells(document: str) -> Iterator[Cell]:
    """Every cell of every row whose first column is a verb in backticks."""
    for line in document.splitlines():
        if not line.startswith("| `"):
            continue
        verb, given, *outcomes = (column.strip() for column in line.strip("|\n ").split("|"))
        for state, expected in zip(STATES, outcomes, strict=True):
            if expected != IMPOSSIBLE:
                yield Cell(verb.strip("`"), given, state, expected)


def play(cell: Cell) -> str:
    """Returns the result of the state machine for a cell, in the words of the table."""
    context = Context(NOW, "ada")
    rollout: Rollout | Absent = STATES[cell.state]()
    for given in filter(None, cell.given.split(", ")):
        rollout, context = _give(given, rollout, context)
    try:
        outcome = transition(rollout, command(cell.verb), context)
    except RefusedError as error:
        return f"`{error.reason}`"
    return describe(rollout, outcome)


def command(text: str) -> commands.Command:
    """`Finalize B force` -> Finalize(tag="B", force=True)."""
    name, *words = text.split()
    arguments: dict[str, object] = {}
    if name == "Decide":
        arguments = {
            "progress": Progress(Driver.PLAN, NOW, NOW),
            "command": command(" ".join(words)) if words else None,
        }
        words = []
    if name == "Pause" and words:
        arguments, words = {"cause": Cause(words[0])}, []
    for word in words:
        match word.split("="):
            case ["expedite" | "force" | "quarantine" as flag]:
                arguments[flag] = True
            case ["quarantine", "false"]:
                arguments["quarantine"] = False
            case ["confirm"]:
                arguments["confirm_within_ms"] = 60_000
            case ["unit", unit]:
                arguments["changes"] = {"unit": Unit(unit)}
            case [number] if name == "Ramp" and number.isdigit():
                arguments["basis_points"] = int(number) * 100
            case [number] if name == "CancelRelease":
                arguments["release"] = int(number)
            case [tag]:
                arguments["tag"] = tag
    made = getattr(commands, name)(**arguments)
    assert isinstance(made, commands.Command)
    return made


def _give(given: str, rollout: Rollout | Absent, context: Context) -> tuple[Rollout | Absent, Context]:
    if given == "no component":
        return Absent("restyler"), context
    if given == "lost":
        return Absent("restyler", 7, 3), context
    if given == "all frozen":
        return rollout, replace(context, freeze_all=Freeze("ada", "", NOW))
    match given.split():
        case [tag, "quarantined"]:
            # The mark only: the verb would also roll back and cancel, and that has its own rows.
            return replace(rollout, quarantine={tag: moves.Quarantine("ada", "", NOW)}), context
    assert isinstance(rollout, Rollout)
    match given.split():
        case ["frozen"]:
            return frozen(rollout), context
        case ["freeze", "ended"]:
            return replace(frozen(rollout), freeze=Freeze("ada", "", NOW - 2, NOW - 1)), context
        case ["quarantine", "full"]:
            marks = {f"Q{n}": moves.Quarantine("ada", "", NOW) for n in range(model.MAX_QUARANTINE)}
            return replace(rollout, quarantine=marks), context
        case [("LATEST" | "REJECT") as mode]:
            return replace(rollout, policy=Policy(queue_mode=QueueMode(mode))), context
        case ["full"]:
            return after(rollout, *(commands.Release(f"F{n}") for n in range(99))), context
        case ["paused"]:
            return replace(rollout, paused=True), context
        case [("guard" | "stuck") as by, "paused"]:
            cause = Cause.RELATIVE_GUARD if by == "guard" else Cause.STUCK
            progress = rollout.progress.paused(cause)
            return replace(rollout, paused=True, pause=Pause("rampd", "", NOW, cause), progress=progress), context
        case ["approval", "asked"]:
            progress = rollout.progress.stepped(NOW).asked()
            return replace(
                rollout, paused=True, pause=Pause("rampd", "", NOW, Cause.APPROVAL), progress=progress
            ), context
        case ["plan"]:
            return _with_automation(rollout, steps=(Step(500), Step(5000))), context
        case ["by", "plan"]:
            return replace(rollout, progress=rollout.progress.stepped(NOW)), context
        case ["confirm", "default"]:
            return _with_automation(rollout, confirm_within_ms=60_000), context
        case ["confirm", "pending"]:
            return replace(rollout, confirm_deadline_ms=NOW + 1), context
        case ["confirm", "due"]:
            return replace(rollout, confirm_deadline_ms=NOW), context
        case ["at", "0"]:
            return replace(rollout, basis_points=0), context
        case ["no", "previous"]:
            return replace(rollout, previous=()), context
        case [tag, "waits"]:
            # An indirect way: a queued tag becomes current only through Revert.
            rollout = moves.add_release(rollout, tag, moves.ReleaseState.QUEUED, {}, context)
            return replace(rollout, queue=(rollout.last_number, *rollout.queue)), context
        case ["came", "by", "Revert"]:
            return replace(rollout, arrival=Arrival(Means.REVERT, "bob", "", NOW, "Z")), context
        case ["arrival", "unknown"]:
            return replace(rollout, arrival=None), context
        case [tag, "is", "next"]:
            assert rollout.next is not None
            released = replace(rollout.releases[rollout.next], tag=tag)
            return replace(rollout, releases={**rollout.releases, rollout.next: released}), context
        case [tag, "came", "before"]:
            rollout = moves.add_release(rollout, tag, moves.ReleaseState.RETIRED, {}, context)
            return replace(rollout, previous=(rollout.last_number, *rollout.previous)), context
        case ["cancelled", number]:
            return after(rollout, commands.CancelRelease(int(number))), context
    raise AssertionError(given)


def _with_automation(rollout: Rollout, **changes: object) -> Rollout:
    return replace(rollout, policy=replace(rollout.policy, automation=Automation(**changes)))


def describe(before: Rollout | Absent, outcome: Effect) -> str:
    """Returns the differences in a fixed order."""
    said = [str(outcome.disposition)] if outcome.disposition else []
    if outcome.queue_position:
        said[-1:] = [f"QUEUED {outcome.queue_position}"] if said == ["QUEUED"] else said
    if not outcome.changed:
        return ", ".join(said or ["no change"])
    now = outcome.after
    if isinstance(now, Absent):
        return "gone"
    old = facts(before) if isinstance(before, Rollout) else {**_NOTHING, "quarantine": _quarantine(before)}
    new = facts(now)
    said += [f"{name} {value}".strip() for name, value in new.items() if value != old.get(name)]
    if isinstance(before, Rollout) and before.confirm_deadline_ms and now.confirm_deadline_ms:
        said += ["to confirm by a new deadline"] if before.confirm_deadline_ms != now.confirm_deadline_ms else []
    return ", ".join(said)


_NOTHING = dict.fromkeys(("next", "ended"), "none") | dict.fromkeys(
    ("frozen", "paused", "approved", "to confirm"), "no"
)
_NOTHING |= dict.fromkeys(("queue", "previous", "quarantine"), "empty") | dict.fromkeys(("percent", "trial"), "0")
_NOTHING |= {"driver": "NOBODY"} | dict.fromkeys(("unit", "policy unit"), "REPO")


def _pause(rollout: Rollout) -> str:
    """Returns the cause of the pause."""
    if not rollout.paused:
        return "no"
    return f"for {rollout.pause_cause}" if rollout.pause_cause else "yes"


def _quarantine(rollout: Rollout | Absent) -> str:
    return " ".join(sorted(rollout.quarantine)) or "empty"


def facts(rollout: Rollout) -> dict[str, str]:
    """Returns the facts that the table mentions, by name."""
    next_release = rollout.next_release
    ended = [
        f"{r.tag} {r.state}" for r in rollout.releases.values() if r.state in {"ABANDONED", "CANCELLED", "SUPERSEDED"}
    ]
    return {
        "": rollout.state,
        "current": rollout.current_release.tag,
        "by": rollout.arrival.means if rollout.arrival else "unknown",
        "next": next_release.tag if next_release else "none",
        "percent": f"{rollout.basis_points / 100:g}",
        "trial": str(rollout.trial),
        "driver": rollout.progress.driver,
        "queue": " ".join(release.tag for release in rollout.queued_releases) or "empty",
        "previous": " ".join(release.tag for release in rollout.previous_releases) or "empty",
        "quarantine": _quarantine(rollout),
        "frozen": "yes" if rollout.freeze else "no",
        "paused": _pause(rollout),
        "approved": "yes" if rollout.progress.is_approved else "no",
        "to confirm": "yes" if rollout.confirm_deadline_ms else "no",
        "unit": rollout.unit,
        "policy unit": rollout.policy.unit,
        "ended": "; ".join(ended) or "none",
    }
