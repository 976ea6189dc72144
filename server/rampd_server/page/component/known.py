"""What was read of one component at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rampd import v1
from rampd._standing.explanation import Explanation
from rampd._standing.failing import LEAST_RATE
from rampd_server.domain.evidence.samples import Sample
from rampd_server.page.charts.axis import Axis
from rampd_server.page.component.blast import Reach


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a list, or why there is none."""

    token: str = ""
    """Of the next page. Empty: this is the last one."""
    refusal: str = ""
    """Why what was asked for can't be listed. Empty if it can."""


@dataclass(frozen=True, slots=True)
class Events(Listed):
    """One page of the history, newest first."""

    events: Sequence[v1.Event] = ()


@dataclass(frozen=True, slots=True)
class Overrides(Listed):
    """One page of the overrides."""

    overrides: Sequence[v1.Override] = ()


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The tags in quarantine."""

    tags: Sequence[v1.QuarantinedTag] = ()
    """Those that are listed."""
    others: int = 0
    """How many more there are."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Which version a repo gets, or why that can't be said."""

    refusal: str = ""
    explanation: Explanation | None = None
    answer: v1.ResolveResponse | None = None
    """What this server answers to a launcher."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """What changes only with a change of the component."""

    newest: Sequence[v1.Event] = ()
    """The newest events of the history."""
    of_axis: Sequence[v1.Event] = ()
    """Those on the axis of the charts, of the component and of the namespace, newest first."""
    is_cut: bool = False
    """Whether the component has earlier events on the axis."""
    history: Events = field(default_factory=Events)
    """Those that are listed."""
    overrides: Overrides = field(default_factory=Overrides)
    quarantine: Quarantine = field(default_factory=Quarantine)
    policy: v1.Policy = field(default_factory=v1.Policy)
    usual_rate: float = LEAST_RATE
    """The failure rate that is usual among all components. It is read only if it matters."""
    highest: float = 0.0
    """The highest percent that next has had, as far as the events tell it."""
    reach: Reach | None = None
    explained: Explained | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """All that the page of one component shows."""

    rollout: v1.Rollout
    """Of GetRollout. If its data is damaged, maybe only the damage."""
    axis: Axis
    says: str = ""
    """What the server says about next: what automation waits for, or why the rollout is paused or held."""
    said_at: datetime | None = None
    release: v1.Release | None = None
    """Next, with all of its jobs."""
    samples: Sequence[Sample] = ()
    lasting: Lasting = field(default_factory=Lasting)
    troubles: Sequence[str] = ()
    """What could not be read, in sentences."""
