"""The columns of `rampd status` in a pipe. Pure."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from rampd import v1
from rampd._contract.wording import exact
from rampd._standing.clock import as_datetime
from rampd._standing.failing import recent, whole
from rampd._standing.outcomes import Count, jobs_of
from rampd._standing.standing import Kind, standing

_WAITS: Final = {
    Kind.DAMAGED: "damage",
    Kind.UNCONFIRMED: "confirm",
    Kind.PROBLEM: "problem",
    Kind.APPROVAL: "approval",
    Kind.QUARANTINED: "quarantine",
    Kind.PAUSED: "paused",
    Kind.FROZEN: "frozen",
}

CHANGES: Final = 9
"""The number of the first cells that change when the component does. The others count jobs."""


def row(rollout: v1.Rollout) -> tuple[str, ...]:
    """Returns the cells of a component. Times are in UTC."""
    found, jobs = standing(rollout), jobs_of(rollout)
    has_next = rollout.HasField("next")
    return (
        rollout.component,
        _state(rollout.state),
        _WAITS.get(found.kind, ""),
        rollout.current.tag,
        rollout.next.tag,
        exact(rollout.next_percent) if has_next else "",
        str(len(rollout.queue)),
        _time(found.since),
        found.reason,
        *_cells(jobs.current),
        *_cells(jobs.next),
        *_cells(whole(rollout)),
        *_cells(recent(rollout)),
        _time(rollout.current_outcomes.recent.since if recent(rollout) is not None else None),
    )


def _time(at: Timestamp | None) -> str:
    return f"{as_datetime(at):%Y-%m-%dT%H:%M:%SZ}" if at is not None else ""


def _state(state: int) -> str:
    """A server of a later version may have a state without a name here: it is a number then."""
    if state in v1.RolloutState.values():
        return v1.RolloutState.Name(state).removeprefix("ROLLOUT_STATE_") if state else ""
    return str(state)


def row_of_deleted(component: str) -> tuple[str, ...]:
    """Returns the cells of a component that is gone."""
    return (component, "DELETED", *[""] * (len(row(v1.Rollout())) - 2))


def _cells(count: Count | None) -> tuple[str, str]:
    return ("", "") if count is None else (str(count.jobs), str(count.failures))
