"""What a verb brings about: first what its function hands back, then that with its revision."""

from dataclasses import dataclass

from rampd_server.domain.rollout.model import Absent, Disposition, Rollout


@dataclass(frozen=True, slots=True)
class Done:
    """A verb's rollout, not yet sealed, and what to tell a person. Equal to the one before: nothing changed."""

    rollout: Rollout
    message: str
    disposition: Disposition | None = None
    release: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """A rollout after a command. `after` is sealed where something changed, else it is what was there before."""

    after: Rollout | Absent
    changed: bool
    message: str
    disposition: Disposition | None = None
    release: int = 0

    @property
    def queue_position(self) -> int:
        """The place of `release` in the queue, 1 for the first in line; 0 where it does not wait."""
        queue = self.after.queue if isinstance(self.after, Rollout) else ()
        return queue.index(self.release) + 1 if self.release in queue else 0
