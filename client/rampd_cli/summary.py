"""Where a component stands, in one line: what a person wants to know after a change."""

from typing import TYPE_CHECKING

from rampd._contract.wording import counted, one_line
from rampd._standing.share import percent

if TYPE_CHECKING:
    from rampd import v1


def summary(rollout: "v1.Rollout") -> str:
    """Writes `restyler: next 2.0 at 10 %, current 1.0, 1 release in the queue. Revision 7.`."""
    parts = [f"current {one_line(rollout.current.tag)}"]
    if rollout.HasField("next"):
        tag = one_line(rollout.next.tag)
        parts.insert(
            0, f"next {tag} HELD at 0 %" if rollout.held_reason else f"next {tag} at {percent(rollout.next_percent)}"
        )
    if rollout.paused:
        parts.append("paused")
    if rollout.HasField("confirm_deadline"):
        parts.append("waits for `rampd confirm`")
    if rollout.frozen:
        parts.append("frozen")
    if waiting := len(rollout.queue):
        parts.append(f"{counted(waiting, 'release')} in the queue")
    return f"{one_line(rollout.component)}: {', '.join(parts)}. Revision {rollout.revision}."
