"""What was read from a server at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rampd import v1
from rampd._standing.failing import LEAST_RATE


@dataclass(frozen=True, slots=True)
class Overrides:
    """How many overrides there are."""

    to_current: int = 0
    to_next: int = 0
    to_tag: int = 0
    is_cut: bool = False
    """Whether there are more, which were not counted."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known about one component."""

    rollout: v1.Rollout
    """Of GetRollout."""
    says: str = ""
    """What the server says about next: what automation waits for, or why the rollout is paused or held."""
    events: Sequence[v1.Event] = ()
    """The newest of the history."""
    overrides: Overrides = field(default_factory=Overrides)
    quarantined: Sequence[str] = ()
    """The tags in quarantine."""
    usual_rate: float = LEAST_RATE
    """The failure rate that is usual among all components. It is read only if it matters."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that is shown."""

    rollouts: Sequence[v1.Rollout]
    details: Sequence[Detail] | None = None
    """Of the components that were asked for. None: all components were asked for, or no screen is drawn."""
