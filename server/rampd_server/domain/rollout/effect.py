"""The effect of a verb: first what the verb's function returns, then the same with the new revision."""

from dataclasses import dataclass

from rampd_server.domain.rollout.model import Absent, Disposition, Rollout


@dataclass(frozen=True, slots=True)
class Done:
    """The rollout after a verb, not yet sealed, and a message for people. If it equals the rollout before, nothing changed."""

    rollout: Rollout
    message: str
    disposition: Disposition | None = None
    release: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """A rollout after a command. `after` is sealed if something changed; otherwise it is the rollout before."""

    after: Rollout | Absent
    changed: bool
    message: str
    disposition: Disposition | None = None
    release: int = 0

    @property
    def queue_position(self) -> int:
        """The place of `release` in the queue, 1 for the first in line; 0 if it does not wait."""
        queue = self.after.queue if isinstance(self.after, Rollout) else ()
        return queue.index(self.release) + 1 if self.release in queue else 0
